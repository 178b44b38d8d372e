"""The loop: ask the engine, dispatch its calls, feed the results back, until the task is done. Read this first."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from anyio import create_memory_object_stream, move_on_after
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream

from agentrt.combine import Combined
from agentrt.context import Spill
from agentrt.contract import Gate
from agentrt.conversation import Conversation
from agentrt.dispatch import Dispatch, Permit
from agentrt.engine import Assembler, Engine, Finished, Request, Retrying
from agentrt.errors import EngineError, lone_errors
from agentrt.events import Emit, Event, Nudged, RunFinished, RunStarted, ToolRefused, TurnFinished, TurnStarted, nowhere
from agentrt.function import Function, Local
from agentrt.plugins import engine_from
from agentrt.toolset import Toolset
from agentrt.types import Assistant, ToolCall, ToolResult, Transcript, Usage, User

Reason = Literal[
    "done", "turns", "calls", "tokens", "cost", "time", "identical_calls", "invalid_calls",
    "length", "content_filter", "cut", "empty",
]  # fmt: skip
"""Why a run ended. ``done``: the model answered in words. The rest: a limit, or an answer that never came whole."""

Tool = Toolset | Function | Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run may use; ``None`` lifts a limit. Reaching one ends the run as a value, never as an exception.

    ``tokens`` counts prompt and completion over all turns, ``cost`` is in US dollars (where prices are
    known), ``seconds`` is the run's wall time and ``call_seconds`` that of one call. ``identical_calls``
    equal calls with equal results end the run (the model is told at half of that). ``rejected_turns`` are
    turns in a row in which no call passed the gate. ``retries`` are repeated asks after an answer that was
    cut or empty. A result longer than ``result_chars`` is spilled to a file.
    """

    turns: int | None = 50
    calls: int | None = 100
    tokens: int | None = 5_000_000
    cost: float | None = 10.0
    seconds: float | None = 1800.0
    call_seconds: float = 600.0
    identical_calls: int | None = 5
    rejected_turns: int | None = 5
    retries: int = 2
    result_chars: int = 16_000


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended: the model's last words, why it ended, the whole conversation and what it cost."""

    text: str
    reason: Reason
    transcript: Transcript
    turns: int
    calls: int
    usage: Usage
    seconds: float


class Agent:
    """An engine, its tools and its limits.

    ``tools`` mixes typed Python functions and toolsets (MCP servers, A2A peers). ``permit`` may refuse a
    call before it runs; without one every call that passed the gate runs. ``files`` is the folder for
    spilled results, a temporary one by default.

    Used as ``async with agent:`` its tools stay open over several runs; otherwise each run opens them.
    """

    def __init__(
        self,
        engine: Engine | str,
        *,
        tools: Iterable[Tool] = (),
        instructions: str = "",
        limits: Limits | None = None,
        permit: Permit | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        files: Path | None = None,
    ) -> None:
        self._engine = engine
        self.instructions = instructions
        self.limits = limits or Limits()
        self.permit = permit
        self.max_tokens = max_tokens
        self.temperature = temperature
        self.toolset: Toolset = Spill(Combined(_toolsets(tools)), self.limits.result_chars, files)
        self.engine: Engine | None = None if isinstance(engine, str) else engine
        self._open: AsyncExitStack | None = None

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            if isinstance(self._engine, str):
                self.engine = engine_from(self._engine)
                stack.push_async_callback(self.engine.aclose)
            await stack.enter_async_context(self.toolset)
            self._open = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stack, self._open = self._open, None
        if stack is not None:
            await stack.__aexit__(kind, error, trace)

    async def run(
        self,
        prompt: str | User | None,
        *,
        transcript: Transcript | None = None,
        session: Conversation | None = None,
        emit: Emit = nowhere,
    ) -> Result:
        """Work on ``prompt`` until the model answers in words or a limit is reached.

        ``transcript`` goes on where an earlier run ended; it is appended to, turn by turn. A ``session``
        (:class:`agentrt.journal.Session`) does so over the end of the process; without a prompt (``None``)
        what was interrupted is taken up where it was.

        :raises EngineError: if the engine can't be asked; the transcript has every turn before that.
        :raises ToolsetError: if a source of tools can't be opened.
        """
        talk = session or Conversation(transcript)
        async with AsyncExitStack() as stack:
            if self._open is None:
                await stack.enter_async_context(self)
            return await _Run(self, talk, emit).drive(User(prompt) if isinstance(prompt, str) else prompt)

    @asynccontextmanager
    async def stream(
        self, prompt: str | User | None, *, transcript: Transcript | None = None, session: Conversation | None = None
    ) -> AsyncIterator[Stream]:
        """Run and hand out the events. A slow reader slows the run; leaving the block cancels it."""
        send, receive = create_memory_object_stream[Event](0)
        async with receive, lone_errors() as group:
            stream = Stream(receive)

            async def drive() -> None:
                async with send:
                    stream.result = await self.run(prompt, transcript=transcript, session=session, emit=send.send)

            group.start_soon(drive)
            yield stream
            group.cancel_scope.cancel()


