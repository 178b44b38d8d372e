"""A task as a run of the agent: its session is in the journal, so that it goes on where a dead process left it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from a2a.types.a2a_pb2 import Artifact, Part, TaskState
from google.protobuf.json_format import MessageToDict

from agentrt.engine import TextDelta
from agentrt.errors import AgentrtError
from agentrt.events import CallFinished, CallStarted, Event, TurnStarted
from agentrt.journal import Session, Store
from agentrt.question import Answer, Question, standing_at
from agentrt.serve.board import Board, Held, Run
from agentrt.serve.door import AskAll, write_down
from agentrt.types import User
from agentrt_a2a.delegation import CURRENT, ME, Delegation
from agentrt_a2a.files import whole
from agentrt_a2a.inbox import HERE, Inbox
from agentrt_a2a.server.job import ANSWER, Job
from agentrt_a2a.server.others import DOOR, finish, followed, tell_end
from agentrt_a2a.server.questions import put, put_calls

if TYPE_CHECKING:
    from agentrt.agent import Agent


@dataclass(slots=True)
class AgentWork:
    """Works on each task with a run of its own: ``agent_for`` makes the agent, ``store`` keeps the session.

    A run that another door works on is followed.
    """

    agent_for: Callable[[AskAll | None], Agent]
    store: Store
    board: Board
    inbox: Inbox | None
    me: Callable[[], str]

    async def __call__(self, job: Job) -> None:
        """Run the agent on the task until it ends; a cancel leaves it in the journal as far as it came.

        :raises AgentrtError: if the engine, the tools or the journal can't be used.
        """
        refusal = _refusal(job.delegation, self.me())
        if refusal is not None:
            await job.status(TaskState.TASK_STATE_REJECTED, refusal)
            return
        if not (job.resumed and job.asks):  # it asks again soon, and an answer may come before it does
            await job.status(TaskState.TASK_STATE_WORKING)
        while True:
            found = await followed(job, self.board)
            if found is not None and found.ended:
                await tell_end(job, found, self.store)
                return
            try:
                await self._drive(job)
            except Held:
                continue
            return

    async def _drive(self, job: Job) -> None:
        """:raises Held: if another door is about to do it."""
        session, prompt, start = await self._session(job)
        run = Run(job.task.id, job.kept.tenant, DOOR, session.id, start)
        agent = self._agent(job)
        write_down(agent.permit, session.note)
        reporter = _Reporter(job)
        async with self.board.working(run, job.stop) as job.seat:
            try:
                with _known(job, self.me(), self.inbox):
                    result = await agent.run(prompt, session=session, emit=reporter.emit)
            except AgentrtError:
                job.seat.end("failed")
                raise
            finally:
                if job.canceled:
                    job.seat.end("cancelled")
            job.seat.end("completed" if result.reason == "done" else "failed")
        await finish(job, result.text, result.reason)

    async def _session(self, job: Job) -> tuple[Session, User | None, int]:
        """The task's session, what is to be said in it (nothing if that was said before), and where the run begins."""
        kept, prompt = job.kept, User(_words(job))
        if kept.session:
            known = await self.board.find(job.task.id, kept.tenant)
            session = await Session.resume(self.store, kept.session, tenant=kept.tenant)
            said = prompt if len(session.transcript) <= kept.said else None
            return session, said, known.start if known else 0
        earlier, start = await job.tasks.session_of(kept.tenant, job.task.context_id), 0
        if earlier:
            start = (await self.store.lookup(earlier, tenant=kept.tenant)).records
            session = await Session.resume(self.store, earlier, tenant=kept.tenant)
        else:
            session = await Session.begin(self.store, title=prompt.text[:80], tenant=kept.tenant)
        await job.tasks.place(job.task.id, session.id, len(session.transcript))
        return session, prompt, start

    def _agent(self, job: Job) -> Agent:
        """The agent for this task, within the time and the money that its caller has."""
        agent = self.agent_for(partial(put_calls, job))
        given, own = job.delegation, agent.limits
        seconds = None if given.deadline is None else max(0.001, given.deadline - time.time())
        agent.limits = replace(
            own,
            seconds=_least(own.seconds, seconds),
            tokens=_least(own.tokens, given.tokens),
            cost=_least(own.cost, given.cost),
        )
        return agent


@contextmanager
def _known(job: Job, me: str, inbox: Inbox | None) -> Iterator[None]:
    """Inside, the run's own delegations know how it came, and whatever asks the person asks the task's caller."""

    async def asker(question: Question) -> Answer:
        return await put(job, job.question_name(), question)

    way, name, here = CURRENT.set(job.delegation), ME.set(me), HERE.set(inbox)
    try:
        with standing_at(asker):
            yield
    finally:
        HERE.reset(here)
        ME.reset(name)
        CURRENT.reset(way)


@dataclass(slots=True)
class _Reporter:
    """Shows a run as it happens: the answer grows as an artifact, calls are told as status."""

    job: Job
    _fresh: bool = True

    async def emit(self, event: Event) -> None:
        match event:
            case TurnStarted():
                self._fresh = True
            case TextDelta(text) if text:
                artifact = Artifact(artifact_id=ANSWER, name=ANSWER, parts=[Part(text=text)])
                await self.job.artifact(artifact, append=not self._fresh)
                self._fresh = False
            case CallStarted(call):
                await self.job.status(TaskState.TASK_STATE_WORKING, f"calling {call.name}")
            case CallFinished(result) if result.error:
                await self.job.status(TaskState.TASK_STATE_WORKING, f"{result.name} failed")


def _words(job: Job) -> str:
    """What the caller said, with data as JSON and files by name."""
    lines = []
    for part in job.request.message.parts:
        match part.WhichOneof("content"):
            case "text":
                lines.append(part.text)
            case "data":
                lines.append(json.dumps(whole(MessageToDict(part.data)), ensure_ascii=False))
            case "url":
                lines.append(f"[file {part.filename or ''} ({part.media_type}) at {part.url}]")
    wanted = job.delegation.skill
    return "\n".join(lines) + (f"\n(Use your skill {wanted!r}.)" if wanted and wanted != "agent" else "")


def _refusal(given: Delegation, me: str) -> str | None:
    why = given.refusal(me)
    return None if why is None else f"refused: {why}"


def _least(*amounts: Any) -> Any:
    return min((amount for amount in amounts if amount is not None), default=None)
