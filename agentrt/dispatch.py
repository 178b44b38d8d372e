"""One turn's calls: gate, permission, run, ordered results."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain

from anyio import CancelScope
from anyio import Event as Flag

from agentrt.attempt import attempt
from agentrt.contract import Gate, Passed
from agentrt.conversation import Conversation
from agentrt.crew import Starts
from agentrt.events import CallFinished, CallProgress, CallRejected, CallRepaired, CallStarted, Emit
from agentrt.handover import accepting
from agentrt.outside import clock
from agentrt.toolset import Toolset
from agentrt.types import Assistant, CheckedCall, ToolCall, ToolResult, Transcript

Permit = Callable[[CheckedCall, Transcript], Awaitable[str | None]]
"""Decides whether a checked call may run: ``None`` lets it, a text refuses it and tells the model why.

A permit that asks a person may have a method ``foresee(calls, transcript)``: it is told of all calls of a turn that
have not started, before the first of them does, so that it can ask about them together.
"""


@dataclass(slots=True)
class _Beside:
    """A call that runs in a task of its own: how to cancel it and to wait for it, and whether that has begun."""

    scope: CancelScope = field(default_factory=CancelScope)
    done: Flag = field(default_factory=Flag)
    begun: bool = False


@dataclass(slots=True)
class Job:
    """A call on its way: run at most once, ``sent`` when its tool has it, with a result in the end."""

    call: ToolCall
    checked: CheckedCall | None = None
    sent: bool = False
    result: ToolResult | None = None
    beside: _Beside | None = None

    @property
    def reads(self) -> bool:
        """Whether it passed the gate and changes nothing."""
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
    group: Starts
    rejected: set[str] = field(default_factory=set)
    _whole: bool = False
    _jobs: dict[str, Job] = field(default_factory=dict)

    async def offer(self, call: ToolCall, before: Iterable[str]) -> None:
        """Start a call whose JSON has closed if it, and all calls ``before`` it (their tools' names), only read."""
        for place, name in enumerate(chain(before, (call.name,)), 1):
            spec = self.gate.spec(name)
            if spec is None or not spec.read_only or (self.calls_left is not None and place > self.calls_left):
                return
        verdict = self.gate.check(call)
        if isinstance(verdict, Passed):  # what does not pass yet is judged again when the answer is whole
            job = self._jobs[call.id] = Job(call, await self._pass(call, verdict))
            self._start(job, eager=True)

    async def settle(self, answer: Assistant) -> tuple[ToolResult, ...]:
        """Run what has not run and return all results in call order. ``answer`` must be whole."""
        jobs = [await self._final(call) for call in answer.calls]
        checked = [job.checked for job in jobs if job.checked]
        results = [job.result for job in jobs if job.result]
        self._whole = True
        await self.conversation.intend(answer, checked, results, flush=self.permit is not None)
        foresee = getattr(self.permit, "foresee", None)
        if foresee is not None:
            waiting = [job.checked for job in jobs if job.checked and job.result is None and job.beside is None]
            await foresee(waiting, self.conversation.transcript)
        return await self._run_all(answer, jobs)

    async def give_up(self) -> None:
        """Nobody waits for the reads that started early: cancel them. The answer came to nothing."""
        beside = [job.beside for job in self._jobs.values() if job.beside]
        for task in beside:
            task.scope.cancel()
        for task in beside:
            await task.done.wait()

    async def call_off(self) -> None:
        """The run is cancelled. What has not started gets its result for good, so that no resume starts it."""
        waiting = [job for job in self._jobs.values() if job.result is None and not job.sent] if self._whole else []
        for job in waiting:
            job.result = _result(job)
        if waiting:
            await self.conversation.call_off([_result(job) for job in waiting])

    async def _run_all(self, answer: Assistant, jobs: list[Job]) -> tuple[ToolResult, ...]:
        running: list[Job] = []
        for job in jobs:
            if job.result is not None:
                continue
            if not job.reads:
                await _all_done(running)
                running.clear()
                await self._run(job, eager=False)
            elif job is jobs[-1] and not (job.beside and job.beside.begun):
                job.beside = None  # the whole answer came at once: no need to wait for another task
                await self._run(job, eager=False)
            else:
                self._start(job, eager=False)
                running.append(job)
        await _all_done(running)
        return self.results(answer)

    async def _final(self, call: ToolCall) -> Job:
        """The job for a call as it stands in the whole answer: the eager one, unless the model wrote on."""
        early = self._jobs.get(call.id)
        if early is not None and early.call == call:
            return early
        job = await self._admit(call)
        if early is not None and early.checked == job.checked:
            early.call = call
            return early
        if early is not None and early.beside:
            early.beside.scope.cancel()
        self._jobs[call.id] = job
        return job

    def results(self, answer: Assistant) -> tuple[ToolResult, ...]:
        """The results in call order; a call without one gets an error that says whether it may have run."""
        return tuple(_result(self._jobs.get(call.id) or Job(call)) for call in answer.calls)

    def _start(self, job: Job, *, eager: bool) -> None:
        if job.beside is None:
            job.beside = _Beside()
            self.group.start_soon(self._run_beside, job, job.beside, eager)

    async def _run_beside(self, job: Job, task: _Beside, eager: bool) -> None:
        if job.beside is not task:
            return
        task.begun = True
        try:
            with task.scope:
                await self._run(job, eager=eager)
        finally:
            task.done.set()

    async def _admit(self, call: ToolCall) -> Job:
        """Take the call through the gate; a rejected one has its result at once."""
        verdict = self.gate.check(call)
        if isinstance(verdict, Passed):
            return Job(call, await self._pass(call, verdict))
        job = Job(call)
        await self._reject(job, verdict.reason)
        return job

    async def _pass(self, call: ToolCall, verdict: Passed, key: str | None = None) -> CheckedCall:
        for repair in verdict.repairs:
            await self.emit(CallRepaired(call, repair.rule, repair.before, repair.after))
        key = key or self.conversation.key(verdict.call)
        return replace(verdict.call, key=key) if key else verdict.call

    async def _reject(self, job: Job, reason: str) -> None:
        self.rejected.add(job.call.id)
        await self._refuse(job, reason)

    async def _refuse(self, job: Job, reason: str) -> None:
        self._land(job, failed(job.call, reason))
        await self.emit(CallRejected(job.call, reason))

    def _land(self, job: Job, result: ToolResult) -> None:
        """Keep the result; one that lands while the model still decodes is told with the whole answer."""
        job.result = result
        current = self._whole and self._jobs.get(job.call.id) is job  # and not one that the model wrote on after
        if current and self.conversation.land(result):
            self.group.start_soon(self.conversation.flush)  # beside what comes next; an effect waits for it

    async def _run(self, job: Job, *, eager: bool) -> None:
        checked = job.checked
        assert checked is not None, "only calls that passed the gate are run"

        async def progress(done: float, total: float | None, message: str) -> None:
            await self.emit(CallProgress(checked.id, done, total, message))

        refusal = await self.permit(checked, self.conversation.transcript) if self.permit else None
        if refusal is not None:
            await self._refuse(job, refusal)
            return
        if not eager:
            await self.conversation.start(checked)
        await self.emit(CallStarted(job.call, checked.spec.source, eager))
        start = clock()
        job.sent = True
        with accepting(partial(self.conversation.accept, checked)):
            result = await attempt(checked, self.toolset, self.gate, self.call_seconds, progress)
        seconds = clock() - start
        self._land(job, result)
        await self.emit(CallFinished(result, seconds))


async def _all_done(jobs: Iterable[Job]) -> None:
    for job in jobs:
        if job.beside:
            await job.beside.done.wait()


def _result(job: Job) -> ToolResult:
    if job.result is not None:
        return job.result
    name = job.call.name
    if job.sent:
        unknown = "" if job.reads else "; whether it took effect is unknown"
        return failed(job.call, f"{name} was interrupted before it answered{unknown}.")
    return failed(job.call, f"{name} was not run: the run was interrupted first.")


def failed(call: ToolCall, reason: str) -> ToolResult:
    """The result of a call that came to nothing."""
    return ToolResult(call.id, call.name, reason, error=True)
