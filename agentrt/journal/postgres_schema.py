"""The tables of the Postgres journal, and the steps from each older form of them to this one."""

from __future__ import annotations

from typing import Any

from psycopg import AsyncConnection
from psycopg.sql import SQL, Identifier

from agentrt.journal.store import JournalError

Connection = AsyncConnection[tuple[Any, ...]]

_LOCK = 0x61727430  # of all that bring this database up to date

STEPS: tuple[str, ...] = (
    """
    CREATE TABLE sessions (
        number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        id text NOT NULL UNIQUE,
        tenant text NOT NULL,
        title text NOT NULL,
        engine text NOT NULL,
        parent text NOT NULL,
        state text NOT NULL,
        created timestamptz NOT NULL DEFAULT clock_timestamp(),
        updated timestamptz NOT NULL DEFAULT clock_timestamp(),
        records bigint NOT NULL,
        epoch bigint NOT NULL,
        owner text NOT NULL DEFAULT '',
        lease_until timestamptz,
        queued_at timestamptz
    );
    CREATE TABLE records (
        session bigint NOT NULL REFERENCES sessions (number) ON DELETE CASCADE,
        seq bigint NOT NULL,
        at timestamptz NOT NULL DEFAULT clock_timestamp(),
        kind text NOT NULL,
        body text NOT NULL,
        PRIMARY KEY (session, seq)
    );
    CREATE INDEX sessions_latest ON sessions (tenant, updated);
    CREATE INDEX sessions_to_run ON sessions (queued_at) WHERE queued_at IS NOT NULL OR owner <> '';
    """,
    """
    ALTER TABLE sessions
        ADD COLUMN note text NOT NULL DEFAULT '',
        ADD COLUMN attempts integer NOT NULL DEFAULT 0,
        ADD COLUMN delays integer NOT NULL DEFAULT 0;
    """,
)
"""``meta.version`` is how many of these a database has seen."""


async def enter(db: Connection, schema: str) -> None:
    """Work in ``schema`` on this connection, and make it or bring it up to date if need be.

    :raises JournalError: if it was written by a newer version of this code.
    """
    await db.execute(SQL("SET search_path TO {}").format(Identifier(schema)))
    if await _version(db) == len(STEPS):
        return
    async with db.transaction():
        await db.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        await db.execute(SQL("CREATE SCHEMA IF NOT EXISTS {}").format(Identifier(schema)))
        version = await _version(db)  # somebody else may have been at it
        if version > len(STEPS):
            raise JournalError(
                f"the journal in the Postgres schema {schema!r} was written by a newer agentrt (form {version}, this "
                f"one knows {len(STEPS)}): upgrade agentrt, or name another database"
            )
        if version == 0:
            await db.execute("CREATE TABLE meta (version integer NOT NULL)")
            await db.execute("INSERT INTO meta VALUES (0)")
        for step in STEPS[version:]:
            await db.execute(SQL(step))
        await db.execute("UPDATE meta SET version = %s", (len(STEPS),))


async def _version(db: Connection) -> int:
    found = await (await db.execute("SELECT to_regclass('meta')")).fetchone()
    if found is None or found[0] is None:
        return 0
    row = await (await db.execute("SELECT version FROM meta")).fetchone()
    return int(row[0]) if row else 0
