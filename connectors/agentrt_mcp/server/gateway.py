"""An agent's tools for other hosts: each call through the gate, the permissions and the journal, without our loop."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from anyio import CancelScope
from anyio.abc import TaskGroup
from mcp import MCPError, types

from agentrt.agent import Agent
from agentrt.context import Spill
from agentrt.contract import Gate
from agentrt.conversation import Conversation
from agentrt.errors import AgentrtError, ToolsetError, lone_errors
from agentrt.events import CallProgress, Emit, Event
from agentrt.journal import JournalError, Session, fold
from agentrt.journal.records import Ended, Record, Said
from agentrt.question import standing_at
from agentrt.recovery import Recovery
from agentrt.serve.door import Caller, Served, write_down
from agentrt.toolset import Toolset
from agentrt.types import Assistant, ToolCall, ToolResult, ToolSpec, Usage, User
from agentrt_mcp.server import wire
from agentrt_mcp.server.agent import TaskSession
from agentrt_mcp.server.approval import asker, asking
from agentrt_mcp.server.call import Call, ServedTool

TITLE = "gateway"
CALLS_OF_SESSION = 100
"""A session takes so many calls, then the next begins: what it holds stays in memory."""


@dataclass(slots=True)
class _Offer:
    """What a tenant is offered: the tools, with long results kept for this tenant alone, and their gate."""

    toolset: Toolset
    seen: object = None
    gate: Gate = field(default_factory=lambda: Gate(()))
    tools: tuple[ServedTool, ...] = ()


@dataclass(slots=True)
class Gateway:
    """The tools whose names fit ``exposed``. The caller's calls go into sessions titled ``gateway``, by turns.

    What may become a task has a session of its own, named by the task's id (``SESSION.0``): it says first what is
    called, so that a task is found again, and taken up, after our process was killed.
    ``changed`` is told once it is seen that there are other tools than before.
    """

    served: Served
    exposed: Sequence[str] = ("*",)
    changed: Callable[[str], Awaitable[None]] | None = None
    _offers: dict[str, _Offer] = field(default_factory=dict)
    _free: dict[str, list[Session]] = field(default_factory=dict)
    _busy: set[str] = field(default_factory=set)

    async def tools(self, caller: Caller) -> Sequence[ServedTool]:
        """Every tool that passes the gate.

        :raises MCPError: if a source of tools can't be reached.
        """
        offer = self._offer(caller)
        try:
            specs = await offer.toolset.specs()
        except ToolsetError as error:
            raise MCPError(types.INTERNAL_ERROR, str(error)) from error
        if specs is not offer.seen:
            before, offer.seen = offer.seen, specs
            offer.gate = Gate(specs)
            offer.tools = tuple(
                self._lasting(spec, offer) if _lasts(spec) else ServedTool(spec, self._runner(spec, offer), gated=True)
                for spec in offer.gate.specs
                if self._fits(spec)
            )
            if before is not None and self.changed is not None:
                await self.changed("tools")
        return offer.tools

    def _offer(self, caller: Caller) -> _Offer:
        if caller.tenant not in self._offers:
            agent = self.served.agent_for(None)
            self._offers[caller.tenant] = _Offer(Spill(agent.toolset, agent.limits.result_chars, Conversation()))
        return self._offers[caller.tenant]

    async def revive(self, task_id: str, caller: Caller) -> Callable[[Call], Awaitable[types.CallToolResult]] | None:
        """A task from before a restart: its result if it has ended, else the rest of it."""
        name, _, start = task_id.rpartition(".")
        if start != "0" or name in self._busy:
            return None
        try:
            found = await self.served.store.lookup(name, tenant=caller.tenant)
            records = await self.served.store.read(name, tenant=caller.tenant)
        except JournalError:
            return None
        if (found.id, found.title) != (name, TITLE) or not (records and isinstance(records[0], Said)):
            return None
        if isinstance(records[-1], Ended):
            return partial(_told, records)
        await self.tools(caller)  # so that there is a gate
        return partial(self._on_its_own, self._offer(caller))

    def _lasting(self, spec: ToolSpec, offer: _Offer) -> ServedTool:
        """A tool whose calls take their time, and may ask: each is a task for a client that knows tasks."""

        async def prepare(arguments: dict[str, Any], caller: Caller) -> str:
            try:
                session = await self._new_session(caller, User(f"{spec.name} {wire.compact(arguments)}"))
            except JournalError as error:
                raise MCPError(types.INTERNAL_ERROR, str(error)) from error
            return f"{session.id}.0"

        async def run(arguments: dict[str, Any], call: Call) -> types.CallToolResult:
            return await self._on_its_own(offer, call)

        return ServedTool(spec, run, "yes", gated=True, prepare=prepare)

    async def _on_its_own(self, offer: _Offer, call: Call) -> types.CallToolResult:
        """Make the call that its session begins with, or take it up where another process left it."""
        name = call.id.rpartition(".")[0]
        self._busy.add(name)
        try:
            session = await TaskSession.resume(self.served.store, name, tenant=call.caller.tenant)
            assert isinstance(session, TaskSession), "resume makes sessions of the class that it is asked of"
            session.work = call.work
            tool, _, arguments = session.transcript[0].text.partition(" ")
            result = await self._dispatched(ToolCall("call_1", tool, arguments), session, call, offer)
        except AgentrtError as error:
            raise MCPError(types.INTERNAL_ERROR, str(error)) from error
        finally:
            self._busy.discard(name)
        return wire.result(result, modern=call.is_modern)

    def _fits(self, spec: ToolSpec) -> bool:
        return any(fnmatchcase(spec.name, pattern) for pattern in self.exposed)

    def _runner(
        self, spec: ToolSpec, offer: _Offer
    ) -> Callable[[dict[str, Any], Call], Awaitable[types.CallToolResult]]:
        async def run(arguments: dict[str, Any], call: Call) -> types.CallToolResult:
            made = ToolCall(f"call_{call.id[:24]}", spec.name, wire.compact(arguments))
            try:
                async with self._session(call.caller) as session:
                    result = await self._dispatched(made, session, call, offer)
            except AgentrtError as error:
                raise MCPError(types.INTERNAL_ERROR, str(error)) from error
            await self.tools(call.caller)  # a call may change what there is
            return wire.result(result, modern=call.is_modern)

        return run

    async def _dispatched(self, made: ToolCall, session: Session, call: Call, offer: _Offer) -> ToolResult:
        """One turn with this one call, as the loop would take it."""
        agent = self.served.agent_for(asking(call) if call.can("elicitation/create") else None)
        write_down(agent.permit, session.note)
        turn = session.open_turn
        answer = turn.answer if turn is not None else Assistant(calls=(made,), finish="tool_calls")

        async def emit(event: Event) -> None:
            if isinstance(event, CallProgress):
                await call.progress(event.done, event.total, event.message)

        dispatch: Recovery | None = None
        start = time.perf_counter()
        reason = "cancelled"
        try:
            async with lone_errors() as group:
                dispatch = self._dispatch(agent, offer, session, emit, group)
                with standing_at(asker(call)):
                    (result,) = await (dispatch.settle(answer) if turn is None else dispatch.recover(turn))
                reason = "done"
        finally:
            if reason == "done" or not isinstance(session, TaskSession) or call.work.status == "cancelled":
                with CancelScope(shield=True):
                    if dispatch is not None:
                        await dispatch.call_off()
                        session.close(answer, dispatch.results(answer))
                    await session.end(reason, 1, 1, Usage(), time.perf_counter() - start)
        self._count(made, result)
        return result

    def _dispatch(self, agent: Agent, offer: _Offer, session: Session, emit: Emit, group: TaskGroup) -> Recovery:
        return Recovery(
            gate=offer.gate,
            toolset=offer.toolset,
            permit=agent.permit,
            conversation=session,
            call_seconds=agent.limits.call_seconds,
            calls_left=None,
            emit=emit,
            group=group,
        )

    def _count(self, made: ToolCall, result: ToolResult) -> None:
        about = "Calls through the gateway, by tool and how they ended."
        outcome = "failed" if result.error else "done"
        self.served.metrics.count("agentrt_gateway_calls_total", about, tool=made.name, outcome=outcome)

    @asynccontextmanager
    async def _session(self, caller: Caller) -> AsyncIterator[Session]:
        """A session of the caller's tenant that nobody else writes now; a new one where all are in use."""
        free = self._free.setdefault(caller.tenant, [])
        session = free.pop() if free else await self._new_session(caller)
        yield session  # after an error it is not used again
        if session.transcript.calls < CALLS_OF_SESSION:
            free.append(session)

    async def _new_session(self, caller: Caller, said: User | None = None) -> Session:
        return await Session.begin(self.served.store, title=TITLE, engine=caller.id, tenant=caller.tenant, said=said)


def _lasts(spec: ToolSpec) -> bool:
    """Whether it is an agent's work."""
    return spec.source.startswith("a2a:")


async def _told(records: Sequence[Record], call: Call) -> types.CallToolResult:
    """What came of a call that has ended, by its session."""
    if isinstance(records[-1], Ended) and records[-1].reason == "cancelled":
        call.work.end("cancelled")
    result = fold(records).transcript[-1]
    if not isinstance(result, ToolResult):
        return wire.failed("the call ended before it was made")
    return wire.result(result, modern=call.is_modern)
