"""A store that fails on purpose, to prove that whoever uses it loses nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from agentrt.journal.records import Record
from agentrt.journal.store import JournalError, Lease, SessionInfo, Store

T = TypeVar("T")


class FailingStore:
    """Passes everything on to ``inner``, but fails at write number ``fail_at``, counted from 1, and ``times`` in all.

    With ``lost_answer`` the write takes place and only its answer is lost, as when a connection breaks.
    ``writes`` counts what was asked for.
    """

    def __init__(self, inner: Store, fail_at: int, *, times: int = 1, lost_answer: bool = False) -> None:
        self.inner = inner
        self.fail_at = fail_at
        self.times = times
        self.lost_answer = lost_answer
        self.writes = 0

    async def create(self, info: SessionInfo, records: Sequence[Record] = ()) -> Lease:
        """Make a session, or fail."""
        return await self._write(partial(self.inner.create, info, records))

    async def take(self, session_id: str, *, tenant: str | None = None) -> Lease:
        """Take a session, or fail."""
        return await self._write(partial(self.inner.take, session_id, tenant=tenant))

    async def append(self, lease: Lease, records: Sequence[Record], *, after: int | None = None) -> int:
        """Append, or fail."""
        return await self._write(partial(self.inner.append, lease, records, after=after))

    async def read(self, session_id: str, *, after: int = 0, tenant: str | None = None) -> list[Record]:
        """Read from the inner store."""
        return await self.inner.read(session_id, after=after, tenant=tenant)

    async def lookup(self, name: str, *, tenant: str | None = None) -> SessionInfo:
        """Look up in the inner store."""
        return await self.inner.lookup(name, tenant=tenant)

    async def find(self, text: str = "", *, tenant: str | None = "", limit: int = 50) -> list[SessionInfo]:
        """Find in the inner store."""
        return await self.inner.find(text, tenant=tenant, limit=limit)

    async def delete(self, session_id: str, *, tenant: str | None = None) -> None:
        """Remove a session, or fail."""
        await self._write(partial(self.inner.delete, session_id, tenant=tenant))

    async def aclose(self) -> None:
        """Close the inner store."""
        await self.inner.aclose()

    async def _write(self, write: Callable[[], Awaitable[T]]) -> T:
        self.writes += 1
        fails = self.fail_at <= self.writes < self.fail_at + self.times
        if fails and not self.lost_answer:
            raise JournalError(f"write {self.writes} failed on purpose")
        answer = await write()
        if fails:
            raise JournalError(f"the answer to write {self.writes} was lost on purpose")
        return answer
