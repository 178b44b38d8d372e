"""Torn and damaged files: what was acknowledged before is there, what is damaged is absent or an error, never wrong.

``AGENTRT_TORN_BYTES=1`` tears at every byte and not at some.
"""

import os
import sqlite3
from contextlib import closing

import pytest
from journal_samples import info, landed, said, turn

from agentrt.journal import JournalError
from agentrt.journal.sqlite import SqliteStore

pytestmark = pytest.mark.anyio

HEADER, FRAME = 32, 24  # bytes of the log's header and of each frame's (https://sqlite.org/fileformat2.html#walformat)
COMMITS = [[said("hi")], *([*turn(number)[:4]] if number % 2 else [landed(f"call_{number}", "x" * 3_000)]
           for number in range(1, 12))]  # fmt: skip
LAST = 3  # the commits that are torn
STEP = int(os.environ.get("AGENTRT_TORN_BYTES", "0"))


async def killed(folder):
    """The files of a store that was killed after :data:`COMMITS` were acknowledged."""
    store = SqliteStore(folder / "before" / "s.db")
    lease, last = await store.create(info("a")), 0
    for records in COMMITS:
        last = await store.append(lease, records, after=last)
    files = {name: (folder / "before" / name).read_bytes() for name in ("s.db", "s.db-wal")}
    await store.aclose()
    return lease, files


def ends(log):
    """Where in the log each commit ends."""
    page = int.from_bytes(log[8:12], "big")
    frames = range(HEADER, len(log), page + FRAME)
    return [at + FRAME + page for at in frames if int.from_bytes(log[at + 4 : at + 8], "big")]


def places(log):
    """Bytes of the last commits' frames: the first and the last of each frame, and some between."""
    page, first = int.from_bytes(log[8:12], "big"), ends(log)[-LAST - 1]
    some = (0, 7, FRAME - 1, FRAME + page // 3, FRAME + page - 1)
    frames = range(first, len(log), page + FRAME)
    return range(first, len(log), STEP) if STEP else [at + byte for at in frames for byte in some]


def cut(log, at):
    return log[:at]


def flip(log, at):
    return log[:at] + bytes([log[at] ^ 0xFF]) + log[at + 1 :]


def unwritten_sector(log, at):
    start = at - at % 512
    return log[:start] + bytes(512) + log[start + 512 :]


def reopened(folder, files):
    for path in folder.glob("s.db*"):
        path.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return SqliteStore(folder / "s.db", synchronous="NORMAL")


@pytest.mark.parametrize("tear", [cut, flip, unwritten_sector])
async def test_of_a_log_that_is_torn_at_any_byte_all_commits_before_it_are_there_and_no_part_of_another(tmp_path, tear):
    lease, files = await killed(tmp_path)
    log, folder = files["s.db-wal"], tmp_path / "after"
    folder.mkdir()
    earlier = len(ends(log)) - len(COMMITS)  # those that made the tables and the session
    seen = set()
    for at in places(log):
        torn = tear(log, at)
        same = next((byte for byte, pair in enumerate(zip(log, torn, strict=False)) if pair[0] != pair[1]), len(torn))
        whole = sum(end <= same for end in ends(log)) - earlier
        store = reopened(folder, files | {"s.db-wal": torn})
        records = [record for commit in COMMITS[:whole] for record in commit]
        assert await store.read("a") == records, f"byte {at}"
        seen.add(whole)
        if at % 8 == 0:  # and it goes on from there
            assert await store.append(lease, [said("on")], after=len(records)) == len(records) + 1
            assert await store.integrity() == []
        await store.aclose()
    assert seen >= set(range(len(COMMITS) - LAST, len(COMMITS)))


async def outcome(store):
    """The records that are read, or ``None`` for an error."""
    try:
        return await store.read("a")
    except JournalError as found:
        error = str(found)
    assert any(word in error for word in ("damaged", "there is no session", "another program", "newer")), error
    return None


@pytest.mark.parametrize("tear", [cut, flip, unwritten_sector])
async def test_of_a_database_that_is_torn_at_any_byte_no_wrong_record_is_read(tmp_path, tear):
    store = SqliteStore(tmp_path / "before" / "s.db", synchronous="NORMAL")
    records = [record for commit in COMMITS for record in commit]
    await store.create(info("a"), records)
    await store.aclose()
    content, folder = (tmp_path / "before" / "s.db").read_bytes(), tmp_path / "after"
    with closing(sqlite3.connect(tmp_path / "before" / "s.db")) as db:
        page = db.execute("PRAGMA page_size").fetchone()[0]
    folder.mkdir()
    errors = 0
    last = len(content) - page
    for at in range(0, len(content), STEP) if STEP else (*range(0, last, 1_999), *range(last, len(content), 299)):
        store = reopened(folder, {"s.db": tear(content, at)})
        read = await outcome(store)
        if read is None:
            errors += 1
        elif read != records:
            assert read == records[: len(read)], f"byte {at}"
            assert await store.integrity() != [], f"byte {at}"
        await store.aclose()
    assert errors > 0
