"""The loop: ask the engine, dispatch its calls, feed the results back, until the task is done. Read this first."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from anyio import create_memory_object_stream, get_cancelled_exc_class, move_on_after
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream

from agentrt.combine import Combined
from agentrt.context import Spill
from agentrt.contract import Gate
from agentrt.conversation import Conversation
from agentrt.dispatch import Dispatch, Permit, failed
from agentrt.engine import Assembler, Engine, Finished, Request, Retrying
from agentrt.errors import ConfigError, EngineError, lone_errors
from agentrt.events import (
    CallRejected,
    Emit,
    Event,
    Nudged,
    RunFinished,
    RunStarted,
    ToolRefused,
    TurnFinished,
    TurnStarted,
    nowhere,
)
from agentrt.function import Function, Local
from agentrt.limits import Limits as Limits
from agentrt.limits import Reason as Reason
from agentrt.limits import Watch
from agentrt.plugins import engine_from
from agentrt.toolset import Toolset
from agentrt.types import Assistant, ToolResult, Transcript, Usage, User

Tool = Toolset | Function | Callable[..., Any]


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
        self._lone_run = False  # a run opened the tools for itself and will close them

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

        :raises ConfigError: if another run of this agent is going on and the agent was not opened for both.
        :raises EngineError: if the engine can't be asked; the transcript has every turn before that.
        :raises ToolsetError: if a source of tools can't be opened.
        """
        talk = session or Conversation(transcript)
        if self._lone_run:
            raise ConfigError("the agent is in the middle of a run; open it first (`async with agent:`) to share it")
        async with AsyncExitStack() as stack:
            if self._open is None:
                self._lone_run = True
                stack.callback(setattr, self, "_lone_run", False)
                await stack.enter_async_context(self)
            return await _Run(self, talk, emit, Watch(self.limits)).drive(
                User(prompt) if isinstance(prompt, str) else prompt
            )

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
    """One run: the loop and what it has used so far. ``unclosed`` is an answer whose calls are being run."""

    agent: Agent
    talk: Conversation
    emit: Emit
    watch: Watch
    text: str = ""
    gate: Gate = field(default_factory=lambda: Gate(()))
    offered: object = None
    unclosed: Assistant | None = None

    async def drive(self, prompt: User | None) -> Result:
        """Take turns until one of them ends the run."""
        start = time.perf_counter()
        reason: Reason | None = None
        with move_on_after(self.agent.limits.seconds):
            await self._adopt_tools()
            await self.emit(RunStarted(self._engine.name, tuple(spec.name for spec in self.gate.specs)))
            await self._recover()
            if prompt is not None:
                await self.talk.say(prompt)
            elif len(self.talk.transcript) and isinstance(last := self.talk.transcript[-1], Assistant):
                self.text, reason = last.text, "done"  # there is nothing to take up: it ended in words
            while reason is None:
                reason = self.watch.reached() or await self._turn()
        reason = reason or "time"
        seconds, used = time.perf_counter() - start, self.watch
        await self.talk.end(reason, used.turns, used.calls, used.usage, seconds)
        await self.emit(RunFinished(reason, self.text, used.turns, used.calls, used.usage, seconds))
        return Result(self.text, reason, self.talk.transcript, used.turns, used.calls, used.usage, seconds)

    async def _recover(self) -> None:
        """Finish the turn that a crash left open, if there is one."""
        turn = self.talk.open_turn
        if turn is not None:
            async with self._dispatching() as dispatch:
                self.unclosed = turn.answer
                self._close(turn.answer, await dispatch.recover(turn))

    async def _turn(self) -> Reason | None:
        """Ask once, answer every call, append the whole turn; return why the run ends, if it does."""
        self.watch.turns += 1
        await self._adopt_tools()
        await self.emit(TurnStarted(self.watch.turns))
        async with self._dispatching() as dispatch:
            answer = await self._ask(dispatch)
            self.watch.usage += answer.usage
            refusal = self.watch.refusal(answer)
            if refusal is None:
                return await self._settle(answer, dispatch)
            dispatch.group.cancel_scope.cancel()  # nobody waits for a read that started early
        return await self._refuse(answer, *refusal)

    @asynccontextmanager
    async def _dispatching(self) -> AsyncIterator[Dispatch]:
        """A dispatch for one turn; if that breaks off, the turn is closed with what is known of each call."""
        dispatch: Dispatch | None = None
        try:
            async with lone_errors() as group:
                dispatch = self._dispatch(group)
                yield dispatch
        except BaseException as error:
            if dispatch is not None and self.unclosed is not None:
                if isinstance(error, get_cancelled_exc_class()):  # on purpose: it must not go on by itself later
                    await dispatch.call_off()
                self._close(self.unclosed, dispatch.results(self.unclosed))
            raise

    def _close(self, answer: Assistant, results: Sequence[ToolResult]) -> None:
        self.unclosed = None
        self.talk.close(answer, results)

    def _dispatch(self, group: TaskGroup) -> Dispatch:
        agent = self.agent
        return Dispatch(
            gate=self.gate,
            toolset=agent.toolset,
            permit=agent.permit,
            conversation=self.talk,
            call_seconds=agent.limits.call_seconds,
            calls_left=None if agent.limits.calls is None else agent.limits.calls - self.watch.calls,
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
        await self.talk.ask(self.watch.turns, agent.instructions, self.gate.specs)
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
        await self.emit(TurnFinished(self.watch.turns, answer, time.perf_counter() - start))
        return answer

    async def _refuse(self, answer: Assistant, why: str, reason: Reason | None) -> Reason | None:
        """Ask again if the answer was cut or empty and tries are left, else keep it with every call answered."""
        if self.watch.may_retry(reason):
            await self.emit(Retrying(why, 0.0))
            return None
        self.text = answer.text or self.text
        if answer.text or answer.calls:
            self.talk.close(answer, [failed(call, f"{call.name} was not run: {why}") for call in answer.calls])
        for call in answer.calls:
            await self.emit(CallRejected(call, why))
        return reason or self.watch.stuck(all_rejected=True)

    async def _settle(self, answer: Assistant, dispatch: Dispatch) -> Reason | None:
        """Run the calls and append the turn."""
        self.text = answer.text or self.text
        self.watch.calls += len(answer.calls)
        self.unclosed = answer
        results = await dispatch.settle(answer) if answer.calls else ()
        times = [self.watch.times(call, result) for call, result in zip(answer.calls, results, strict=True)]
        self._close(answer, [_nudged(*pair) for pair in zip(results, times, strict=True)])
        for call, repeated in zip(answer.calls, times, strict=True):
            if repeated:
                await self.emit(Nudged(call, repeated))
        if not answer.calls:
            return "done"
        return self.watch.stuck(all_rejected=all(call.id in dispatch.rejected for call in answer.calls))

    @property
    def _engine(self) -> Engine:
        engine = self.agent.engine
        if engine is None:
            raise EngineError("the agent is not open: use `async with agent:` or `await agent.run(...)`")
        return engine


def _nudged(result: ToolResult, times: int) -> ToolResult:
    """The result, with a word to the model if it has seen it too often."""
    note = f"(You made this very call {times} times with this same result. Do something else, or answer.)"
    return replace(result, text=f"{result.text}\n{note}") if times else result
