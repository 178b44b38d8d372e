"""The session of a run or chat: begun with the first words, found again by name, and the command that goes on."""

from __future__ import annotations

import os
import shlex
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from agentrt.cli.flags import SessionFlags, typed
from agentrt.cli.terminal import bounded
from agentrt.errors import ConfigError
from agentrt.journal.opening import open_store
from agentrt.journal.session import Session
from agentrt.journal.store import NotFound, SessionInfo, Store, Unavailable
from agentrt.types import Assistant, User

TITLE_CHARS = 100
GO_ON = User("Go on where you stopped.")


@dataclass(slots=True)
class Book:
    """Where the conversation is kept. ``info`` is the session that was named, until it is taken up.

    ``command`` goes on with it, up to the session's id, which follows; ``flags`` stand behind that.
    """

    store: Store
    command: str
    flags: str = ""
    info: SessionInfo | None = None
    session: Session | None = None

    @property
    def how(self) -> str:
        """The command that goes on, empty if there is nothing yet to go on with."""
        named = self.session.id if self.session else self.info.id if self.info else ""
        return " ".join(filter(None, [self.command, named, self.flags])) if named else ""

    async def begin(self, said: User, engine: str) -> Session:
        """A new session that holds what was said, durably, before anything else can go wrong.

        :raises Unavailable: if it can't be kept.
        """
        title = bounded(said.text, TITLE_CHARS)
        try:
            self.session = await Session.begin(self.store, title=title, engine=engine, said=said)
        except Unavailable as error:
            raise Unavailable(f"{error}; or keep nothing: --no-journal") from error
        return self.session

    async def take(self, info: SessionInfo) -> Session:
        """Take the named session up where it was; whoever still writes it is fenced."""
        self.session = await Session.resume(self.store, info.id)
        return self.session


@asynccontextmanager
async def opened_book(flags: SessionFlags, command: str, again: str) -> AsyncIterator[Book | None]:
    """The book that the flags name, with the session to go on with, or ``None`` if nothing is to be kept.

    :raises ConfigError: if there is no such session, or the flags contradict each other.
    """
    if flags.resume and flags.go_on:
        raise ConfigError("name either a session with --resume, or the last one with --continue")
    if flags.no_journal and flags.wait:
        raise ConfigError("answers from elsewhere come by way of the session: leave --no-journal or --wait out")
    if flags.no_journal:
        if flags.resume or flags.go_on:
            raise ConfigError("a session that goes on is kept: leave --no-journal out")
        yield None
        return
    async with aclosing(open_store(flags.store)) as store:
        yield Book(store, f"agentrt {command} --resume", again, await _named(store, flags))


async def _named(store: Store, flags: SessionFlags) -> SessionInfo | None:
    try:
        if flags.resume:
            return await store.lookup(flags.resume)
    except NotFound as error:
        raise ConfigError(str(error)) from error
    if not flags.go_on:
        return None
    found = await store.find(limit=1)
    if not found:
        raise ConfigError("there is no session yet to go on with")
    return found[0]


def prompt_of(session: Session, prompt: User | None) -> User | None:
    """What a resumed session is asked: ``prompt``; without one, to go on if its last answer was broken off."""
    if prompt is not None or session.open_turn is not None or not len(session.transcript):
        return prompt
    last = session.transcript[-1]
    return GO_ON if isinstance(last, Assistant) and last.finish != "stop" else None


def shown(info: SessionInfo) -> str:
    """The session in one line; one whose last run has not ended may still run elsewhere, and is then fenced off."""
    broken_off = " (it was interrupted, or runs elsewhere, where it can't go on now)" if info.state == "open" else ""
    return f"session {info.id}: {bounded(info.title, 80)}{broken_off}"


def again(flags: SessionFlags, *groups: Any) -> str:
    """The flags that the command that goes on needs too, as one types them."""
    from_environment = flags.store == os.environ.get("AGENTRT_STORE", "")
    left_out = ("resume", "go_on", "no_journal", *(["store"] if from_environment else []))
    return shlex.join([*typed(flags, leaving=left_out), *typed(*groups)])
