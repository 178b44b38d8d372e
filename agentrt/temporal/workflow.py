"""The workflow: the same loop as everywhere, with an engine and tools whose work is done by activities.

Its code is run again from its history whenever a worker takes it up, so nothing in it may depend on anything else:
the loop, the gate and the journal's records and fold are pure, and time is Temporal's. The records are not stored;
they come out of the history again each time.
"""

from __future__ import annotations

import sys
from asyncio import Task
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from math import inf
from types import TracebackType
from typing import Any, Self

from anyio import CancelScope, Event
from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

from agentrt.agent import Agent
from agentrt.engine import Delta, Request
from agentrt.engines.scripted import deltas
from agentrt.errors import AgentrtError, EngineError, EngineRefused, ToolsetError
from agentrt.handover import Accept, acceptor
from agentrt.journal.fold import fold
from agentrt.journal.memory import MemoryStore
from agentrt.journal.records import Answered, Said, effect_of
from agentrt.journal.session import Session
from agentrt.journal.store import SessionInfo
from agentrt.loop import Result
from agentrt.plain import to_json
from agentrt.temporal.wire import (
    ACCEPTED,
    ASK,
    CALL,
    DESCRIBE,
    OUTCOME,
    PERMIT,
    RECORDS,
    SESSION,
    Plain,
    Staff,
    Terms,
    answer_in,
    call_out,
    order_in,
    outcome_in,
    result_in,
    staff_in,
)
from agentrt.toolset import Outcome, Progress
from agentrt.types import CheckedCall, ToolResult, ToolSpec, Transcript, Usage

GRACE_SECONDS = 30.0
"""What an activity may take over the time that its call has, before it is cut."""

PAGE_CHARS = 500_000
"""How much a query answers at once; Temporal takes 2 MB."""


class CallLost(BaseException):
    """The worker was lost while an unsafe call ran. For the run this is what a crash is."""


class _Session(Session):
    """A session whose records are there when the engine is asked, and whose seconds are Temporal's."""

    began: float = 0.0

    async def ask(self, turn: int, instructions: str, tools: Sequence[ToolSpec]) -> None:
        """Let the turn before be read by the worker that asks."""
        await super().ask(turn, instructions, tools)
        await self.commit()

    async def end(self, reason: str, turns: int, calls: int, usage: Usage, seconds: float) -> None:
        """Note how the run ended."""
        await super().end(reason, turns, calls, usage, workflow.time() - self.began)


@workflow.defn(name=SESSION, sandboxed=False)
class SessionWorkflow:
    """A session. Its history is its journal."""

    def __init__(self) -> None:
        self._store = MemoryStore()
        self._acceptors: dict[str, Accept] = {}
        info = workflow.info()
        self._id = f"{info.workflow_id}/{info.run_id}"

    @workflow.run
    async def run(self, plain: Plain) -> Plain:
        """Work on the prompt until the model answers in words or a limit is reached."""
        order = order_in(plain)
        began = workflow.time()
        try:
            worker = _Worker(order.terms, order.limits.call_seconds, self._acceptors)
            agent = Agent(
                worker,
                instructions=(await worker.staff()).instructions,
                permit=worker.permit if (await worker.staff()).asks else None,
                compaction=None,  # each request takes the conversation as its own activity has it
                limits=replace(order.limits, call_seconds=inf, result_chars=sys.maxsize),  # kept where the call runs
            )
            agent.toolset = worker  # as it is: results that are too long are cut where they arise
            info = SessionInfo(self._id, "", worker.name, 0.0, 0.0, 0)
            await self._store.create(info, (Said(order.prompt),))
            result = await self._drive(agent, began)
        except AgentrtError as error:
            raise ApplicationError(str(error), type=type(error).__name__, non_retryable=True) from error
        answers = [record.answer for record in await self._store.read(self._id) if isinstance(record, Answered)]
        return {
            "text": result.text,
            "reason": result.reason,
            "turns": len(answers),  # also of the runs that broke off when a worker was lost
            "calls": sum(len(answer.calls) for answer in answers),
            "usage": to_json(sum((answer.usage for answer in answers), Usage())),
            "seconds": workflow.time() - began,
        }

    async def _drive(self, agent: Agent, began: float) -> Result:
        """Run, and where a call was lost take the session up again, as after a crash."""
        while True:
            session = await self._session(began)
            try:
                return await agent.run(None, session=session)
            except CallLost:
                continue
            except BaseException:  # cancelled, or the engine is away for good: what is known by now is kept
                with CancelScope(shield=True):
                    await session.commit()
                raise

    async def _session(self, began: float) -> _Session:
        lease = await self._store.take(self._id)
        records = await self._store.read(self._id)
        folded = fold(records)
        session = _Session(self._store, lease, folded.transcript, folded.open_turn, records)
        session.began = began
        return session

    @workflow.signal(name=ACCEPTED)
    async def accepted(self, call_id: str, handle: str) -> None:
        """The peer of a call has taken it over."""
        accept = self._acceptors.get(call_id)
        if accept is not None:
            await accept(handle)

    @workflow.query(name=RECORDS)
    def records(self, after: int) -> list[str]:
        """Records after number ``after``, as lines of JSON: as many as fit, none if there are no more."""
        kept = self._store.disk.get(self._id)
        page: list[str] = []
        for body in kept.bodies[after:] if kept else ():
            if page and sum(map(len, page)) + len(body) > PAGE_CHARS:
                break
            page.append(body)
        return page


