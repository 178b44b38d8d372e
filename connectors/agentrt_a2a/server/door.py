"""The door as the host mounts it: everything of the server put together."""

from __future__ import annotations

import logging
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from a2a.types.a2a_pb2 import AgentCard, SendMessageRequest

from agentrt.errors import ConfigError
from agentrt.journal.beside import beside
from agentrt.serve.door import Door, Served
from agentrt.types import ToolSpec
from agentrt_a2a.credentials import LOOPBACK
from agentrt_a2a.inbox import PATH, Inbox
from agentrt_a2a.peer import SILENCE
from agentrt_a2a.server.agent import AgentWork
from agentrt_a2a.server.card import Profile, build
from agentrt_a2a.server.desk import Desk, delegation_of
from agentrt_a2a.server.handler import Handler
from agentrt_a2a.server.job import Work
from agentrt_a2a.server.others import Others
from agentrt_a2a.server.push import Push
from agentrt_a2a.server.routes import CARD_PATH, routes
from agentrt_a2a.server.tasks import Tasks

Brief = Callable[[SendMessageRequest], bool]
LEASE_SECONDS = 10.0
_OWN = ("answer", "grpc", "grpc_url", "grpc_certificate", "grpc_key", "push_hosts", "told", "lease_seconds")
_PROFILE = ("skills", "provider", "documentation_url", "icon_url", "legacy", "push", "signing_key_id", "jku")
_PATHS = ("signing_key",)


def make(served: Served, work: Callable[[Desk], Work] | None = None, brief: Brief | None = None) -> Door:
    """The A2A door for ``served``; ``work`` does the tasks in place of the agent.

    ``brief`` says in place of the options what is answered with a plain message.

    :raises ConfigError: if an option is not known or makes no sense.
    """
    logging.getLogger("a2a").addHandler(SILENCE)
    options = dict(served.options)
    known = sorted((*_OWN, *_PROFILE, *_PATHS))
    if unknown := [name for name in options if name not in known]:
        raise ConfigError(f"[serve.doors.a2a] has no {unknown[0]!r}; it has {', '.join(known)}")
    brief = brief or _brief(options)
    owner = f"{socket.gethostname()}:{secrets.token_hex(6)}"
    tasks = Tasks(beside(served.store, "a2a-tasks.db"), owner, float(options.get("lease_seconds", LEASE_SECONDS)))
    push = Push(tasks, bool(options.get("push", True)), frozenset(options.get("push_hosts", ())))
    desk = Desk(tasks, _no_work, push.tell)
    inbox = _inbox(served, options)
    agent_work = AgentWork(served.agent_for, served.store, served.board, inbox, lambda: desk.agent)
    desk.work = work(desk) if work else agent_work
    opening = _Opening(served, _profile(served, options), desk, push, options, brief)
    told = [inbox.route()] if inbox else []
    hooks = frozenset(route.path for route in told)
    return Door("a2a", [*told, *routes(opening.handler)], opening.open, frozenset({CARD_PATH}), opening.unready, hooks)


def _inbox(served: Served, options: Mapping[str, Any]) -> Inbox | None:
    """Where our agent's own peers tell it of tasks; by default where they can reach it."""
    is_public = urlsplit(served.url).hostname not in LOOPBACK
    return Inbox(served.url + PATH) if options.get("told", is_public) else None


def _brief(options: Mapping[str, Any]) -> Brief:
    """What is answered with a plain message: by the skill that the caller names, else by the door's own option.

    :raises ConfigError: if an ``answer`` is neither a task nor a message.
    """
    own = {str(skill.get("id")): skill["answer"] for skill in options.get("skills", ()) if "answer" in skill}
    for place, answer in [("[serve.doors.a2a]", options.get("answer", "task")), *own.items()]:
        if answer not in ("task", "message"):
            raise ConfigError(f"{place} has answer = {answer!r}; use 'task' or 'message'")
    return lambda request: own.get(delegation_of(request.message).skill, options.get("answer", "task")) == "message"


async def _no_work(job: Any) -> None:
    raise AssertionError("the desk is given its work before it is opened")


def _profile(served: Served, options: Mapping[str, Any]) -> Profile:
    given = {name: value for name, value in options.items() if name in _PROFILE}
    given |= {name: Path(value).expanduser() for name, value in options.items() if name in _PATHS}
    assert set(given) <= {item.name for item in fields(Profile)}, "each option of the profile is one of its fields"
    return Profile(served.name, served.description, served.url, served.schemes, **given)


@dataclass(slots=True)
class _Opening:
    """Opens what the door needs, in order, and knows the card from then on."""

    served: Served
    profile: Profile
    desk: Desk
    push: Push
    options: Mapping[str, Any]
    brief: Brief
    handler: Handler = field(init=False)
    _cards: dict[bool, AgentCard] = field(default_factory=dict)

    def __post_init__(self) -> None:
        extended = (lambda: self._cards[True]) if self.profile.schemes else None
        others = Others(self.desk, self.served.board, self.served.store)
        self.handler = Handler(
            self.desk, self.push, others, lambda: self._cards[False], extended, self.brief, self.profile.legacy
        )

    def unready(self) -> str:
        """Why no task can be taken now."""
        return "" if self._cards else "the A2A tasks are not open"

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Open the tasks, gRPC and push notifications, and make the card."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.push.open())
            await stack.enter_async_context(self.desk.open(self.served.stopping))
            profile = self.profile
            if self.options.get("grpc"):
                url = await stack.enter_async_context(_listener(self.served, self.options).open(self.handler))
                profile = replace(profile, grpc=str(self.options.get("grpc_url") or url))
            specs = await _specs(self.served)
            for extended in (False, True):
                self._cards[extended] = build(profile, self.desk.agent, specs, extended=extended)
            try:
                yield
            finally:
                self._cards.clear()


def _listener(served: Served, options: Mapping[str, Any]) -> Any:
    try:
        from agentrt_a2a.server.rpc import Gate, Listener
    except ImportError as error:
        raise ConfigError("A2A over gRPC needs an extra: pip install 'agentrt[a2a]'") from error
    files = [Path(options[name]).expanduser() if name in options else None for name in ("grpc_certificate", "grpc_key")]
    gate = Gate(served.auth, served.scopes, served.turnstile, served.stopping.is_set)
    return Listener(str(options["grpc"]), gate, *files)


async def _specs(served: Served) -> tuple[ToolSpec, ...]:
    """The agent's tools, for the extended card."""
    return tuple(await served.agent_for(None).toolset.specs()) if served.schemes else ()
