"""Takes tasks in, keeps a worker on each until it ends, and takes up what a dead process left."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from a2a.types.a2a_pb2 import Message, SendMessageRequest, Task, TaskState
from anyio import CancelScope, Event, create_task_group, move_on_after, sleep
from anyio.abc import TaskGroup
from google.protobuf.json_format import MessageToDict

from agentrt.errors import AgentrtError
from agentrt_a2a.delegation import URI, Delegation
from agentrt_a2a.exchange import ENDED
from agentrt_a2a.server.job import Happening, Job, Lost, Tell, Work
from agentrt_a2a.server.tasks import Kept, Tasks

MAX_ATTEMPTS = 25
CANCEL_SECONDS = 10.0
POLL_SECONDS = 0.5
SAID_ALREADY = -1
"""In place of how many messages a session had before a task's own: these are in it."""
_LOG = logging.getLogger("agentrt.a2a")


@dataclass(slots=True)
class Desk:
    """The tasks of this process. Everything is scoped to a tenant; open it with :meth:`open`."""

    tasks: Tasks
    work: Work
    tell: Tell
    agent: str = ""
    jobs: dict[str, Job] = field(default_factory=dict)
    _group: TaskGroup | None = None

    @asynccontextmanager
    async def open(self, stopping: Event) -> AsyncIterator[None]:
        """Work until the block is left; what is unfinished then is let go of, for the next process."""
        self.agent = await self.tasks.open()
        async with create_task_group() as group:
            self._group = group
            group.start_soon(self._keep)
            group.start_soon(self._read_letters)
            try:
                yield
            finally:
                self._group = None
                group.cancel_scope.cancel()
        with CancelScope(shield=True), suppress(AgentrtError):
            await self.tasks.release()
            await self.tasks.database.aclose()

    async def _keep(self) -> None:
        """Hold on to our tasks, and take up those that nobody holds."""
        while True:
            try:
                await self.tasks.renew()
                for kept in await self.tasks.claim():
                    if kept.task.id not in self.jobs:
                        self._take_up(kept)
            except AgentrtError as error:
                _LOG.warning("the A2A tasks can't be looked after now: %s", error)
            await sleep(self.tasks.lease_seconds / 3)

    async def _read_letters(self) -> None:
        """Hand on what reached another process, or came before its task asked."""
        while True:
            await sleep(POLL_SECONDS)
            if not self.jobs:
                continue
            try:
                for task_id, letter in await self.tasks.letters():
                    job = self.jobs.get(task_id)
                    if job is not None and (not letter.parts or job.asks):
                        await self.tasks.drop_letter(task_id, letter.message_id)
                        self._deliver(job, letter)
            except AgentrtError as error:
                _LOG.warning("letters for A2A tasks can't be read now: %s", error)

    def _deliver(self, job: Job, letter: Message) -> None:
        if letter.parts:
            job.answer(letter)
        else:
            job.stop()

    def _take_up(self, kept: Kept) -> None:
        job = Job(kept, self.tasks, delegation_of(kept.request.message), self.tell, resumed=True)
        self._start(job)

    def _start(self, job: Job) -> None:
        assert self._group is not None, "the desk is open while it has callers"
        self.jobs[job.task.id] = job
        self._group.start_soon(self._run, job)

    async def submit(
        self, tenant: str, task: Task, request: SendMessageRequest, *, session: str = "", brief: bool = False
    ) -> Job | str:
        """Take a new task in; or say which task its message made before. It is durable when this returns.

        ``session`` is where another door has begun it; ``brief`` if a message may be its answer.
        """
        task.status.state = TaskState.TASK_STATE_SUBMITTED
        task.status.timestamp.GetCurrentTime()
        known = await self.tasks.add(tenant, task, request)
        if known is not None:
            return known
        said = SAID_ALREADY if session else 0
        if session:
            await self.tasks.place(task.id, session, said)
        kept = Kept(tenant, task, request, session, said, "", 1)
        job = Job(kept, self.tasks, delegation_of(request.message), self.tell, brief=brief)
        self._start(job)
        return job

    async def _run(self, job: Job) -> None:
        """Work on the task; it ends with a reason, unless the process ends first or another has taken it."""
        try:
            with job.scope:
                await self._attempt(job)
            if job.canceled and job.task.status.state not in ENDED:
                await job.status(TaskState.TASK_STATE_CANCELED, "canceled by the caller")
        except Lost:
            _LOG.warning("the A2A task %s was taken up by another process", job.task.id)
        except AgentrtError as error:
            _LOG.error("the A2A task %s can't be written: %s", job.task.id, error)
        finally:
            self.jobs.pop(job.task.id, None)
            job.over()

    async def _attempt(self, job: Job) -> None:
        if job.kept.attempts > MAX_ATTEMPTS:
            text = f"given up: {MAX_ATTEMPTS} processes ended while they worked on it"
            await job.status(TaskState.TASK_STATE_FAILED, text)
            return
        try:
            await self.work(job)
        except Lost:
            raise
        except Exception as error:  # noqa: BLE001 - a worker is foreign code: what it raises is the task's reason
            if job.canceled:
                return
            await job.status(TaskState.TASK_STATE_FAILED, f"{type(error).__name__}: {error}"[:2_000])
            return
        if job.task.status.state not in ENDED:
            await job.status(TaskState.TASK_STATE_FAILED, "the worker ended without a word")

    async def cancel(self, task_id: str) -> None:
        """Stop the worker of a task, here or elsewhere, and wait a while until it has stopped."""
        job = self.jobs.get(task_id)
        if job is None:
            await self.tasks.post(task_id, Message(message_id=f"cancel-{task_id}"))
            return
        job.stop()
        with move_on_after(CANCEL_SECONDS):
            await job.done.wait()

    async def hear(self, tenant: str, task: Task, message: Message) -> None:
        """Take a message for a task that asks, once. It is durable when this returns."""
        if not await self.tasks.hear(tenant, task.id, message.message_id):
            return
        job = self.jobs.get(task.id)
        if job is not None and job.asks:
            job.answer(message)
            return
        await self.tasks.post(task.id, message)
        with move_on_after(CANCEL_SECONDS):
            while await self.tasks.waits(task.id, message.message_id):  # noqa: ASYNC110 - another process takes it
                await sleep(POLL_SECONDS / 2)

    async def elsewhere(self, tenant: str, task_id: str, unless: bytes = b"") -> AsyncIterator[Happening]:
        """The states of a task that another process works on, as it saves them, until it ends.

        A task whose status is still ``unless`` is not told.
        """
        last = b""
        while True:
            task = await self.tasks.get(tenant, task_id)
            if task is None:
                return
            if task.status.SerializeToString(deterministic=True) == unless:
                pass
            elif task.SerializeToString(deterministic=True) != last:
                last = task.SerializeToString(deterministic=True)
                yield task
            if task.status.state in ENDED or task_id in self.jobs:
                return
            await sleep(POLL_SECONDS)


def delegation_of(message: Message) -> Delegation:
    """How a message came to us, by its metadata."""
    said = MessageToDict(message.metadata).get(URI) if message.HasField("metadata") else None
    return Delegation.from_json(said) if isinstance(said, dict) else Delegation()
