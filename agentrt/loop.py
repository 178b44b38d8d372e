"""The loop: ask the engine, dispatch its calls, feed the results back, until the task is done. Read this first."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TypeVar

from anyio import get_cancelled_exc_class, move_on_after

from agentrt.contract import Gate
from agentrt.conversation import Conversation
from agentrt.crew import Crew
from agentrt.dispatch import Dispatch, Permit, failed
from agentrt.engine import Assembler, Engine, Finished, Request, Retrying, Traced
from agentrt.errors import lone_errors
from agentrt.events import (
    CallRejected,
    Emit,
    Nudged,
    RunFinished,
    RunStarted,
    ToolRefused,
    TurnFinished,
    TurnStarted,
)
from agentrt.limits import Reason, Watch
from agentrt.outside import clock
from agentrt.recovery import Recovery
from agentrt.toolset import Toolset
from agentrt.types import Assistant, ToolResult, Transcript, Usage, User

_Dispatch = TypeVar("_Dispatch", bound=Dispatch)


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


@dataclass(slots=True)
class Run:
    """One run: what it works with, and what it has used so far.

    ``unclosed`` is an answer whose calls are being run, by ``dispatch``.
    """

    engine: Engine
    toolset: Toolset
    talk: Conversation
    emit: Emit
    watch: Watch
    permit: Permit | None
    instructions: str
    max_tokens: int | None
    temperature: float | None
    text: str = ""
    gate: Gate = field(default_factory=lambda: Gate(()))
    offered: object = None
    dispatch: Dispatch | None = None
    unclosed: Assistant | None = None

    async def drive(self, prompt: User | None) -> Result:
        """Take turns until one of them ends the run."""
        start = clock()
        reason: Reason | None = None
        with move_on_after(self.watch.limits.seconds):
            try:
                async with lone_errors() as group:
                    with Crew(group) as crew:
                        reason = await self._take_turns(prompt, crew)
            except BaseException as error:
                await self._break_off(error)
                raise
        reason = reason or "time"
        seconds, used = clock() - start, self.watch
        await self.talk.end(reason, used.turns, used.calls, used.usage, seconds)
        await self.emit(RunFinished(reason, self.text, used.turns, used.calls, used.usage, seconds))
        return Result(self.text, reason, self.talk.transcript, used.turns, used.calls, used.usage, seconds)

    async def _take_turns(self, prompt: User | None, crew: Crew) -> Reason:
        await self._adopt_tools()
        await self.emit(RunStarted(self.engine.name, tuple(spec.name for spec in self.gate.specs)))
        await self._finish_open_turn(crew)
        if prompt is not None:
            await self.talk.say(prompt)
        elif len(self.talk.transcript) and isinstance(last := self.talk.transcript[-1], Assistant):
            self.text = last.text
            return "done"  # there is nothing to take up: it ended in words
        reason: Reason | None = None
        while reason is None:
            reason = self.watch.reached() or await self._turn(crew)
        return reason

    async def _finish_open_turn(self, crew: Crew) -> None:
        """Finish the turn that a crash left open, if there is one."""
        turn = self.talk.open_turn
        if turn is not None:
            dispatch = self._dispatch(Recovery, crew)
            self.unclosed = turn.answer
            self._close(turn.answer, await dispatch.recover(turn))

    async def _turn(self, crew: Crew) -> Reason | None:
        """Ask once, answer every call, append the whole turn; return why the run ends, if it does."""
        self.watch.turns += 1
        await self._adopt_tools()
        await self.emit(TurnStarted(self.watch.turns))
        dispatch = self._dispatch(Dispatch, crew)
        answer = await self._ask(dispatch)
        self.watch.usage += answer.usage
        refusal = self.watch.refusal(answer)
        if refusal is None:
            return await self._settle(answer, dispatch)
        await dispatch.give_up()
        return await self._refuse(answer, *refusal)

    async def _break_off(self, error: BaseException) -> None:
        """Close the turn that ``error`` broke off with what is known of each call."""
        if self.dispatch is not None and self.unclosed is not None:
            if isinstance(error, get_cancelled_exc_class()):  # on purpose: it must not go on by itself later
                await self.dispatch.call_off()
            self._close(self.unclosed, self.dispatch.results(self.unclosed))

    def _close(self, answer: Assistant, results: Sequence[ToolResult]) -> None:
        self.unclosed = None
        self.talk.close(answer, results)

    def _dispatch(self, kind: type[_Dispatch], crew: Crew) -> _Dispatch:
        limits = self.watch.limits
        self.dispatch = dispatch = kind(
            gate=self.gate,
            toolset=self.toolset,
            permit=self.permit,
            conversation=self.talk,
            call_seconds=limits.call_seconds,
            calls_left=None if limits.calls is None else limits.calls - self.watch.calls,
            emit=self.emit,
            group=crew,
        )
        return dispatch

    async def _adopt_tools(self) -> None:
        """Recompile the gate if the toolset offers something new."""
        specs = await self.toolset.specs()
        if specs is self.offered:
            return
        self.offered, self.gate = specs, Gate(specs)
        for spec, why in self.gate.refused:
            await self.emit(ToolRefused(spec.name, spec.source, why))

    async def _ask(self, dispatch: Dispatch) -> Assistant:
        """Stream one answer, offering each call for dispatch the moment its JSON closes."""
        start = clock()
        assembler = Assembler(self.talk.transcript)
        await self.talk.ask(self.watch.turns, self.instructions, self.gate.specs)
        request = Request(self.talk.view, self.instructions, self.gate.specs, self.max_tokens, self.temperature)
        async with aclosing(self.engine.stream(request)) as deltas:
            async for delta in deltas:
                closed = assembler.feed(delta)
                if not isinstance(delta, Finished):
                    await self.emit(delta)
                if isinstance(delta, Traced):
                    self.talk.trace(delta)
                if closed is not None:
                    await dispatch.offer(assembler.call(closed), assembler.names_before(closed))
        answer = assembler.answer()
        await self.emit(TurnFinished(self.watch.turns, answer, clock() - start))
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


def _nudged(result: ToolResult, times: int) -> ToolResult:
    """The result, with a word to the model if it has seen it too often."""
    note = f"(You made this very call {times} times with this same result. Do something else, or answer.)"
    return replace(result, text=f"{result.text}\n{note}") if times else result
