"""An agent as a tool: one call is one run, kept in a session, so that a restart finds it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from secrets import token_hex
from typing import Any

from anyio import CancelScope
from anyio import Event as AnyEvent
from mcp import MCPError, types

from agentrt.errors import AgentrtError, EngineError, ToolsetError
from agentrt.events import CallProgress, CallStarted, Event, TurnStarted
from agentrt.journal import JournalError, NotFound, Session, SessionInfo
from agentrt.journal.records import Answered, Ended, Record, Said
from agentrt.journal.store import new_id
from agentrt.loop import Result
from agentrt.question import Answer, Question, standing_at
from agentrt.serve.board import Board, Held, Run, Seat
from agentrt.serve.door import Caller, Served, write_down
from agentrt.types import ToolResult, ToolSpec, Usage, User
from agentrt_mcp.server import wire
from agentrt_mcp.server.approval import asker, asking, put
from agentrt_mcp.server.call import Call, ServedTool
from agentrt_mcp.server.sessions import artifact_uri
from agentrt_mcp.server.work import Unanswered, Work

TITLE_CHARS = 100
DOOR = "mcp"

OUTPUT = {
    "type": "object",
    "properties": {
        "text": {"type": "string", "description": "The answer."},
        "reason": {"type": "string", "description": "Why the run ended; done if the task is."},
        "session": {"type": "string", "description": "Give it to go on with this conversation."},
        "turns": {"type": "integer"},
        "calls": {"type": "integer", "description": "Tool calls made."},
        "tokens": {"type": "integer"},
    },
    "required": ["text", "reason", "session", "turns", "calls", "tokens"],
}


SESSION = {"type": "string", "description": "Go on with this conversation, from an earlier answer."}


def _spec(name: str, description: str) -> ToolSpec:
    return ToolSpec(
        name=name,
        title="Run a task",
        description=description or "Gives a task to an agent, which works on it with its own tools and answers.",
        input_schema={
            "type": "object",
            "properties": {
                "task": {"type": "string", "description": "What to do, in words."},
                "session": SESSION,
            },
            "required": ["task"],
            "additionalProperties": False,
        },
        output_schema=OUTPUT,
        source="agentrt",
    )


class TaskSession(Session):
    """A session whose open calls are called off if the client cancels, and left to be taken up if the server ends."""

    work: Work | None = None
    stopping: AnyEvent | None = None

    async def ask(self, turn: int, instructions: str, tools: Sequence[ToolSpec]) -> None:
        """Note that the engine is about to be asked; a task goes no further once the server is to stop."""
        work = self.work
        if self.stopping is not None and self.stopping.is_set() and work is not None and work.is_task:
            await self.commit()
            await work.put_down()
        await super().ask(turn, instructions, tools)

    async def call_off(self, results: Sequence[ToolResult]) -> None:
        """Settle calls that must not start any more, if they must not."""
        if self.work is not None and self.work.status == "cancelled":
            await super().call_off(results)


@dataclass(slots=True)
class AgentTool:
    """The tool ``run``. A run's name is ``SESSION.N``: the session, and how many records it had when the run began."""

    served: Served
    name: str = "run"
    changed: Callable[[str], Awaitable[None]] | None = None
    _tool: ServedTool = field(init=False)
    _busy: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        spec = _spec(self.name, self.served.description)
        self._tool = ServedTool(spec, self.run, task="yes", prepare=self.prepare)

    async def tools(self, caller: Caller) -> Sequence[ServedTool]:
        """The one tool."""
        return (self._tool,)

    async def prepare(self, arguments: dict[str, Any], caller: Caller) -> str:
        """Have a session that is durable, and name the run.

        :raises MCPError: if there is no such session, or it is in use.
        """
        store, said = self.served.store, User(arguments["task"])
        try:
            if "session" not in arguments:
                name = f"{new_id()}-{token_hex(8)}"
                info = SessionInfo(name, said.text[:TITLE_CHARS], "", 0, 0, 0, tenant=caller.tenant)
                await store.create(info, [Said(said)])
                return f"{name}.0"
            found = await store.lookup(arguments["session"], tenant=caller.tenant)
            self._refuse_busy(found.id)
            if await self.served.board.is_at_work(found.id):
                raise MCPError(types.INVALID_PARAMS, f"the session {found.id} is at work; wait until it has answered")
            session = await Session.resume(store, found.id, tenant=caller.tenant)
            if session.open_turn is None:  # otherwise what was interrupted comes first
                await session.say(said)
        except NotFound as error:
            raise MCPError(types.INVALID_PARAMS, str(error)) from error
        except JournalError as error:
            raise MCPError(types.INTERNAL_ERROR, str(error)) from error
        return f"{found.id}.{found.records}"

    def _refuse_busy(self, session: str) -> None:
        if session in self._busy:
            raise MCPError(types.INVALID_PARAMS, f"the session {session} is at work; wait until it has answered")

    async def run(self, arguments: dict[str, Any], call: Call) -> types.CallToolResult:
        """Run the task of a session that :meth:`prepare` made."""
        return await self._work(arguments["task"], call, _own_run(call.id, call.caller.tenant))

    async def revive(self, task_id: str, caller: Caller) -> Callable[[Call], Awaitable[types.CallToolResult]] | None:
        """A run of another door; or one from before a restart: its result if it has ended, else the rest of it."""
        found = await self.served.board.find(task_id, caller.tenant)
        if found is not None and found.door != DOOR:
            return partial(self._followed, task_id)
        name, dot, start = task_id.rpartition(".")
        if not (dot and start.isdecimal()) or name in self._busy:
            return None
        try:
            records = await self.served.store.read(name, tenant=caller.tenant)
        except JournalError:
            return None
        run = records[int(start) :]
        ended = next((at for at, record in enumerate(run) if isinstance(record, Ended)), None)
        if ended is None:
            return lambda call: self._work(None, call, _own_run(task_id, caller.tenant))
        return lambda call: _finished(name, run[: ended + 1], call)

    async def _followed(self, task_id: str, call: Call) -> types.CallToolResult:
        """What comes of a run that another door works on; its questions are the client's too.

        One that nobody works on any more is taken up here.
        """
        board, tenant = self.served.board, call.caller.tenant
        try:
            found = await board.follow(task_id, tenant, DOOR, lambda name, question: _asked(call, name, question))
        finally:
            if call.work.status == "cancelled":
                with CancelScope(shield=True):
                    await _cancel(board, task_id, tenant)
        if found is None:
            raise MCPError(types.INVALID_PARAMS, "there is no such task", {"taskId": task_id})
        if not found.ended:
            return await self._work(None, call, replace(found, door=DOOR))
        records = (await self.served.store.read(found.session, tenant=tenant))[found.start :]
        ended = next((at for at, record in enumerate(records) if isinstance(record, Ended)), None)
        if found.state == "cancelled":
            call.work.end("cancelled")
        if ended is None:
            return wire.failed(f"the run {found.state}. Session: {found.session}")
        return await _finished(found.session, records[: ended + 1], call)

    async def _work(self, task: str | None, call: Call, run: Run) -> types.CallToolResult:
        """Run, and tell how it went; without a task, take up what was interrupted."""
        name = run.session
        self._refuse_busy(name)
        self._busy.add(name)
        try:
            session = await TaskSession.resume(self.served.store, name, tenant=call.caller.tenant)
            assert isinstance(session, TaskSession), "resume makes sessions of the class that it is asked of"
            session.work, session.stopping = call.work, self.served.stopping
            said = len(session.transcript) > 0 and session.transcript[-1] == User(task or "")
            async with self.served.board.working(run, call.work.cancel) as call.seat:
                result = await self._driven(session, None if said else task, call, call.seat)
        except EngineError as error:
            return wire.failed(f"the agent's model can't be asked: {error}. Session: {name}")
        except ToolsetError as error:
            return wire.failed(f"the agent's tools can't be reached: {error}. Session: {name}")
        except AgentrtError as error:
            raise MCPError(types.INTERNAL_ERROR, str(error)) from error
        except Held:
            raise MCPError(types.INVALID_PARAMS, f"the session {name} is at work at another door; try again") from None
        finally:
            self._busy.discard(name)
        return _told(name, result)

    async def _driven(self, session: Session, task: str | None, call: Call, seat: Seat) -> Result:
        agent = self.served.agent_for(asking(call) if call.can("elicitation/create") else None)
        write_down(agent.permit, session.note)
        steps = 0

        async def emit(event: Event) -> None:
            nonlocal steps
            words = _words(event)
            if words:
                steps += 1
                await call.progress(steps, None, words)

        try:
            with standing_at(asker(call)):
                result = await agent.run(task, session=session, emit=emit)
            seat.end("completed" if result.reason == "done" else "failed")
            return result
        except JournalError:  # not the run's fault: who took its session, or this door later, goes on from the records
            raise
        except AgentrtError:
            seat.end("failed")
            raise
        finally:
            if call.work.status == "cancelled":  # by the client: otherwise it is to be taken up after the restart
                seat.end("cancelled")
                with CancelScope(shield=True):
                    await session.end("cancelled", 0, 0, Usage(), 0.0)
            elif self.changed is not None and not call.work.scope.cancel_called:
                await self.changed(session.id)


