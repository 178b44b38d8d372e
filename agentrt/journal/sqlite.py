"""The default store: one SQLite file for all sessions, and a folder beside it for large bodies."""

from __future__ import annotations

import errno
import sqlite3
import weakref
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar, get_args
from zlib import crc32

from anyio import CancelScope, to_thread
from anyio.lowlevel import checkpoint

from agentrt.errors import ConfigError
from agentrt.journal import schema
from agentrt.journal.blobs import Blobs
from agentrt.journal.opening import default_path
from agentrt.journal.records import Record, dump
from agentrt.journal.schema import place
from agentrt.journal.sqlite_reads import BETWEEN, RECORDS, bodies_of, found, named, number_of, problems_in, records_of
from agentrt.journal.store import (
    JournalError,
    Lease,
    SessionInfo,
    Unavailable,
    first_epoch,
    forgotten,
    lost_lease,
    not_found,
    only,
    parked,
    plain_text,
    state_after,
    unwritten,
)
from agentrt.journal.writer import Here, Work, Writer
from agentrt.outside import now

T = TypeVar("T")

INLINE_BYTES = 64 * 1024
"""Longer bodies go to files: in the database they would make every checkpoint slow."""


class SqliteStore:
    """A :class:`agentrt.journal.Store` in the file ``path``; large bodies are in ``blobs/`` beside it.

    Nothing is made or opened before the first call. Several stores, in this process and in others, may use one
    file at once. ``synchronous="FULL"``: what was acknowledged outlives a power loss; ``"NORMAL"`` is several
    times faster, and then it outlives the death of the process only.

    Each call opens what it reads with; all writes go through one thread, and those that wait at the same time
    share a commit. A cancelled :meth:`append` is either wholly there or not at all; repeat it with the same
    ``after`` to be sure.

    :raises ConfigError: if ``synchronous`` is neither.
    """

    def __init__(self, path: Path | None = None, *, synchronous: schema.Synchronous = "FULL") -> None:
        if synchronous not in get_args(schema.Synchronous):
            raise ConfigError(f"synchronous is {synchronous!r}: use 'FULL' or 'NORMAL'")
        self.path = path or default_path()
        self.synchronous = synchronous
        self._blobs = Blobs(self.path.parent / "blobs")
        self._open = partial(schema.connect, self.path, synchronous)
        self._explain = partial(_explain, self.path)
        self._writer = Writer(self._open, self._explain)
        self._here = Here(self._open, self._writer) if synchronous == "NORMAL" else None
        self._closed = False
        self._appending = 0
        self._latest = ""
        if self._here:
            weakref.finalize(self, self._here.close)
        weakref.finalize(self, self._writer.stop)  # a store that is dropped takes its thread along

    async def create(self, info: SessionInfo, records: Sequence[Record] = ()) -> Lease:
        """Make a session."""
        bodies = [(type(record).__name__, dump(record)) for record in records]
        state = state_after(records)
        info = replace(info, created=now(), state=state)
        return await self._write(partial(_create, self._blobs, info, first_epoch(), bodies))

    async def take(self, session_id: str, *, tenant: str | None = None) -> Lease:
        """Take a session for writing."""
        return await self._write(partial(_take, session_id, tenant))

    async def append(self, lease: Lease, records: Sequence[Record], *, after: int | None = None) -> int:
        """Append in one commit."""
        bodies = [(type(record).__name__, dump(record)) for record in records]
        work = partial(_append, self._blobs, lease, state_after(records), bodies, after, now())
        try:
            if self._here is None or after is None or any(map(_large, bodies)):
                return await self._write(work)
            return await self._write_soon(lease.session_id, work)
        except Unavailable as error:
            raise parked(lease, error) from error

    async def delete(self, session_id: str, *, tenant: str | None = None) -> None:
        """Remove a session and the files that only it needs."""
        blobs = await self._write(partial(_delete, session_id, tenant))
        if blobs:  # only now that nothing can bring the records back; a crash in between leaves unused files
            with CancelScope(shield=True):
                await self._write(partial(_remove_unused, self._blobs, blobs))

    async def read(self, session_id: str, *, after: int = 0, tenant: str | None = None) -> list[Record]:
        """The records after number ``after``."""
        return await self._read(partial(records_of, self._blobs, session_id, after, tenant), not_found(session_id))

    async def lookup(self, name: str, *, tenant: str | None = None) -> SessionInfo:
        """The session that ``name`` means."""
        return only(name, await self._read(partial(named, plain_text(name), tenant), not_found(name)))

    async def find(self, text: str = "", *, tenant: str | None = "", limit: int = 50) -> list[SessionInfo]:
        """Sessions with ``text`` in them, the latest first."""
        return await self._read(partial(found, self._blobs, text, tenant, limit), [])

    async def integrity(self) -> list[str]:
        """What is wrong with the database and its files, for ``agentrt doctor``; empty if nothing is."""
        return await self._read(partial(problems_in, self.path, self._blobs), [])

    async def aclose(self) -> None:
        """Write what is pending and close the database."""
        self._closed = True
        if self._here:
            self._here.close()
        self._writer.stop()
        with CancelScope(shield=True):
            await to_thread.run_sync(self._writer.join)

    async def _write(self, work: Work[T]) -> T:
        if self._closed:
            raise JournalError(f"the store {self.path} is closed: open a new one")
        return await self._writer.submit(work).outcome()

    async def _write_soon(self, session_id: str, work: Work[T]) -> T:
        """As :meth:`_write`, but in this thread where that waits for no disk and nobody is there to share a commit.

        Others get their turn first if there are others.
        """
        alone, self._latest = self._latest == session_id, session_id
        self._appending += 1
        try:
            if not alone:
                await checkpoint()
            here = self._here if self._appending == 1 and not self._closed else None
            done = here.commit(work) if here else None
            return done[0] if done is not None else await self._write(work)
        finally:
            self._appending -= 1

    async def _read(self, work: Work[T], missing: T | JournalError) -> T:
        return await to_thread.run_sync(self._read_now, work, missing)

    def _read_now(self, work: Work[T], missing: T | JournalError) -> T:
        if not self.path.exists():  # reading makes no database
            if isinstance(missing, JournalError):
                raise missing
            return missing
        try:
            with closing(self._open()) as db:
                return work(db)
        except (sqlite3.Error, OSError, UnicodeDecodeError) as error:  # the last if SQLite's own words are spoiled
            raise self._explain(error) from error


