"""One task at work in this process: how it is, who listens, and what its worker may do with it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from a2a.types.a2a_pb2 import (
    Artifact,
    Message,
    Part,
    Role,
    SendMessageRequest,
    Task,
    TaskArtifactUpdateEvent,
    TaskState,
    TaskStatus,
    TaskStatusUpdateEvent,
)
from anyio import BrokenResourceError, CancelScope, ClosedResourceError, Event, WouldBlock, create_memory_object_stream
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Value

from agentrt.serve.board import Seat
from agentrt_a2a.convert import words
from agentrt_a2a.delegation import Delegation
from agentrt_a2a.exchange import ENDED, RESTING
from agentrt_a2a.server.tasks import Kept, Tasks

BACKLOG = 1_000
"""How many events a listener may be behind before it is cut."""

ANSWER = "answer"
"""The id of the artifact that is the answer as a whole."""

Happening = Task | TaskStatusUpdateEvent | TaskArtifactUpdateEvent
Tell = Callable[[str, Happening], Awaitable[None]]
"""Is told of each change of state, with the tenant; must not raise or wait long."""


class Lost(Exception):
    """The task is not ours any more: another process took it up."""


@dataclass(slots=True)
class Job:
    """A task and its worker. ``resumed`` if an earlier process worked on it; ``kept`` is what that one left.

    ``brief`` while it may still be told as a plain message, because nobody was given the task yet. A question, another
    artifact than the answer and any end but a good one make it a task for good. ``is_message`` once it is settled that
    a message is all that is told.
    """

    kept: Kept
    tasks: Tasks
    delegation: Delegation
    tell: Tell
    resumed: bool = False
    brief: bool = False
    is_message: bool = False
    scope: CancelScope = field(default_factory=CancelScope)
    canceled: bool = False
    done: Event = field(default_factory=Event)
    seat: Seat | None = None  # where the host's other doors see the run
    _listeners: set[MemoryObjectSendStream[Happening]] = field(default_factory=set)
    _answer: Message | None = None
    _stirred: Event = field(default_factory=Event)
    _questions: int = 0

    @property
    def task(self) -> Task:
        """The task as it is now; change it through the methods only."""
        return self.kept.task

    @property
    def request(self) -> SendMessageRequest:
        """What was asked for to begin with."""
        return self.kept.request

    async def status(self, state: TaskState, text: str = "", *, parts: Iterable[Part] = ()) -> None:
        """Go into a state, with words for the caller; it is durable before anybody hears of it.

        :raises Lost: if the task is not ours any more.
        """
        status = TaskStatus(state=state)
        status.timestamp.GetCurrentTime()
        said = [*([Part(text=text)] if text else []), *parts]
        if said:
            status.message.CopyFrom(self._message(said))
        saved = Task()
        saved.CopyFrom(self.task)
        saved.status.CopyFrom(status)
        if not await self._save(saved):
            raise Lost
        self.task.status.CopyFrom(status)
        update = TaskStatusUpdateEvent(task_id=self.task.id, context_id=self.task.context_id, status=status)
        await self.tell(self.kept.tenant, update)
        self._hand_out(update)

    async def _save(self, saved: Task) -> bool:
        completed = saved.status.state == TaskState.TASK_STATE_COMPLETED
        answered = [artifact.artifact_id for artifact in saved.artifacts] == [ANSWER]
        if self.brief and completed and answered:
            self.is_message = True
            return await self.tasks.save_as_message(saved)
        return await self.tasks.save(saved)

    def _message(self, parts: Iterable[Part]) -> Message:
        return Message(
            message_id=uuid.uuid4().hex,
            role=Role.ROLE_AGENT,
            parts=parts,
            task_id=self.task.id,
            context_id=self.task.context_id,
        )

    async def artifact(self, artifact: Artifact, *, append: bool = False, last: bool = False) -> None:
        """Add an artifact, put another in its place, or let it grow. It is durable with the next state."""
        known = next((item for item in self.task.artifacts if item.artifact_id == artifact.artifact_id), None)
        if known is None:
            self.task.artifacts.append(artifact)
        elif append:
            known.parts.extend(artifact.parts)
        else:
            known.CopyFrom(artifact)
        update = TaskArtifactUpdateEvent(
            task_id=self.task.id,
            context_id=self.task.context_id,
            artifact=artifact,
            append=append and known is not None,
            last_chunk=last,
        )
        if last:
            await self.tell(self.kept.tenant, update)
        self._hand_out(update)

    async def ask(
        self, text: str, *, auth: bool = False, data: Mapping[str, Any] | None = None, key: str = ""
    ) -> Message:
        """Ask the caller, and wait for the message that answers; the task goes on at work then.

        ``data`` says the same for programs (the schema of a form). ``key`` tells the question from others, also
        after a crash: an answer that came before it is not asked for again.
        """
        if key and (before := _answered(self.kept.answer, key)) is not None:
            return Message(role=Role.ROLE_USER, parts=[Part(text=before)])
        self.brief = False
        state = TaskState.TASK_STATE_AUTH_REQUIRED if auth else TaskState.TASK_STATE_INPUT_REQUIRED
        parts = [] if data is None else [Part(data=ParseDict(dict(data), Value()), media_type="application/json")]
        if self._answer is None:  # after a restart it may be there before we ask again
            await self.status(state, text, parts=parts)
        while self._answer is None:
            await self._stirred.wait()
        answer = self._answer
        if key:
            await self.tasks.answered(self.task.id, json.dumps([key, words(answer.parts)]))
        await self.status(TaskState.TASK_STATE_WORKING)
        self._answer = None
        return answer

    @property
    def asks(self) -> bool:
        """Whether it waits for the caller."""
        return self.task.status.state in RESTING - ENDED and self._answer is None

    def answer(self, message: Message) -> None:
        """Hand the caller's message to the worker that waits for it."""
        self.task.history.append(message)
        self._answer = message
        self._stirred.set()
        self._stirred = Event()

    def stop(self) -> None:
        """Cancel it, for a caller who wants that."""
        self.canceled = True
        self.scope.cancel()

    def question_name(self) -> str:
        """A name for the next question."""
        self._questions += 1
        return f"question_{self._questions}"

    def listen(self) -> MemoryObjectReceiveStream[Happening]:
        """Hear of everything from now on; close it in the end. A listener that falls behind is cut."""
        send, receive = create_memory_object_stream[Happening](BACKLOG)
        if self.done.is_set():
            send.close()
        else:
            self._listeners.add(send)
        return receive

    def _hand_out(self, event: Happening) -> None:
        for listener in list(self._listeners):
            try:
                listener.send_nowait(event)
            except (WouldBlock, BrokenResourceError, ClosedResourceError):
                listener.close()
                self._listeners.discard(listener)

    def over(self) -> None:
        """Nothing more will happen here."""
        self.done.set()
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()


def _answered(kept: str, key: str) -> str | None:
    found = json.loads(kept) if kept else ["", ""]
    return str(found[1]) if found[0] == key else None


Work = Callable[[Job], Awaitable[None]]
"""Brings a task to its end. What it raises fails the task; a cancel leaves it for the next process."""
