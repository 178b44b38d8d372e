"""How a database is written: by one thread, with what waits at the same time in one transaction, or on the spot."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, Generic, TypeVar

from anyio import Event
from anyio.lowlevel import current_token

from agentrt.journal.store import JournalError

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
"""Runs inside a transaction. May raise :class:`JournalError`, but only before it has changed anything."""

Soon = Callable[[Callable[[], object]], object]
"""How another thread has something run in an event loop."""

MAX_GROUP = 256
EMPTY_EVERY = 256
"""After so many commits the write-ahead log is moved into the database."""


class Ticket(Generic[T]):
    """A piece of work that waits for the writer, and how it went."""

    def __init__(self, work: Work[T]) -> None:
        self.work: Work[T] | None = work
        self.soon = _soon()
        self._done = Event()
        self._value: T | None = None
        self._error: BaseException | None = None

    async def outcome(self) -> T:
        """Wait until the work is durable and return what it returned, or raise what it raised.

        Cancelling the wait does not take the work back: it is done or not, wholly, and nobody has heard.
        """
        await self._done.wait()
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # T may be None itself

    def run(self, db: sqlite3.Connection) -> None:
        """Do the work; a :class:`JournalError` is its outcome."""
        assert self.work is not None, "a ticket is settled once"
        self._error = None
        try:
            self._value = self.work(db)
        except JournalError as error:
            self._error = error

    def settle(self, error: BaseException | None) -> None:
        """The work is durable, or failed for ``error``; :meth:`wake` says so to whoever waits."""
        self.work = None
        if error is not None:
            self._error = error

    def wake(self) -> None:
        """Let whoever waits go on; in the event loop that it waits in."""
        self._done.set()


def _soon() -> Soon:
    native: Any = current_token().native_token
    soon: Soon
    soon = native.call_soon_threadsafe if hasattr(native, "call_soon_threadsafe") else native.run_sync_soon
    return soon


def _wake(tickets: Sequence[Ticket[Any]]) -> None:
    for ticket in tickets:
        ticket.wake()


class Writer:
    """Runs tickets in order, as many in a transaction as wait. The thread starts with the first one.

    It also moves the write-ahead log into the database, when whoever waited has been answered. ``is_next``: the next
    commit begins the log anew, which waits for the disk, and so is the writer's. ``open_database`` is called in the
    thread, again after an error. ``explain`` makes an error one that says what to do.
    """

    def __init__(
        self, open_database: Callable[[], sqlite3.Connection], explain: Callable[[Exception], Exception]
    ) -> None:
        self._open = open_database
        self._explain = explain
        self._queue: SimpleQueue[Ticket[Any] | None] = SimpleQueue()
        self._commits = 0
        self.is_next = True
        self._starting = Lock()
        self._thread: Thread | None = None
        self._db: sqlite3.Connection | None = None

    def submit(self, work: Work[T]) -> Ticket[T]:
        """Queue a piece of work. Does not block."""
        with self._starting:
            if self._thread is None:
                # a daemon: a program that forgets to close must still end, and what was acknowledged is durable
                self._thread = Thread(target=self._serve, name="agentrt-journal", daemon=True)
                self._thread.start()
        ticket = Ticket(work)
        self._queue.put(ticket)
        return ticket

    def count(self) -> None:
        """Somebody else has committed."""
        self._commits += 1
        if self._commits >= EMPTY_EVERY:
            self.is_next = True

    def stop(self) -> None:
        """End the thread when it has done what is queued. Does not wait."""
        self._queue.put(None)

    def join(self) -> None:
        """Wait until the thread has ended and the database is closed."""
        if self._thread is not None:
            self._thread.join()

    def _serve(self) -> None:
        while self._serve_group():
            pass
        self._close()

    def _serve_group(self) -> bool:
        """Take what waits and settle it. Its own function, so that an idle thread keeps no ticket alive."""
        first = self._queue.get()
        group = [] if first is None else [first]
        more = first is not None
        while more and len(group) < MAX_GROUP:
            try:
                ticket = self._queue.get_nowait()
            except Empty:
                break
            if ticket is None:
                more = False
            else:
                group.append(ticket)
        if group:
            self._settle(group)
            self._commits += 1
            if self._commits >= EMPTY_EVERY:
                self._empty_log()
        return more

    def _settle(self, group: Sequence[Ticket[Any]]) -> None:
        error = self._commit(group)
        if error is not None and len(group) > 1:  # one may have spoiled it for all: each by itself
            for ticket in group:
                self._settle([ticket])
            return
        waiting: dict[Soon, list[Ticket[Any]]] = {}
        for ticket in group:
            ticket.settle(error)
            waiting.setdefault(ticket.soon, []).append(ticket)
        for soon, tickets in waiting.items():
            with suppress(RuntimeError):  # the event loop is gone, and with it whoever waited
                soon(partial(_wake, tickets))

    def _commit(self, group: Sequence[Ticket[Any]]) -> Exception | None:
        try:
            db = self._db = self._db or self._open()
            db.execute("BEGIN IMMEDIATE")
            for ticket in group:
                ticket.run(db)
            db.execute("COMMIT")
        except JournalError as error:
            self._close()
            return error
        except Exception as error:  # noqa: BLE001 - the disk's faults, and those of what is to be written
            self._close()
            return self._explain(error)
        self.is_next = False
        return None

    def _empty_log(self) -> None:
        """Move the log into the database; if somebody still reads it, again after the next commit.

        Where the disk fails nothing is lost: the log has it all, and the next commit tells.
        """
        self.is_next = True
        with suppress(sqlite3.Error):
            db = self._db = self._db or self._open()
            _, pages, moved = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if moved == pages:
                self._commits = 0

    def _close(self) -> None:
        """Close the database, which rolls back what is open; the next ticket finds it as it was before."""
        db, self._db = self._db, None
        if db is not None:
            with suppress(sqlite3.Error):
                db.close()


class Here:
    """Commits in the thread that asks, where a commit waits for no disk: the way to the writer's thread and back takes
    longer than the commit.

    It has a connection of its own. What would wait, or failed, is left to the ``writer``: it must be work that may be
    done again.
    """

    def __init__(self, open_database: Callable[[], sqlite3.Connection], writer: Writer) -> None:
        self._open = open_database
        self._writer = writer
        self._db: sqlite3.Connection | None = None
        self._using = Lock()

    def commit(self, work: Work[T]) -> tuple[T] | None:
        """Do the work and return what it returned, or ``None`` if that is for the writer.

        :raises JournalError: what the work raised.
        """
        if self._writer.is_next or not self._using.acquire(blocking=False):
            return None
        try:
            return self._commit(work)
        except JournalError:
            self._close()
            raise
        except Exception:  # noqa: BLE001 - whatever it is, the writer meets it too and says so
            self._close()
            return None
        finally:
            self._using.release()

    def _commit(self, work: Work[T]) -> tuple[T] | None:
        db = self._db = self._db or self._opened()
        try:
            db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                return None
            raise
        value = work(db)
        db.execute("COMMIT")
        self._writer.count()
        return (value,)

    def _opened(self) -> sqlite3.Connection:
        db = self._open()
        db.execute("PRAGMA busy_timeout = 0")
        return db

    def close(self) -> None:
        """Close the connection; a later commit opens another."""
        with self._using:
            self._close()

    def _close(self) -> None:
        """Close the database, which rolls back what is open."""
        db, self._db = self._db, None
        if db is not None:
            with suppress(sqlite3.Error):
                db.close()