class Stream:
    """The events of a run, as an async iterator; ``result`` is there when it is exhausted."""

    def __init__(self, events: MemoryObjectReceiveStream[Event]) -> None:
        self._events = events
        self.result: Result | None = None

    def __aiter__(self) -> AsyncIterator[Event]:
        return self._events.__aiter__()


def _toolsets(tools: Iterable[Tool]) -> list[Toolset]:
    """Functions gathered into one local toolset, in front of the others."""
    given: list[Any] = list(tools)
    functions = [tool for tool in given if not hasattr(tool, "specs")]
    toolsets: list[Toolset] = [tool for tool in given if hasattr(tool, "specs")]
    return [Local(functions), *toolsets] if functions else toolsets


@dataclass(slots=True)
class _Run:
    """One run: the loop and what it has used so far."""

    agent: Agent
    talk: Conversation
    emit: Emit
    turns: int = 0
    calls: int = 0
    usage: Usage = field(default_factory=Usage)
    text: str = ""
    gate: Gate = field(default_factory=lambda: Gate(()))
    offered: object = None
    spoiled: int = 0
    rejected_turns: int = 0
    recent: deque[tuple[str, str, str]] = field(default_factory=deque)

    async def drive(self, prompt: User | None) -> Result:
        """Take turns until one of them ends the run."""
        start = time.perf_counter()
        await self._adopt_tools()
        await self.emit(RunStarted(self._engine.name, tuple(spec.name for spec in self.gate.specs)))
        reason: Reason | None = None
        with move_on_after(self.agent.limits.seconds):
            await self._recover()
            if prompt is not None:
                await self.talk.say(prompt)
            elif len(self.talk.transcript) and isinstance(last := self.talk.transcript[-1], Assistant):
                self.text, reason = last.text, "done"  # there is nothing to take up: it ended in words
            while reason is None:
                reason = self._limit() or await self._turn()
        reason = reason or "time"
        seconds = time.perf_counter() - start
        await self.talk.end(reason, self.turns, self.calls, self.usage, seconds)
        await self.emit(RunFinished(reason, self.text, self.turns, self.calls, self.usage, seconds))
        return Result(self.text, reason, self.talk.transcript, self.turns, self.calls, self.usage, seconds)

    async def _recover(self) -> None:
        """Finish the turn that a crash left open, if there is one."""
        turn = self.talk.open_turn
        if turn is not None:
            async with lone_errors() as group:
                results = await self._dispatch(group).recover(turn)
            self.talk.close(turn.answer, results)

    async def _turn(self) -> Reason | None:
        """Ask once, answer every call, append the whole turn; return why the run ends, if it does."""
        self.turns += 1
        await self._adopt_tools()
        await self.emit(TurnStarted(self.turns))
        async with lone_errors() as group:
            dispatch = self._dispatch(group)
            answer = await self._ask(dispatch)
            self.usage += answer.usage
            if answer.finish == "cut" or not (answer.text or answer.calls):
                group.cancel_scope.cancel()
                return await self._spoiled(answer, dispatch)
            self.text = answer.text or self.text
            results, reason = await self._answer_calls(answer, dispatch)
        nudged = [await self._nudged(*pair) for pair in zip(answer.calls, results, strict=True)]
        self.talk.close(answer, nudged)
        return reason or self._stuck(answer, dispatch)

    def _dispatch(self, group: TaskGroup) -> Dispatch:
        agent = self.agent
        return Dispatch(
            gate=self.gate,
            toolset=agent.toolset,
            permit=agent.permit,
            conversation=self.talk,
            call_seconds=agent.limits.call_seconds,
            calls_left=None if agent.limits.calls is None else agent.limits.calls - self.calls,
            emit=self.emit,
            group=group,
        )

    async def _adopt_tools(self) -> None:
        """Recompile the gate if the toolset offers something new."""
        specs = await self.agent.toolset.specs()
        if specs is self.offered:
            return
        self.offered, self.gate = specs, Gate(specs)
        for spec, why in self.gate.refused:
            await self.emit(ToolRefused(spec.name, spec.source, why))

    async def _ask(self, dispatch: Dispatch) -> Assistant:
        """Stream one answer, offering each call for dispatch the moment its JSON closes."""
        start = time.perf_counter()
        agent = self.agent
        assembler = Assembler(self.talk.transcript)
        await self.talk.ask(self.turns, agent.instructions, self.gate.specs)
        request = Request(
            self.talk.transcript, agent.instructions, self.gate.specs, agent.max_tokens, agent.temperature
        )
        async with aclosing(self._engine.stream(request)) as deltas:
            async for delta in deltas:
                closed = assembler.feed(delta)
                if not isinstance(delta, Finished):
                    await self.emit(delta)
                if closed is not None:
                    await dispatch.offer(assembler.call(closed), assembler.names_before(closed))
        answer = assembler.answer()
        await self.emit(TurnFinished(self.turns, answer, time.perf_counter() - start))
        return answer

    async def _answer_calls(
        self, answer: Assistant, dispatch: Dispatch
    ) -> tuple[tuple[ToolResult, ...], Reason | None]:
        """One result for every call, and the reason to end the run that the answer itself gives."""
        limits = self.agent.limits
        if answer.finish == "length" and answer.calls:
            why = "the answer reached the token limit before it was whole. Do it in smaller steps."
            dispatch.rejected.update(call.id for call in answer.calls)
            return await dispatch.reject(answer, why), None
        if answer.finish in ("length", "content_filter"):
            return await dispatch.reject(answer, "the answer was filtered."), answer.finish
        if not answer.calls:
            return (), "done"
        if limits.calls is not None and self.calls + len(answer.calls) > limits.calls:
            return await dispatch.reject(answer, f"the run's limit of {limits.calls} calls is reached."), "calls"
        self.calls += len(answer.calls)
        try:
            return await dispatch.settle(answer), None
        except BaseException:  # cancelled, out of time or failed: what already ran must stay known
            missing = "interrupted before it answered; whether it took effect is unknown."
            self.talk.close(answer, dispatch.results(answer, missing=missing))
            raise

    async def _spoiled(self, answer: Assistant, dispatch: Dispatch) -> Reason | None:
        """An answer that is cut or empty: ask again, and after some tries keep what came and end."""
        reason: Reason = "cut" if answer.finish == "cut" else "empty"
        self.spoiled += 1
        if self.spoiled <= self.agent.limits.retries:
            await self.emit(Retrying(f"the answer was {reason}", 0.0))
            return None
        self.talk.close(answer, await dispatch.reject(answer, "the answer was cut before it was whole."))
        return reason

    async def _nudged(self, call: ToolCall, result: ToolResult) -> ToolResult:
        """The result, with a word to the model if it made this very call with this very result before."""
        limit = self.agent.limits.identical_calls
        if limit is None:
            return result
        self.recent.append((call.name, call.arguments, result.text))
        if len(self.recent) > 4 * limit:
            self.recent.popleft()
        times = self.recent.count(self.recent[-1])
        if times <= limit // 2:
            return result
        await self.emit(Nudged(call, times))
        note = f"(You made this very call {times} times with this same result. Do something else, or answer.)"
        return replace(result, text=f"{result.text}\n{note}")

    def _stuck(self, answer: Assistant, dispatch: Dispatch) -> Reason | None:
        """Whether the model goes in circles: the same call again and again, or never a valid one."""
        limits = self.agent.limits
        self.spoiled = 0
        all_rejected = bool(answer.calls) and all(call.id in dispatch.rejected for call in answer.calls)
        self.rejected_turns = self.rejected_turns + 1 if all_rejected else 0
        if limits.rejected_turns is not None and self.rejected_turns >= limits.rejected_turns:
            return "invalid_calls"
        again = self.recent.count(self.recent[-1]) if self.recent else 0
        return "identical_calls" if limits.identical_calls is not None and again >= limits.identical_calls else None

    def _limit(self) -> Reason | None:
        """The limit that stands in the way of another turn."""
        limits, used = self.agent.limits, self.usage
        if limits.turns is not None and self.turns >= limits.turns:
            return "turns"
        if limits.tokens is not None and used.tokens >= limits.tokens:
            return "tokens"
        if limits.cost is not None and (used.cost or 0.0) >= limits.cost:
            return "cost"
        return None

    @property
    def _engine(self) -> Engine:
        engine = self.agent.engine
        if engine is None:
            raise EngineError("the agent is not open: use `async with agent:` or `await agent.run(...)`")
        return engine