def _create(
    blobs: Blobs, info: SessionInfo, epoch: int, bodies: Sequence[tuple[str, bytes]], db: sqlite3.Connection
) -> Lease:
    if db.execute("SELECT 1 FROM sessions WHERE id = ?", (info.id,)).fetchone():
        raise JournalError(f"there is a session {info.id!r} already: give the new one another id")
    texts = map(plain_text, (info.title, info.engine, info.parent))
    row = db.execute(
        "INSERT INTO sessions (id, tenant, title, engine, parent, state, created, updated, records, epoch)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (info.id, info.tenant, *texts, info.state, info.created, info.created, len(bodies), epoch),
    )
    _insert(blobs, db, row.lastrowid or 0, 0, bodies, info.created)
    return Lease(info.id, epoch)


def _take(session_id: str, tenant: str | None, db: sqlite3.Connection) -> Lease:
    number = number_of(db, session_id, tenant)
    db.execute("UPDATE sessions SET epoch = epoch + 1 WHERE number = ?", (number,))
    return Lease(session_id, db.execute("SELECT epoch FROM sessions WHERE number = ?", (number,)).fetchone()[0])


def _append(
    blobs: Blobs,
    lease: Lease,
    state: str,
    bodies: Sequence[tuple[str, bytes]],
    after: int | None,
    at: float,
    db: sqlite3.Connection,
) -> int:
    row = db.execute(
        f"SELECT number, epoch, state, {RECORDS} FROM sessions WHERE id = ?", (lease.session_id,)
    ).fetchone()
    if row is None:
        raise not_found(lease.session_id)
    number, epoch, before, records = row
    if epoch != lease.epoch:
        raise lost_lease(lease)
    if after is not None and after != records:
        if after > records:
            raise forgotten(lease, after, records)
        there = [body.decode() for _, body, _ in bodies_of(blobs, db, lease.session_id, number, after)]
        bodies = bodies[len(bodies) - len(unwritten(lease, [body.decode() for _, body in bodies], after, there)) :]
    if bodies:
        _insert(blobs, db, number, records, bodies, at)
        if not before == state == "open":
            changed = (records + len(bodies), at, state, number)
            db.execute("UPDATE sessions SET records = ?, updated = ?, state = ? WHERE number = ?", changed)
    return int(records + len(bodies))


