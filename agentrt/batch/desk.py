"""Runs jobs in this process, hundreds at a time: each its own session in the store, each taken up where it was."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, replace

from anyio import sleep

from agentrt.agent import Agent
from agentrt.batch.outcome import FAILED, Outcome, outcome
from agentrt.batch.tasks import Job, Task
from agentrt.errors import AgentrtError, EngineError, EngineRefused, ToolsetError
from agentrt.journal.fold import fold
from agentrt.journal.opening import open_store
from agentrt.journal.records import Ended, Record
from agentrt.journal.session import Session
from agentrt.journal.store import JournalError, Store, Unavailable
from agentrt.types import ToolResult

AgentFor = Callable[[Task], Agent]
"""The agent for a task: an open one, and it may be the same for all."""

Crew = Callable[[], AbstractAsyncContextManager[AgentFor]]
"""Opens, once in each worker, what all tasks share: engine and tools. Must be picklable where workers are processes."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a worker is told: whom to employ, where the sessions are, and how often to try again.

    ``retries`` are further attempts, ``wait_seconds`` before the first of them and twice as long before each next.
    """

    crew: Crew
    store: str = ""
    retries: int = 2
    wait_seconds: float = 1.0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Desk]:
        """A desk with its tools and the store open.

        :raises AgentrtError: if they can't be opened.
        """
        async with aclosing(open_store(self.store)) as store, self.crew() as agent_for:
            yield Desk(self, store, agent_for)


class _Unfinished(Session):
    """A session that goes on by itself: a batch that is stopped is meant to be taken up where it was."""

    async def call_off(self, results: Sequence[ToolResult]) -> None:
        """Write nothing: what had not started runs when the batch goes on."""


class Desk:
    """Runs one job after another, or many at once. The sessions are there already; whoever ran one is fenced off."""

    def __init__(self, order: Order, store: Store, agent_for: AgentFor) -> None:
        self.order = order
        self.store = store
        self.agent_for = agent_for

    async def run(self, job: Job) -> Outcome:
        """Bring the session of the job to its end, from where it is; one that has ended is left as it is.

        Engines, tools and stores that can't be reached are tried again. Raises nothing: a failure is an outcome.
        """
        tries = self.order.retries + 1
        while True:
            records: list[Record] = []
            try:
                await self._attempt(job, records)
                return outcome(job.session, records)
            except Exception as error:  # noqa: BLE001 - engines, permits and tools are foreign code; the batch goes on
                failure, tries = _lone(error), tries - 1
            if not tries or not _passing(failure):
                return await self._failed(job, records, failure)
            await sleep(self.order.wait_seconds * 2 ** (self.order.retries - tries))

    async def _attempt(self, job: Job, records: list[Record]) -> None:
        """Run to the end; ``records`` are filled with what there is in the session."""
        lease = await self.store.take(job.session)
        records += await self.store.read(job.session)
        if records and isinstance(records[-1], Ended):
            return
        folded = fold(records)
        session = _Unfinished(self.store, lease, folded.transcript, folded.open_turn, records, folded.view)
        await self.agent_for(job.task).run(None, session=session)
        records += await self.store.read(job.session, after=len(records))

    async def _failed(self, job: Job, records: list[Record], failure: Exception) -> Outcome:
        """The outcome of a job that could not be run, with what it came to."""
        with suppress(JournalError):  # the error that is reported says why
            records += await self.store.read(job.session, after=len(records))
        kind = "" if isinstance(failure, AgentrtError) else f"{type(failure).__name__}: "
        return replace(outcome(job.session, records), reason=FAILED, error=f"{kind}{failure}")


def _lone(error: Exception) -> Exception:
    """The error, or the first of a group of them: what went wrong for several calls at once is the same for all."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _passing(error: Exception) -> bool:
    """Whether it may be gone the next time: the engine, a source of tools or the store was away."""
    return isinstance(error, EngineError | ToolsetError | Unavailable) and not isinstance(error, EngineRefused)