@dataclass(slots=True)
class _Worker:
    """The engine, the toolset and the permit, as the loop knows them; whichever worker is there does the work."""

    terms: Terms
    call_seconds: float
    acceptors: dict[str, Accept]
    _staff: Staff | None = None
    _stale: bool = False
    _specs: tuple[ToolSpec, ...] = field(default=())

    async def staff(self) -> Staff:
        """What the workers have; asked once, and again when an answer says that it has changed."""
        if self._staff is None or self._stale:
            try:
                plain = await self._activity(DESCRIBE, [], self.terms.ask_seconds, self.terms.attempts)
            except ActivityError as error:
                raise ToolsetError(f"no worker could open its tools: {error.cause}") from error
            self._staff, self._stale = staff_in(plain), False
        return self._staff

    def _noticed(self, version: str) -> None:
        self._stale = self._stale or (self._staff is not None and self._staff.version != version)

    async def _activity(self, name: str, arguments: list[Any], seconds: float, attempts: int) -> Any:
        """What the activity returned.

        A wait that is cancelled leaves it alone, and a worker hears by its heartbeat that the session is over. For
        Temporal cancels what it is told to at its leisure, while anyio insists, and the order in which it does so
        is not the same in a replay.
        """
        activity = workflow.start_activity(
            name,
            args=arguments,
            start_to_close_timeout=timedelta(seconds=seconds + GRACE_SECONDS),
            heartbeat_timeout=timedelta(seconds=self.terms.heartbeat_seconds),
            retry_policy=RetryPolicy(maximum_attempts=attempts),
        )
        over = Event()

        def note(done: Task[Any]) -> None:
            if not done.cancelled():
                done.exception()  # taken, so that nobody misses it if nobody waits any more
            over.set()

        activity.add_done_callback(note)
        await over.wait()
        return activity.result()

    @property
    def name(self) -> str:
        """The name of the workers' engine."""
        return self._staff.engine if self._staff else ""

    async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Have a worker ask the model. It reads the conversation by a query, so that the history stays linear.

        :raises EngineError: if the model can't be asked.
        """
        try:
            plain = await self._activity(ASK, [], self.terms.ask_seconds, self.terms.attempts)
        except ActivityError as error:
            refused = isinstance(error.cause, ApplicationError) and error.cause.type == EngineRefused.__name__
            raise (EngineRefused if refused else EngineError)(_said(error)) from error
        self._noticed(plain["version"])
        for delta in deltas(answer_in(plain["answer"])):
            yield delta

    async def aclose(self) -> None:
        """Nothing to release."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    async def specs(self) -> Sequence[ToolSpec]:
        """The workers' tools."""
        tools = (await self.staff()).tools
        if tools != self._specs:
            self._specs = tools
        return self._specs

    async def permit(self, call: CheckedCall, transcript: Transcript) -> str | None:
        """What the workers' rules say of the call; if they can't be asked, it does not run."""
        try:
            said = await self._activity(PERMIT, [self._plain(call)], self.terms.ask_seconds, self.terms.attempts)
        except ActivityError as error:
            return f"{call.name} was not run: the rules could not be asked: {_said(error)}"
        return None if said is None else str(said)

    async def call(self, call: CheckedCall, progress: Progress) -> ToolResult:
        """Have a worker run the call: once if that is all that is safe, else until one has brought it to its end.

        :raises CallLost: if nobody knows what came of an unsafe call.
        """
        unsafe = effect_of(call.spec) == "unsafe"
        self.acceptors[call.id] = acceptor()
        try:
            plain = await self._activity(
                CALL, [self._plain(call)], self.call_seconds, 1 if unsafe else self.terms.attempts
            )
        except ActivityError as error:
            if unsafe:
                raise CallLost from error
            return ToolResult(call.id, call.name, f"{call.name} could not be run: {_said(error)}", error=True)
        finally:
            del self.acceptors[call.id]
        self._noticed(plain["version"])
        return result_in(plain["result"])

    async def outcome(self, call: CheckedCall) -> Outcome:
        """Have a worker look into what came of a lost call."""
        try:
            return outcome_in(
                await self._activity(OUTCOME, [self._plain(call)], self.call_seconds, self.terms.attempts)
            )
        except ActivityError:
            return None

    def _plain(self, call: CheckedCall) -> Plain:
        return call_out(call, effect_of(call.spec), self.call_seconds)


def _said(error: ActivityError) -> str:
    return str(error.cause or error)
