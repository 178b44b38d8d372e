"""The scripted engine: answers written beforehand."""

from __future__ import annotations

import json

import pytest

from agentrt import Agent, Assistant, ConfigError, EngineError, Request, ToolCall, ToolResult, Transcript, Usage, tool
from agentrt.engine import Assembler, CallDelta, Finished, ReasoningDelta, TextDelta
from agentrt.engines.scripted import ScriptedEngine, call, calls, deltas, engine_from_name

pytestmark = pytest.mark.anyio


@tool(read_only=True)
def double(n: int) -> int:
    """Double it."""
    return 2 * n


async def test_answers_come_one_a_turn_and_requests_are_kept():
    engine = ScriptedEngine([calls(call("double", {"n": 4})), "eight"], name="mine")
    result = await Agent(engine, tools=[double], instructions="be brief").run("go")
    assert (result.text, result.reason, result.turns, result.calls) == ("eight", "done", 2, 1)
    assert engine.name == "mine"
    assert [item.instructions for item in engine.requests] == ["be brief"] * 2
    assert [spec.name for spec in engine.requests[0].tools] == ["double"]


async def test_a_script_may_react_to_the_request():
    def script(request: Request) -> Assistant | str:
        results = [item for item in request.transcript if isinstance(item, ToolResult)]
        return results[-1].text if results else calls(call("double", {"n": 21}))

    assert (await Agent(ScriptedEngine(script), tools=[double]).run("go")).text == "42"


async def test_the_end_of_the_script_is_an_engine_error():
    engine = ScriptedEngine(["only"])
    agent = Agent(engine)
    await agent.run("one")
    with pytest.raises(EngineError, match="no answer for turn 2"):
        await agent.run("two")
    await engine.aclose()
    await engine.aclose()


def test_answers_are_streamed_in_pieces_that_fold_to_themselves():
    answer = Assistant(
        "words", (ToolCall("a", "f", '{"x": 1}'), ToolCall("b", "g", "{}")), "why", "tool_calls", Usage(1)
    )
    pieces = deltas(answer)
    assert pieces == [
        ReasoningDelta("why"),
        TextDelta("words"),
        CallDelta(0, "a", "f", '{"x"'),
        CallDelta(0, arguments=": 1}"),
        CallDelta(1, "b", "g", "{"),
        CallDelta(1, arguments="}"),
        Finished("tool_calls", Usage(1)),
    ]
    assembler = Assembler(Transcript())
    closed = [index for piece in pieces if (index := assembler.feed(piece)) is not None]
    assert closed == [0, 1]
    assert assembler.answer() == answer


def test_an_answer_that_is_cut_has_no_finish_and_deltas_stay_as_they_are():
    assert deltas(Assistant("a", finish="cut")) == [TextDelta("a")]
    odd = [TextDelta("a"), CallDelta(5, "", "f", "{")]
    assert deltas(odd) is odd


async def test_a_script_is_read_from_a_file(tmp_path):
    path = tmp_path / "script.json"
    script = [{"text": "hm", "calls": [{"name": "double", "arguments": {"n": 4}}]}, {"text": "so"}, "eight"]
    path.write_text(json.dumps(script))
    engine = engine_from_name(f"scripted:{path}")
    assert engine.name == f"scripted:{path}"
    transcript = Transcript()
    agent = Agent(engine, tools=[double])
    assert (await agent.run("go", transcript=transcript)).text == "so"
    assert (await agent.run("on", transcript=transcript)).text == "eight"
    assert (await Agent(f"scripted:{path}", tools=[double]).run("go")).text == "so"


@pytest.mark.parametrize("content", ["", "{}x", '[{"calls": 3}]', '[{"calls": [{"name": "f"}]}]', "[1]", "\udcff"])
def test_a_file_that_is_no_script_is_the_operators_mistake(tmp_path, content):
    path = tmp_path / "script.json"
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(ConfigError, match="no script can be read from '.*script.json'"):
        engine_from_name(f"scripted:{path}")
    with pytest.raises(ConfigError, match="no script can be read from '.*nowhere'"):
        engine_from_name(f"scripted:{tmp_path}/nowhere")
