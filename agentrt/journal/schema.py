"""The tables of the SQLite journal, and the steps from each older form of them to this one."""

from __future__ import annotations

import os
import sqlite3
import time
import zlib
from contextlib import closing
from pathlib import Path
from typing import Literal

from agentrt.journal.blobs import sync_folder
from agentrt.journal.store import JournalError

APPLICATION_ID = 0x61727430  # "art0", in the file's header: whose database this is
BUSY_SECONDS = 30.0

Synchronous = Literal["FULL", "NORMAL"]

STEPS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE sessions (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            tenant TEXT NOT NULL,
            title TEXT NOT NULL,
            engine TEXT NOT NULL,
            parent TEXT NOT NULL,
            state TEXT NOT NULL,
            created REAL NOT NULL,
            updated REAL NOT NULL,
            records INTEGER NOT NULL,
            epoch INTEGER NOT NULL
        )""",
        """CREATE TABLE records (
            session INTEGER NOT NULL REFERENCES sessions (number),
            seq INTEGER NOT NULL,
            at REAL NOT NULL,
            kind TEXT NOT NULL,
            body TEXT,
            blob TEXT,
            PRIMARY KEY (session, seq)
        )""",
        "CREATE INDEX records_by_blob ON records (blob) WHERE blob IS NOT NULL",
    ),
    (
        # One tree, in the order in which sessions are read, and no index to keep beside it. Not WITHOUT ROWID: its
        # pages keep only a quarter of a row in place, so that rows of one to four KB take three times their size.
        # In `sessions`, `records` and `updated` are those of the last change of state: an append is one page less.
        "ALTER TABLE records RENAME TO records_1",
        "DROP INDEX records_by_blob",
        """CREATE TABLE records (
            place INTEGER PRIMARY KEY,
            at REAL NOT NULL,
            kind TEXT NOT NULL,
            crc INTEGER NOT NULL,
            body TEXT,
            session INTEGER AS (place >> 32),
            seq INTEGER AS (place & 0xffffffff)
        )""",
        "CREATE TABLE files (place INTEGER PRIMARY KEY, name TEXT NOT NULL)",
        "INSERT INTO records (place, at, kind, crc, body)"
        " SELECT session << 32 | seq, at, kind, crc32(coalesce(body, '')), body FROM records_1 ORDER BY session, seq",
        "INSERT INTO files SELECT session << 32 | seq, blob FROM records_1 WHERE blob IS NOT NULL",
        "DROP TABLE records_1",
        "CREATE INDEX files_by_name ON files (name)",
    ),
)
"""``PRAGMA user_version`` is how many of these a database has seen."""


def crc32(text: str) -> int:
    """What a record's text is known by again: SQLite itself does not notice a damaged one."""
    return zlib.crc32(text.encode())


def place(number: int, seq: int) -> int:
    """Where the record ``seq`` of the session with this number stands; those of a session are beside each other."""
    return number << 32 | seq


def connect(path: Path, synchronous: Synchronous = "FULL") -> sqlite3.Connection:
    """Open the journal at ``path``, made or brought up to date if need be; only its owner may read it.

    :raises JournalError: if it belongs to something else, or to a newer version of this code.
    :raises sqlite3.Error: if it can't be opened.
    :raises OSError: if its folder can't be made.
    """
    _make_private(path)
    db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        _use_wal(db)
        db.execute(f"PRAGMA synchronous = {synchronous}")
        db.execute("PRAGMA fullfsync = ON")  # macOS: an fsync that reaches the medium
        db.execute("PRAGMA wal_autocheckpoint = 0")  # the writer does that when nobody waits
        db.execute("PRAGMA secure_delete = ON")  # a deleted session is not left in free pages
        if _version(db) != len(STEPS):
            _migrate(db, path)
    except BaseException:
        db.close()
        raise
    return db


def _make_private(path: Path) -> None:
    if path.exists():
        return
    for folder in reversed([folder for folder in path.parents if not folder.exists()]):
        folder.mkdir(mode=0o700, exist_ok=True)
        sync_folder(folder.parent)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # the -wal and -shm files inherit the mode
    sync_folder(path.parent)


def _use_wal(db: sqlite3.Connection) -> None:
    """Switch a new database to WAL. SQLite does not wait for another process that does the same."""
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)  # in the store's own thread
        else:
            return


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    db.execute("BEGIN IMMEDIATE")  # another process may be at it: look again behind the lock
    try:
        version = _version(db)
        owner = int(db.execute("PRAGMA application_id").fetchone()[0])
        tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if owner != APPLICATION_ID and (owner or version or tables):
            raise JournalError(f"{path} is the database of another program: name another file for the journal")
        if version > len(STEPS):
            raise JournalError(
                f"the journal {path} was written by a newer agentrt (form {version}, this one knows {len(STEPS)}): "
                "upgrade agentrt, or name another file for the journal"
            )
        db.create_function("crc32", 1, crc32, deterministic=True)
        for step in STEPS[version:]:
            for statement in step:
                db.execute(statement)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {len(STEPS)}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def integrity(path: Path) -> list[str]:
    """What is wrong with the database at ``path``; empty if nothing is. Reads all of it.

    :raises JournalError: as :func:`connect`.
    """
    try:
        with closing(connect(path)) as db:
            said = [str(row[0]) for row in db.execute("PRAGMA integrity_check")]
            gaps = db.execute(
                "SELECT id, max(records, coalesce(max(seq), 0)) AS due, count(place) AS found, coalesce(max(seq), 0)"
                " FROM sessions LEFT JOIN records ON place BETWEEN number << 32 AND number << 32 | 0xffffffff"
                " GROUP BY number HAVING found <> due"
            ).fetchall()
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        return [f"{path}: {error}"]
    problems = [] if said == ["ok"] else [f"{path}: {line}" for line in said]
    for name, records, count, last in gaps:
        problems.append(f"session {name!r} should have {records} records, but has {count}, up to number {last}")
    return problems
