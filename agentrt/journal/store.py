"""The store protocol: where records are kept, who may write them, and how sessions are found again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from agentrt.errors import AgentrtError
from agentrt.journal.records import Record


class JournalError(AgentrtError):
    """The journal can't be read or written (disk full, I/O error, lost lease); the session is parked as it was."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to append to a session. A writer with an older ``epoch`` is refused: it was taken for dead."""

    session_id: str
    epoch: int


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A session as lists show it. Times are seconds since 1970 by the store's clock."""

    id: str
    title: str
    engine: str
    created: float
    updated: float
    records: int
    parent: str = ""
    state: str = "idle"
    tenant: str = ""


class Store(Protocol):
    """Keeps the records of sessions. Every method may raise :class:`JournalError`."""

    async def create(self, info: SessionInfo) -> Lease:
        """Make a new session and take it."""
        ...

    async def take(self, session_id: str) -> Lease:
        """Take a session for writing; whoever held it before is refused from now on."""
        ...

    async def append(self, lease: Lease, records: Sequence[Record]) -> int:
        """Append in one commit; return the last record's number, counted from 1, once it is durable."""
        ...

    async def read(self, session_id: str, *, after: int = 0) -> list[Record]:
        """The session's records with a number greater than ``after``, in order."""
        ...

    async def find(self, text: str = "", *, tenant: str = "", limit: int = 50) -> list[SessionInfo]:
        """Sessions of the tenant whose id, title or content has ``text`` in it, the latest first."""
        ...

    async def delete(self, session_id: str) -> None:
        """Remove a session, its records and the files that only it needs."""
        ...

    async def aclose(self) -> None:
        """Write what is pending and release everything."""
        ...
