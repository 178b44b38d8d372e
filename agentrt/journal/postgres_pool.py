"""A few connections to a Postgres database, made when they are needed and dropped when they break."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import psycopg
from anyio import Semaphore, fail_after

from agentrt.journal.postgres_schema import Connection, enter
from agentrt.journal.store import JournalError, Unavailable

T = TypeVar("T")


class Pool:
    """At most ``connections`` at a time, each in autocommit mode and in ``schema``; no work takes over ``seconds``."""

    def __init__(self, dsn: str, schema: str, connections: int, seconds: float) -> None:
        self._dsn = dsn
        self._schema = schema
        self._seconds = seconds
        self._places = Semaphore(connections)
        self._idle: list[Connection] = []
        self._closed = False

    def close(self) -> None:
        """Close what is idle, and let nobody in any more."""
        self._closed = True
        self._drop_idle()

    async def run(self, work: Callable[[Connection], Awaitable[T]], *, again: bool = True) -> T:
        """Run ``work`` on a connection; ``again`` on a fresh one if the server was restarted meanwhile.

        :raises JournalError: if the server can't be reached, or does not do it.
        """
        if self._closed:
            raise JournalError("the store is closed: open a new one")
        try:
            with fail_after(self._seconds):
                async with self._places:
                    return await self._on_connection(work, again=again)
        except psycopg.Error as error:
            raise explained(error) from error
        except TimeoutError as error:
            raise explained(f"it did not answer within {self._seconds:g} s") from error

    async def _on_connection(self, work: Callable[[Connection], Awaitable[T]], *, again: bool) -> T:
        used = bool(self._idle)
        db = self._idle.pop() if self._idle else await self.connect()
        try:
            answer = await work(db)
        except JournalError:
            self._idle.append(db)
            raise
        except psycopg.OperationalError:
            db.pgconn.finish()
            if not (used and again):
                raise
            self._drop_idle()
            return await self._on_connection(work, again=False)
        except BaseException:
            db.pgconn.finish()  # cancelled half-way: what it would read next is the answer to this
            raise
        self._idle.append(db)
        return answer

    async def connect(self) -> Connection:
        """A connection that is the caller's own, to be ended with ``pgconn.finish()``."""
        db: Connection = await psycopg.AsyncConnection.connect(
            self._dsn, autocommit=True, connect_timeout=max(2, int(self._seconds)), application_name="agentrt"
        )
        try:
            await enter(db, self._schema)
        except BaseException:
            db.pgconn.finish()
            raise
        return db

    def _drop_idle(self) -> None:
        while self._idle:
            db = self._idle.pop()  # named, or it is collected before it is closed
            db.pgconn.finish()


def explained(why: Exception | str) -> Unavailable:
    """What went wrong, and what to do."""
    said = " ".join(str(why).split())
    return Unavailable(
        f"the journal in Postgres can't be used ({said}). Nothing that was acknowledged is lost: see to the server"
    )
