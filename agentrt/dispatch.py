"""One turn's calls: gate, permission, run, ordered results."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from anyio import Event as Flag
from anyio import move_on_after
from anyio.abc import TaskGroup

from agentrt.contract import Gate, Passed
from agentrt.conversation import Conversation, OpenTurn
from agentrt.events import CallFinished, CallProgress, CallRejected, CallRepaired, CallStarted, Emit
from agentrt.toolset import Toolset, outcome
from agentrt.types import Assistant, CheckedCall, ToolCall, ToolResult, Transcript

Permit = Callable[[CheckedCall, Transcript], Awaitable[str | None]]
"""Decides whether a checked call may run: ``None`` lets it, a text refuses it and tells the model why."""


@dataclass(slots=True)
class _Job:
    """A call on its way: started at most once, with a result in the end."""

    call: ToolCall
    checked: CheckedCall | None = None
    started: bool = False
    result: ToolResult | None = None
    done: Flag = field(default_factory=Flag)

    @property
    def reads(self) -> bool:
        return self.checked is not None and self.checked.spec.read_only


@dataclass(slots=True)
class Dispatch:
    """Runs the calls of one turn.

    Reads start as soon as their JSON has closed (:meth:`offer`), side by side. Calls that may write wait
    until the answer is whole (:meth:`settle`) and keep their order, also towards the reads around them.
    ``calls_left`` bounds how many may start; ``rejected`` holds the ids of the calls that did not pass the gate.
    """

    gate: Gate
    toolset: Toolset
    permit: Permit | None
    conversation: Conversation
    call_seconds: float
    calls_left: int | None
    emit: Emit
    group: TaskGroup
    rejected: set[str] = field(default_factory=set)
    _whole: bool = False
    _jobs: dict[str, _Job] = field(default_factory=dict)

    async def offer(self, call: ToolCall, before: list[str]) -> None:
        """Start a call whose JSON has closed if it, and all calls ``before`` it (their tools' names), only read."""
        specs = [self.gate.spec(name) for name in (*before, call.name)]
        full = self.calls_left is not None and len(before) >= self.calls_left
        if full or any(spec is None or not spec.read_only for spec in specs):
            return
        job = self._jobs[call.id] = await self._admit(call)
        if job.result is None:
            self._start(job, eager=True)

    async def settle(self, answer: Assistant) -> tuple[ToolResult, ...]:
        """Run what has not run and return all results in call order. ``answer`` must be whole."""
        jobs = [await self._final(call) for call in answer.calls]
        checked = [job.checked for job in jobs if job.checked]
        results = [job.result for job in jobs if job.result]
        self._whole = True
        await self.conversation.intend(answer, checked, results, flush=self.permit is not None)
        return await self._run_all(answer, jobs)

    async def recover(self, turn: OpenTurn) -> tuple[ToolResult, ...]:
        """Finish a turn that a crash left open: run again what is safe to repeat, look into what is not.

        A call that never started runs now; one that was in flight and may have had its effect never does.
        """
        self._whole = True
        for call in turn.answer.calls:
            if call.id in turn.results:
                self._jobs[call.id] = _Job(call, result=turn.results[call.id])
                continue
            job = self._jobs[call.id] = await self._admit(call, turn.keys.get(call.id))
            if call.id in turn.in_flight:
                job.result = await self._outcome(job)
        return await self._run_all(turn.answer, list(self._jobs.values()))

    async def _outcome(self, job: _Job) -> ToolResult:
        """What came of a call that was in flight, or that nobody knows."""
        found = await outcome(self.toolset, job.checked) if job.checked else None
        unknown = (
            f"{job.call.name} was running when the process died, and whether it took effect is unknown. "
            "It was not repeated. Find out what happened before you call it again."
        )
        result = found or _failed(job.call, unknown)
        await self.conversation.doubt(result, reconciled=found is not None)
        await self.emit(CallFinished(result, 0.0))
        return result

    async def _run_all(self, answer: Assistant, jobs: list[_Job]) -> tuple[ToolResult, ...]:
        running: list[_Job] = []
        for job in jobs:
            if job.result is not None:
                continue
            if not job.reads:
                await _all_done(running)
                running.clear()
                await self._run(job, eager=False)
            elif job is jobs[-1] and not job.started:
                await self._run(job, eager=False)
            else:
                self._start(job, eager=False)
                running.append(job)
        await _all_done(running)
        return self.results(answer)

    async def _final(self, call: ToolCall) -> _Job:
        """The job for a call as it stands in the whole answer: the eager one, unless the model wrote on."""
        job = self._jobs.get(call.id)
        if job is None or job.call != call:
            job = self._jobs[call.id] = await self._admit(call)
        return job

    def results(self, answer: Assistant, *, missing: str = "") -> tuple[ToolResult, ...]:
        """The results in call order; a call without one gets ``missing`` as its error."""
        jobs = (self._jobs.get(call.id) or _Job(call) for call in answer.calls)
        return tuple(job.result or _failed(job.call, missing) for job in jobs)

    async def reject(self, answer: Assistant, reason: str) -> tuple[ToolResult, ...]:
        """Answer every call of an answer that must not run with ``reason``."""
        for call in answer.calls:
            await self.emit(CallRejected(call, reason))
        return tuple(_failed(call, f"{call.name} was not run: {reason}") for call in answer.calls)

    def _start(self, job: _Job, *, eager: bool) -> None:
        if not job.started:
            job.started = True
            self.group.start_soon(self._run, job, eager)

    async def _admit(self, call: ToolCall, key: str | None = None) -> _Job:
        """Take the call through the gate; a rejected one has its result at once."""
        job = _Job(call)
        verdict = self.gate.check(call)
        if isinstance(verdict, Passed):
            key = key or self.conversation.key(call.id)
            job.checked = replace(verdict.call, key=key) if key else verdict.call
            for repair in verdict.repairs:
                await self.emit(CallRepaired(call, repair.rule, repair.before, repair.after))
        else:
            self.rejected.add(call.id)
            await self._refuse(job, verdict.reason)
        return job

    async def _refuse(self, job: _Job, reason: str) -> None:
        await self._land(job, _failed(job.call, reason))
        await self.emit(CallRejected(job.call, reason))

    async def _land(self, job: _Job, result: ToolResult) -> None:
        """Keep the result; one that lands while the model still decodes is told with the whole answer."""
        job.result = result
        if self._whole:
            await self.conversation.land(result)
        job.done.set()

    async def _run(self, job: _Job, eager: bool) -> None:
        checked = job.checked
        assert checked is not None, "only calls that passed the gate are run"
        refusal = await self.permit(checked, self.conversation.transcript) if self.permit else None
        if refusal is not None:
            await self._refuse(job, refusal)
            return
        if not eager:
            await self.conversation.start(checked)
        await self.emit(CallStarted(job.call, checked.spec.source, eager))
        start = time.perf_counter()
        result = await self._call(checked)
        wrong = self.gate.check_output(result, checked.name)
        if wrong is not None:
            result = replace(result, text=f"{wrong}\nIts answer was: {result.text}", error=True)
        seconds = time.perf_counter() - start
        await self._land(job, result)
        await self.emit(CallFinished(result, seconds))

    async def _call(self, checked: CheckedCall) -> ToolResult:
        async def progress(done: float, total: float | None, message: str) -> None:
            await self.emit(CallProgress(checked.id, done, total, message))

        with move_on_after(self.call_seconds):
            try:
                return await self.toolset.call(checked, progress)
            except Exception as error:  # noqa: BLE001 - a tool is foreign code: its fault is text for the model
                text = f"{checked.name} failed: {type(error).__name__}: {error}"
                return ToolResult(checked.id, checked.name, text, error=True, details=repr(error))
        text = f"{checked.name} did not answer within {self.call_seconds:g} s and was cancelled; its effect is unknown."
        return ToolResult(checked.id, checked.name, text, error=True)


async def _all_done(jobs: list[_Job]) -> None:
    for job in jobs:
        await job.done.wait()


def _failed(call: ToolCall, reason: str) -> ToolResult:
    return ToolResult(call.id, call.name, reason, error=True)
