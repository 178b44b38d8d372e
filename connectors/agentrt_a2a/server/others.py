"""Runs that other doors of the host work on, as tasks of ours; and how any run ends as a task."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from a2a.types.a2a_pb2 import Artifact, Message, Part, Role, SendMessageRequest, Task, TaskState
from anyio import CancelScope, get_cancelled_exc_class, move_on_after
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Value

from agentrt.journal import Store
from agentrt.journal.records import Answered, Ended, Record, Said
from agentrt.question import Answer, Question
from agentrt.serve.board import Board, Run, State
from agentrt_a2a.server.desk import Desk
from agentrt_a2a.server.job import ANSWER, Job
from agentrt_a2a.server.questions import put

DOOR = "a2a"
END_SECONDS = 5.0
STATES: Mapping[State, TaskState] = {
    "working": TaskState.TASK_STATE_WORKING,
    "input_required": TaskState.TASK_STATE_INPUT_REQUIRED,
    "completed": TaskState.TASK_STATE_COMPLETED,
    "failed": TaskState.TASK_STATE_FAILED,
    "cancelled": TaskState.TASK_STATE_CANCELED,
}
"""The states of a run, which are those of an MCP task, as states of an A2A task.

A2A tells three of them in finer words too: a run that has not begun is submitted, one that waits for a visit elsewhere
is auth-required, and a task that was refused before it became a run is rejected.
"""


@dataclass(slots=True)
class Others:
    """Lets a caller see the runs of the other doors among its tasks, under the ids that they have there."""

    desk: Desk
    board: Board
    store: Store

    async def task(self, tenant: str, task_id: str) -> Task | None:
        """The task for a run of another door, which is followed from now on."""
        run = await self.board.find(task_id, tenant)
        return None if run is None or run.door == DOOR else await self._adopt(run)

    async def adopt_all(self, tenant: str) -> None:
        """Have tasks for all runs that go on at other doors."""
        for run in await self.board.going_on(tenant):
            if run.door != DOOR and run.id not in self.desk.jobs:
                await self._adopt(run)

    async def _adopt(self, run: Run) -> Task | None:
        records = (await self.store.read(run.session, tenant=run.tenant))[run.start :]
        said = next((record.message.text for record in records if isinstance(record, Said)), "")
        message = Message(message_id=f"run-{run.id}", role=Role.ROLE_USER, parts=[Part(text=said)])
        message.task_id, message.context_id = run.id, run.session
        task = Task(id=run.id, context_id=run.session, history=[message])
        job = await self.desk.submit(run.tenant, task, SendMessageRequest(message=message), session=run.session)
        if isinstance(job, Job) and run.ended:
            with move_on_after(END_SECONDS):
                await job.done.wait()
        return await self.desk.tasks.get(run.tenant, run.id)


async def followed(job: Job, board: Board) -> Run | None:
    """Look after the run behind the task while another door works on it: as it is once that is over, if there is one.

    What it asks, the task's caller is asked; a caller who cancels the task cancels it.
    """

    async def ask(name: str, question: Question) -> Answer:
        try:
            return await put(job, name, question)
        except get_cancelled_exc_class():
            with CancelScope(shield=True):  # it was answered at another door
                await job.status(TaskState.TASK_STATE_WORKING)
            raise

    task_id, tenant = job.task.id, job.kept.tenant
    try:
        return await board.follow(task_id, tenant, DOOR, ask)
    finally:
        if job.canceled:
            with CancelScope(shield=True):
                run = await board.find(task_id, tenant)
                if run is not None:
                    await board.cancel(run)


async def tell_end(job: Job, run: Run, store: Store) -> None:
    """End the task as its run ended at another door."""
    records = (await store.read(run.session, tenant=run.tenant))[run.start :]
    end = next((at for at, record in enumerate(records) if isinstance(record, Ended)), len(records))
    if run.state == "cancelled":
        await job.status(STATES["cancelled"], "canceled at another door")
    else:
        await finish(job, _last_words(records[:end]), "done" if run.state == "completed" else _reason(records[end:]))


def _last_words(records: Sequence[Record]) -> str:
    return next((record.answer.text for record in reversed(records) if isinstance(record, Answered)), "")


def _reason(records: Sequence[Record]) -> str:
    return records[0].reason if records and isinstance(records[0], Ended) else "it failed"


async def finish(job: Job, text: str, reason: str) -> None:
    """End the task as its run ended: one that a limit ended has failed, and what it had said stays."""
    part = _part(text, list(job.request.configuration.accepted_output_modes))
    if text:
        await job.artifact(Artifact(artifact_id=ANSWER, name=ANSWER, parts=[part]), last=True)
    if reason == "done":
        await job.status(STATES["completed"])
    else:
        await job.status(STATES["failed"], f"the run ended before it was done: {reason}")


def _part(text: str, accepted: list[str]) -> Part:
    """The answer: words, or data if it is a JSON object or array as a whole and the caller takes that."""
    takes_json = not accepted or any(mode in ("application/json", "*/*", "application/*") for mode in accepted)
    if takes_json and text.lstrip()[:1] in ("{", "["):
        try:
            value: Any = ParseDict(json.loads(text), Value())
            return Part(data=value, media_type="application/json")
        except (ValueError, RecursionError):
            pass
    return Part(text=text, media_type="text/plain")
