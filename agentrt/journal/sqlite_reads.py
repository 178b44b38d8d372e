"""What is read from a SQLite journal: records, checked as they were written, lists of sessions, and what is wrong."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from zlib import crc32

from agentrt.journal import schema
from agentrt.journal.blobs import Blobs
from agentrt.journal.records import Record, load
from agentrt.journal.schema import place
from agentrt.journal.search import SHOWN_KINDS, Needle, shown
from agentrt.journal.store import JournalError, SessionInfo, not_found, plain_text

BETWEEN = "place > ? AND place < ?"
_LAST = "(SELECT {} FROM records WHERE place > number << 32 AND place < number + 1 << 32 ORDER BY place DESC LIMIT 1)"
RECORDS = f"coalesce({_LAST.format('seq')}, 0)"
_UPDATED = f"coalesce({_LAST.format('at')}, updated)"
_INFO = f"id, title, engine, created, {_UPDATED} AS changed, {RECORDS}, parent, state, tenant"


def number_of(db: sqlite3.Connection, session_id: str, tenant: str | None) -> int:
    """The number of the tenant's session; records stand by it."""
    row = db.execute(
        "SELECT number FROM sessions WHERE id = ?1 AND (?2 IS NULL OR tenant = ?2)", (plain_text(session_id), tenant)
    ).fetchone()
    if row is None:
        raise not_found(session_id)
    return int(row[0])


def records_of(blobs: Blobs, session_id: str, after: int, tenant: str | None, db: sqlite3.Connection) -> list[Record]:
    """The records after number ``after``, each as it was written."""
    db.execute("BEGIN")  # one state of the database for both questions
    number = number_of(db, session_id, tenant)
    records: list[Record] = []
    for seq, body, crc in bodies_of(blobs, db, session_id, number, after):
        if seq != after + len(records) + 1:
            raise _damaged(session_id, after + len(records) + 1, "it is missing")
        try:
            records.append(load(body))
            _check(body, crc)
        except ValueError as error:
            raise _damaged(session_id, seq, str(error)) from error
    return records


def bodies_of(
    blobs: Blobs, db: sqlite3.Connection, session_id: str, number: int, after: int
) -> list[tuple[int, bytes, int | None]]:
    """The number, the text and, of one that is not a file, the checksum of each record after ``after``."""
    rows = db.execute(
        "SELECT seq, CAST(body AS BLOB), name, crc FROM records LEFT JOIN files USING (place)"
        f" WHERE {BETWEEN} ORDER BY place",
        (place(number, after), place(number + 1, 0)),
    ).fetchall()
    return [(seq, _body(blobs, session_id, seq, body, blob), None if blob else crc) for seq, body, blob, crc in rows]


def _body(blobs: Blobs, session_id: str, seq: int, body: bytes | None, blob: str | None) -> bytes:
    try:
        return body or b"" if blob is None else blobs.get(blob)
    except ValueError as error:
        raise _damaged(session_id, seq, str(error)) from error


def _check(body: bytes, crc: int | None) -> None:
    """Raise ``ValueError`` if the text of a record is not the one that was written."""
    if crc is not None and crc32(body) != crc:
        raise ValueError("its text was changed")


def _damaged(session_id: str, seq: int, why: str) -> JournalError:
    return JournalError(
        f"record {seq} of session {session_id!r} is damaged: {why}. `agentrt doctor` checks the whole journal; "
        "restore the file from a backup, or delete the session"
    )


def named(name: str, tenant: str | None, db: sqlite3.Connection) -> list[SessionInfo]:
    """The sessions that ``name`` may mean, the likeliest first."""
    rows = db.execute(
        f"SELECT {_INFO} FROM sessions WHERE (?2 IS NULL OR tenant = ?2) AND ?1 <> ''"
        " AND (substr(id, 1, length(?1)) = ?1 OR substr(id, -length(?1)) = ?1)"
        " ORDER BY id = ?1 DESC, changed DESC LIMIT 10",
        (name, tenant),
    ).fetchall()
    return [SessionInfo(*row) for row in rows]


def found(blobs: Blobs, text: str, tenant: str | None, limit: int, db: sqlite3.Connection) -> list[SessionInfo]:
    """The tenant's sessions with ``text`` in them, the latest first."""
    db.execute("BEGIN")
    needle = Needle(text)
    rows = db.execute(
        f"SELECT number, {_INFO} FROM sessions WHERE ?1 IS NULL OR tenant = ?1 ORDER BY changed DESC, number DESC",
        (tenant,),
    )
    found: list[SessionInfo] = []
    for number, *columns in rows:
        if len(found) >= limit:
            break
        info = SessionInfo(*columns)
        if not text or needle.within((info.id, info.title)) or _holds(blobs, needle, info.id, number, db):
            found.append(info)
    return found


def _holds(blobs: Blobs, needle: Needle, session_id: str, number: int, db: sqlite3.Connection) -> bool:
    """Whether a text that people read in the session has the needle."""
    patterns = needle.patterns()
    like = " OR ".join(["body LIKE ? ESCAPE '!'"] * len(patterns))
    kinds = ", ".join(f"'{kind}'" for kind in SHOWN_KINDS)
    rows = db.execute(
        f"SELECT seq, CAST(body AS BLOB), name FROM records LEFT JOIN files USING (place) WHERE {BETWEEN}"
        f" AND kind IN ({kinds}) AND (body IS NULL OR {like})",
        (place(number, 0), place(number + 1, 0), *patterns),
    )
    for seq, body, blob in rows:
        try:
            record = load(_body(blobs, session_id, seq, body, blob))
        except (ValueError, JournalError):
            continue  # a damaged record is for whoever reads the session, not for one who looks for another
        if needle.within(shown(record)):
            return True
    return False


def problems_in(path: Path, blobs: Blobs, db: sqlite3.Connection) -> list[str]:
    """What is wrong with the database and its files. Reads all of it."""
    problems = schema.integrity(path)
    rows = db.execute(
        "SELECT id, seq, CAST(body AS BLOB), name, crc FROM sessions"
        " JOIN records ON place BETWEEN number << 32 AND number << 32 | 0xffffffff LEFT JOIN files USING (place)"
    )
    try:
        for session_id, seq, body, blob, crc in rows:
            try:
                blobs.get(blob) if blob else _check(body or b"", crc)
            except ValueError as error:
                where = "" if blob else f"{path}: "
                problems.append(f"{where}record {seq} of session {session_id!r}: {error}")
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        problems.append(f"{path}: {error}")
    return problems