def _insert(
    blobs: Blobs,
    db: sqlite3.Connection,
    number: int,
    after: int,
    bodies: Sequence[tuple[str, bytes]],
    at: float,
) -> None:
    """Write bodies behind record ``after``. Large ones are durable as files before anything refers to them."""
    rows: list[tuple[int, float, str, int, str | None]] = []
    files = []
    for where, (kind, body) in enumerate(bodies, place(number, after + 1)):
        if len(body) <= INLINE_BYTES:
            rows.append((where, at, kind, crc32(body), body.decode()))
        else:
            rows.append((where, at, kind, 0, None))
            files.append((where, blobs.put(body)))
    db.executemany("INSERT INTO records (place, at, kind, crc, body) VALUES (?, ?, ?, ?, ?)", rows)
    if files:
        db.executemany("INSERT INTO files (place, name) VALUES (?, ?)", files)


def _large(item: tuple[str, bytes]) -> bool:
    return len(item[1]) > INLINE_BYTES


def _delete(session_id: str, tenant: str | None, db: sqlite3.Connection) -> list[str]:
    """Remove the rows; return the names of files that may not be needed any more."""
    number = number_of(db, session_id, tenant)
    its = (place(number, 0), place(number + 1, 0))
    names = db.execute(f"SELECT DISTINCT name FROM files WHERE {BETWEEN}", its).fetchall()
    db.execute(f"DELETE FROM files WHERE {BETWEEN}", its)
    db.execute(f"DELETE FROM records WHERE {BETWEEN}", its)
    db.execute("DELETE FROM sessions WHERE number = ?", (number,))
    return [name for (name,) in names]


def _remove_unused(blobs: Blobs, names: Sequence[str], db: sqlite3.Connection) -> None:
    """Remove the files that no record needs. The transaction keeps out other processes, which might just reuse one."""
    for name in names:
        if db.execute("SELECT 1 FROM files WHERE name = ? LIMIT 1", (name,)).fetchone() is None:
            blobs.remove(name)


def _explain(path: Path, error: Exception) -> JournalError:
    """What went wrong with the database at ``path``, and what to do."""
    if not isinstance(error, sqlite3.Error | OSError | UnicodeDecodeError):
        return JournalError(f"this can't be written to the journal {path}: {error}")
    why, advice = str(error), "set it right"
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL or getattr(error, "errno", 0) in (errno.ENOSPC, errno.EDQUOT):
        why, advice = "the disk is full", "free some megabytes"
    elif code == sqlite3.SQLITE_BUSY:
        why, advice = "another process keeps it locked", "end that process"
    elif code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR) or isinstance(
        error, UnicodeDecodeError
    ):
        why, advice = f"it is damaged ({error})", "see `agentrt doctor`, or restore it from a backup"
    elif code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        why, advice = f"{error}", "see who may write to its folder"
    elif code == sqlite3.SQLITE_IOERR:
        why, advice = f"the disk failed ({error})", "see what the system's log says about the disk"
    return Unavailable(f"the journal {path} can't be used: {why}. Nothing that was acknowledged is lost: {advice}")