def _own_run(task_id: str, tenant: str) -> Run:
    session, _, start = task_id.rpartition(".")
    return Run(task_id, tenant, DOOR, session, int(start))


async def _asked(call: Call, name: str, question: Question) -> Answer:
    """The client's answer to a question of a run at another door; cancelled, the client is not asked any more."""
    try:
        return await put(call, name, question)
    finally:
        call.work.settle(name, Unanswered("answered at another door"))


async def _cancel(board: Board, task_id: str, tenant: str) -> None:
    run = await board.find(task_id, tenant)
    if run is not None:
        await board.cancel(run)


def _words(event: Event) -> str:
    match event:
        case TurnStarted(turn):
            return f"turn {turn}"
        case CallStarted(made, source, _):
            return f"calling {made.name} ({source})"
        case CallProgress(_, _, _, message) if message:
            return message
        case _:
            return ""


def _told(session: str, result: Result) -> types.CallToolResult:
    links = [
        types.ResourceLink(
            type="resource_link",
            name=f"artifact {number}",
            uri=artifact_uri(session, number),
            mime_type=media.mime_type,
            size=len(media.data),
        )
        for number, media in enumerate(
            media for item in result.transcript if isinstance(item, ToolResult) for media in item.media
        )
    ]
    found = _answer(session, result.text, result.reason, result.turns, result.calls, result.usage.tokens)
    return found.model_copy(update={"content": [*found.content, *links]})


async def _finished(session: str, run: Sequence[Record], call: Call) -> types.CallToolResult:
    """The result of a run as it stands in the records, the last of which says how it ended."""
    end = run[-1]
    assert isinstance(end, Ended), "only called with a run that has ended"
    if end.reason == "cancelled":
        call.work.end("cancelled")
    said = next((record.answer.text for record in reversed(run) if isinstance(record, Answered)), "")
    return _answer(session, said, end.reason, end.turns, end.calls, end.usage.tokens)


def _answer(session: str, said: str, reason: str, turns: int, calls: int, tokens: int) -> types.CallToolResult:
    data = {"text": said, "reason": reason, "session": session, "turns": turns, "calls": calls, "tokens": tokens}
    words = said if reason == "done" else f"{said}\n(The run ended before the task was done: {reason}.)".strip()
    return types.CallToolResult(content=[wire.text(words)], structured_content=data, is_error=reason != "done")
