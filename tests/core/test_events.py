"""The stream of events: closed, serialisable, and as slow as its reader."""

from __future__ import annotations

import dataclasses
import inspect
import json
from typing import Any, get_args

import anyio
import pytest
from core_kit import CALLS, DONE, Paced, Seen, Tools, asks, read, rebuilt, run, spec

import agentrt.engine
import agentrt.events
from agentrt.agent import Agent
from agentrt.engine import Finished, TextDelta
from agentrt.engines.scripted import ScriptedEngine, call, calls
from agentrt.errors import EngineError
from agentrt.events import Event, RunFinished, TurnFinished
from agentrt.limits import Limits
from agentrt.plain import to_json
from agentrt.types import Assistant, CheckedCall, Media, ToolCall, ToolResult, Transcript, User

pytestmark = pytest.mark.anyio


def test_the_union_is_closed_over_every_event_that_there_is() -> None:
    """Each dataclass of the module is in the union, so a match over Event that mypy finds whole is whole."""
    there_are = {item for _, item in inspect.getmembers(agentrt.events, dataclasses.is_dataclass)}
    values = {Assistant, ToolCall, ToolResult, Transcript}
    modules = ("agentrt.events", "agentrt.engine", "agentrt.compaction.price")
    assert set(get_args(Event)) == {item for item in there_are if item.__module__ in modules} - values
    deltas = set(get_args(agentrt.engine.Delta))
    assert deltas - set(get_args(Event)) == {Finished}


def test_events_are_frozen_and_have_slots() -> None:
    for kind in get_args(Event):
        assert kind.__dataclass_params__.frozen
        assert "__slots__" in vars(kind)


async def test_every_event_of_a_run_is_plain_json_with_its_name() -> None:
    seen = Seen()
    tools = Tools(spec("tool", {"type": "object", "properties": {"n": {"type": "integer"}}}), spec("bad", {"type": 5}))
    script = [
        calls(call("tool", {"n": "1"}), call("nobody", {}), text="é \U0001f600"),
        *[calls(call("tool", {}))] * 4,
        Assistant("", finish="cut"),
        "done",
    ]
    await run(script, tools, seen=seen)
    for event in seen:
        plain = json.loads(json.dumps(to_json(event)))
        assert plain["type"] == type(event).__name__
        assert set(plain) == {"type", *(item.name for item in dataclasses.fields(event))}
    assert {type(event).__name__ for event in seen} >= {
        "ToolRefused",
        "CallRepaired",
        "CallRejected",
        "Nudged",
        "Retrying",
    }


def test_bytes_transcripts_and_tuples_become_plain() -> None:
    media = Media("image/png", b"\x00\xff")
    assert to_json(media) == {"type": "Media", "mime_type": "image/png", "data": "AP8="}
    assert to_json(Transcript([User("hi")])) == [{"type": "User", "text": "hi", "media": [], "own": None}]
    assert to_json({"a": (1, None)}) == {"a": [1, None]}


class TestStream:
    """``Agent.stream`` hands out the events of a run that goes on behind it."""

    async def test_it_ends_with_the_run_and_has_its_result(self) -> None:
        events: list[Event] = []
        async with Agent(ScriptedEngine(["hello"])).stream("go") as stream:
            events = [event async for event in stream]
        assert isinstance(events[-1], RunFinished)
        assert stream.result is not None
        assert stream.result.text == "hello"

    async def test_it_tells_the_same_as_emit_does(self) -> None:
        script = [calls(call("tool", {"n": 1}), call("nobody", {})), "done"]
        seen = Seen()
        await run(script, Tools(spec("tool")), seen=seen)
        async with Agent(ScriptedEngine(script), tools=[Tools(spec("tool"))]).stream("go") as stream:
            events = [event async for event in stream]
        assert [still(event) for event in events] == [still(event) for event in seen]

    async def test_a_slow_reader_slows_the_run(self) -> None:
        asked: list[int] = []

        def step(number: int) -> Any:
            async def note() -> None:
                asked.append(number)

            return note

        engine = Paced([part for at in range(10) for part in (step(at), TextDelta(str(at)))] + [Finished("stop")])
        async with Agent(engine).stream("go") as stream:
            read_so_far = 0
            async for event in stream:
                await anyio.wait_all_tasks_blocked()
                if isinstance(event, TextDelta):
                    read_so_far += 1
                    assert len(asked) <= read_so_far + 1  # the engine is at most one delta ahead
        assert len(asked) == 10

    async def test_an_engine_error_leaves_as_itself_after_the_events_before_it(self) -> None:
        events: list[Event] = []

        async def follow() -> None:
            async with Agent(ScriptedEngine([])).stream("go") as stream:
                async for event in stream:
                    events.append(event)

        with pytest.raises(EngineError, match="no answer for turn 1"):
            await follow()
        assert [type(event).__name__ for event in events] == ["RunStarted", "TurnStarted"]

    @pytest.mark.parametrize(
        "error", [KeyError("mine"), ExceptionGroup("mine", [ValueError("inner")]), KeyboardInterrupt()]
    )
    async def test_an_error_of_the_readers_own_leaves_as_itself_and_ends_the_run(self, error: BaseException) -> None:
        tools = Tools(read("look"), act=lambda checked: anyio.sleep_forever())

        async def follow() -> None:
            async with Agent(Paced([asks(0, "look"), anyio.sleep_forever]), tools=[tools]).stream("go") as stream:
                async for _ in stream:
                    raise error

        with pytest.raises(type(error)) as caught:
            await follow()
        assert caught.value is error
        assert tools.closed == 1

    async def test_leaving_it_at_once_runs_nothing(self) -> None:
        tools = Tools(spec("tool"))
        async with Agent(ScriptedEngine([calls(call("tool", {})), "done"]), tools=[tools]).stream("go"):
            pass
        assert tools.calls == []
        assert tools.opened == tools.closed

    async def test_leaving_it_after_the_end_changes_nothing(self) -> None:
        transcript = Transcript()
        async with Agent(Paced([asks(0, "tool"), CALLS], DONE), tools=[Tools(spec("tool"))]).stream(
            "go", transcript=transcript
        ) as stream:
            async for _ in stream:
                pass
        assert stream.result is not None
        assert stream.result.transcript is transcript
        assert len(transcript) == 4

    async def test_leaving_it_in_the_middle_leaves_a_transcript_that_can_be_used(self) -> None:
        async def act(checked: CheckedCall) -> str:
            await anyio.sleep_forever()
            return ""

        transcript = Transcript()
        agent = Agent(Paced([asks(0, "tool"), CALLS], DONE), tools=[Tools(spec("tool"), act=act)], limits=Limits())
        async with agent.stream("go", transcript=transcript) as stream:
            async for event in stream:
                if isinstance(event, TurnFinished):
                    await anyio.wait_all_tasks_blocked()
                    break
        assert [type(message) for message in rebuilt(transcript)] == [User, Assistant, ToolResult]

    async def test_two_streams_over_one_agent_are_two_runs(self) -> None:
        script = iter(["one", "two"])
        agent = Agent(ScriptedEngine(lambda request: next(script)))
        async with agent, agent.stream("a") as first, agent.stream("b") as second:
            words = [
                [event.text async for event in stream if isinstance(event, TextDelta)] for stream in (first, second)
            ]
        assert words == [["one"], ["two"]]


def still(event: Event) -> Any:
    """The event without the time that it took."""
    return dataclasses.replace(event, seconds=0.0) if hasattr(event, "seconds") else event  # type: ignore[type-var]
