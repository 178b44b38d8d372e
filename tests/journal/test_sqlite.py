"""What only the SQLite store has: one private file that processes share, and that is refused when it is broken."""

import asyncio
import gc
import os
import sqlite3
import stat
import sys
import threading
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from journal_places import Place
from journal_samples import info, landed, said, turn

from agentrt.errors import ConfigError
from agentrt.journal import JournalError, Lease, Session
from agentrt.journal.opening import default_path, open_store
from agentrt.journal.sqlite import SqliteStore
from agentrt.journal.transfer import fork
from agentrt.types import User

pytestmark = pytest.mark.anyio

LARGE = "long " * 30_000


@pytest.fixture
async def place(tmp_path, anyio_backend):
    place = Place("sqlite", tmp_path)
    yield place
    await place.aclose()


@pytest.fixture
async def store(place):
    return place.open()


def change(path, statement, *values):
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(statement, values)


def blobs(place):
    return sorted(path.name for path in place.path.parent.glob("blobs/*/*"))


async def test_a_store_makes_nothing_before_it_is_written_to(place):
    store = place.open()
    assert await store.find() == []
    assert await store.integrity() == []
    assert not place.path.parent.exists()


async def test_its_files_are_their_owners_alone(place):
    os.umask(umask := os.umask(0))  # what it is now
    os.umask(0)
    try:
        store = place.open()
        await store.create(info("a"), [landed("c", LARGE)])
    finally:
        os.umask(umask)
    paths = [place.path.parent, *place.path.parent.rglob("*")]
    modes = {path.relative_to(place.path.parent.parent): stat.S_IMODE(path.stat().st_mode) for path in paths}
    assert len(modes) == 7  # the folder, the database, its two companions, and blobs/ab/abcd…
    assert {mode for path, mode in modes.items() if paths[list(modes).index(path)].is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if not paths[list(modes).index(path)].is_dir()} == {0o600}


async def test_it_is_in_wal_mode_and_waits_for_the_disk_unless_told_otherwise(tmp_path):
    for synchronous, number in (("FULL", 2), ("NORMAL", 1)):
        store = SqliteStore(tmp_path / synchronous / "s.db", synchronous=synchronous)

        def pragmas(db):
            return [db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]

        assert await store._writer.submit(pragmas).outcome() == ["wal", number]
        await store.aclose()
    with pytest.raises(ConfigError, match="synchronous is 'OFF': use 'FULL' or 'NORMAL'"):
        SqliteStore(tmp_path / "s.db", synchronous="OFF")


def log_of(path):
    return Path(f"{path}-wal").read_bytes()


def commits(path):
    """How many commits are in the write-ahead log (https://sqlite.org/fileformat2.html, section 4)."""
    log = log_of(path)
    page = int.from_bytes(log[8:12], "big")
    frames = range(32, len(log) - page - 23, page + 24)
    return sum(int.from_bytes(log[at + 4 : at + 8], "big") > 0 for at in frames if log[at + 8 : at + 16] == log[16:24])


async def test_a_commit_that_waits_for_no_disk_still_lets_others_run_while_another_process_holds_the_lock(store, place):
    lease = await store.create(info("a"))
    for number in range(3):  # from the second on in this thread
        await store.append(lease, [said("hi")], after=number)
    turns = 0
    with closing(sqlite3.connect(place.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        async def turn_about():
            nonlocal turns
            for _ in range(10):
                await anyio.lowlevel.checkpoint()
                turns += 1
            other.execute("ROLLBACK")

        async with anyio.create_task_group() as group:
            group.start_soon(turn_about)
            assert await store.append(lease, [said("there")], after=3) == 4
    assert turns == 10
    assert len(await store.read("a")) == 4


async def test_a_lost_lease_is_lost_also_where_no_disk_is_waited_for(store):
    old = await store.create(info("a"))
    for number in range(3):
        await store.append(old, [said("hi")], after=number)
    new = await store.take("a")
    with pytest.raises(JournalError, match="taken up by somebody else"):
        await store.append(old, [said("zombie")], after=3)
    assert await store.append(new, [said("there")], after=3) == 4


async def test_the_log_does_not_grow_for_ever_where_no_disk_is_waited_for(store, place):
    lease = await store.create(info("a"))
    for number in range(1_000):
        await store.append(lease, [said("x" * 4_000)], after=number)
    assert len(log_of(place.path)) < 8_000_000


async def test_appends_that_wait_at_the_same_time_share_a_commit(store, place):
    leases = [await store.create(info(f"s{number}")) for number in range(50)]
    before = commits(place.path)
    async with anyio.create_task_group() as group:
        for lease in leases:
            group.start_soon(store.append, lease, [said("hi")])
    assert 1 <= commits(place.path) - before <= 10
    assert [len(await store.read(lease.session_id)) for lease in leases] == [1] * 50


async def test_what_can_not_be_written_does_not_harm_what_shares_its_commit(store):
    leases = [await store.create(info(f"s{number}")) for number in range(50)]
    refused = []

    async def misname():
        try:
            await store.create(info("\udc80"))
        except JournalError as error:
            refused.append(str(error))

    async with anyio.create_task_group() as group:
        for lease in leases:
            group.start_soon(store.append, lease, [said("hi")])
            group.start_soon(misname)
    assert len(refused) == 50
    assert all("this can't be written to the journal" in error for error in refused)
    assert [len(await store.read(lease.session_id)) for lease in leases] == [1] * 50


async def test_a_large_record_is_a_file_that_forks_share(store, place):
    lease = await store.create(info("a"), [said("hi")])
    await store.append(lease, [landed("small", "x" * 60_000)])
    assert blobs(place) == []
    await store.delete("a")
    lease = await store.create(info("a"), [said("hi"), *large_turn("one"), *large_turn("two")])
    assert len(blobs(place)) == 2
    second = (await fork(store, "a", 1)).session_id
    assert len(blobs(place)) == 2
    await store.delete("a")
    assert len(blobs(place)) == 1
    assert (await store.read(second))[2] == landed("one", "one " * 30_000)
    await store.delete(second)
    assert blobs(place) == []
    assert await store.integrity() == []


def large_turn(name):
    from agentrt.journal.records import Answered, Closed
    from agentrt.types import Assistant, ToolCall

    return [Answered(Assistant("", (ToolCall(name, "look", "{}"),))), landed(name, f"{name} " * 30_000), Closed(())]


async def test_the_files_grow_with_what_is_written_and_not_with_the_length_of_the_session(tmp_path):
    sizes = {}
    for steps in (50, 200):
        store = SqliteStore(tmp_path / f"{steps}" / "s.db", synchronous="NORMAL")
        lease = await store.create(info("a"))
        for number in range(steps):
            await store.append(lease, turn(number, "x" * 1000)[:4])
            await store.append(lease, turn(number, "x" * 1000)[4:])
        await store.aclose()
        sizes[steps] = sum(path.stat().st_size for path in (tmp_path / f"{steps}").iterdir())
    assert sizes[200] <= 200 * (1.2 * 1000 + 2000)
    assert sizes[200] / 200 <= sizes[50] / 50


@pytest.mark.parametrize("damage", ["missing", "changed"])
async def test_a_damaged_file_is_an_error_that_names_session_record_and_file(store, place, damage):
    await store.create(info("a"), [said("hi"), landed("c", LARGE)])
    (file,) = place.path.parent.glob("blobs/*/*")
    file.unlink() if damage == "missing" else file.write_bytes(b"{}")
    why = f"record 2 of session 'a' is damaged: its file .*{file.name} (is missing|was changed).*restore"
    with pytest.raises(JournalError, match=why):
        await store.read("a")
    (problem,) = await store.integrity()
    assert problem.startswith("record 2 of session 'a': its file")
    assert await store.find("hi") != []  # the others can still be looked through
    await store.delete("a")


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("UPDATE records SET body = substr(body, 1, 20) WHERE seq = 2", "record 2 of session 'a' is damaged: Unterm"),
        (
            'UPDATE records SET body = \'{"type":"Dreamt"}\' WHERE seq = 2',
            "record 2 .* is damaged: unknown kind 'Dreamt'",
        ),
        ("DELETE FROM records WHERE seq = 2", "record 2 of session 'a' is damaged: it is missing"),
        ("UPDATE records SET body = replace(body, 'two', 'six') WHERE seq = 2", "record 2 .*: its text was changed"),
    ],
)
async def test_a_damaged_record_is_an_error_that_names_session_and_record(store, place, statement, why):
    await store.create(info("a"), [said("one"), said("two"), said("three")])
    await store.create(info("b"), [said("one")])
    change(place.path, statement)
    with pytest.raises(JournalError, match=why):
        await Session.resume(store, "a")
    assert await store.read("b") == [said("one")]


async def test_records_in_an_order_that_no_session_writes_are_an_error_that_names_the_session(store):
    await store.create(info("a"), [landed("c")])
    with pytest.raises(JournalError, match="the records of session 'a' make no conversation: a Landed record without"):
        await Session.resume(store, "a")


async def test_integrity_tells_of_lost_records_and_damaged_pages(store, place):
    await store.create(info("a"), [said(f"text {number} " * 100) for number in range(100)])
    assert await store.integrity() == []
    change(place.path, "DELETE FROM records WHERE seq = 50")
    assert await store.integrity() == ["session 'a' should have 100 records, but has 99, up to number 100"]
    await store.aclose()
    content = bytearray(place.path.read_bytes())
    content[20_000:20_400] = b"\xff" * 400
    place.path.write_bytes(content)
    problems = await place.open().integrity()
    assert problems
    assert any(str(place.path) in problem for problem in problems)


async def test_a_file_that_is_no_database_is_left_alone(place):
    place.path.parent.mkdir()
    place.path.write_bytes(b"my diary" * 1000)
    with pytest.raises(JournalError, match="it is damaged .file is not a database.*agentrt doctor"):
        await place.open().create(info("a"))
    assert place.path.read_bytes() == b"my diary" * 1000


async def test_another_programs_database_is_left_alone(place):
    place.path.parent.mkdir()
    change(place.path, "CREATE TABLE recipes (name TEXT)")
    for work in (place.open().create(info("a")), place.open().find()):
        with pytest.raises(JournalError, match="is the database of another program: name another file"):
            await work


async def test_a_newer_database_is_refused_with_what_to_do(store, place):
    await store.create(info("a"))
    await store.aclose()
    change(place.path, "PRAGMA user_version = 99")
    for work in (place.open().create(info("b")), place.open().find()):
        with pytest.raises(JournalError, match=r"written by a newer agentrt \(form 99, this one knows 2\): upgrade"):
            await work
    change(place.path, "PRAGMA user_version = 2")
    assert [item.id for item in await place.open().find()] == ["a"]


async def test_a_database_of_the_first_form_is_taken_over_whole(place):
    """With what later versions have changed: where records stand, where files are named, and checksums."""
    from agentrt.journal import schema
    from agentrt.journal.blobs import Blobs
    from agentrt.journal.records import dump

    texts = {"a": [said("one"), landed("c", LARGE), said("three")], "b": [], "c": [said("two")]}
    place.path.parent.mkdir()
    with closing(sqlite3.connect(place.path)) as db, db:
        for statement in schema.STEPS[0]:
            db.execute(statement)
        db.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        db.execute("PRAGMA user_version = 1")
        for number, (name, records) in enumerate(texts.items(), 1):
            row = (number, name, "", "", "", "", "open" if records else "idle", 1.0, 2.0, len(records), 7)
            db.execute(f"INSERT INTO sessions VALUES ({', '.join('?' * len(row))})", row)
            for seq, body in enumerate(map(dump, records), 1):
                blob = Blobs(place.path.parent / "blobs").put(body) if len(body) > 65536 else None
                row = (number, seq, 2.0 + number, "Said", None if blob else body.decode(), blob)
                db.execute("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?)", row)
    store = place.open()
    assert {name: await store.read(name) for name in texts} == texts
    assert [(found.id, found.records, found.updated) for found in await store.find()] == [
        ("c", 1, 5.0), ("a", 3, 3.0), ("b", 0, 2.0)
    ]  # fmt: skip
    assert await store.integrity() == []
    assert await store.append(Lease("a", 7), [said("four")], after=3) == 4
    change(place.path, "UPDATE records SET body = replace(body, 'two', 'six')")
    assert [problem.partition(": ")[2] for problem in await store.integrity()] == [
        "record 1 of session 'c': its text was changed"
    ]
    await store.delete("a")
    assert blobs(place) == []


async def test_a_migration_that_fails_leaves_the_database_as_it_was(place, monkeypatch):
    from agentrt.journal import schema

    store = place.open()
    await store.create(info("a"), [said("hi")])
    await store.aclose()
    steps = schema.STEPS
    monkeypatch.setattr(schema, "STEPS", (*steps, ("CREATE TABLE more (x)", "SELECT nonsense FROM nowhere")))
    with pytest.raises(JournalError, match="nowhere"):
        await place.open().find()
    monkeypatch.setattr(schema, "STEPS", (*steps, ("CREATE TABLE more (x)", "INSERT INTO more VALUES (1)")))
    assert await place.open().read("a") == [said("hi")]
    await place.open().create(info("b"))
    with closing(sqlite3.connect(place.path)) as db:
        assert db.execute("SELECT * FROM more").fetchall() == [(1,)]
        assert db.execute("PRAGMA user_version").fetchone() == (3,)


async def test_a_store_that_is_closed_says_so(store):
    lease = await store.create(info("a"))
    await store.aclose()
    with pytest.raises(JournalError, match="is closed: open a new one"):
        await store.append(lease, [said("hi")])
    await store.aclose()


async def test_closing_writes_what_is_pending(place):
    store = place.open()
    lease = await store.create(info("a"))
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(store.append, lease, [said(f"text {number}")])
            await anyio.lowlevel.checkpoint()
            scope.cancel()
    await store.aclose()
    assert len(await place.open().read("a")) == 20  # handed over before the cancel, so whole


async def test_a_store_that_is_dropped_takes_its_thread_along(tmp_path):
    store = SqliteStore(tmp_path / "s.db")
    await store.create(info("a"))
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "agentrt-journal"]
    del store
    gc.collect()
    await anyio.to_thread.run_sync(thread.join, 10)
    assert not thread.is_alive()


async def test_a_task_that_is_cancelled_natively_in_a_commit_loses_and_doubles_nothing(place):
    session = await Session.begin(place.open())
    for number in range(30):
        say = asyncio.ensure_future(session.say(User(f"text {number}")))
        for _ in range(number % 6):
            await asyncio.sleep(0)
        say.cancel()
        await asyncio.wait([say])
        if not any(message.text == f"text {number}" for message in session.transcript):
            await session.say(User(f"text {number}"))  # it was cancelled before it began
    await session.commit()
    assert await place.open().read(session.id) == [said(f"text {number}") for number in range(30)]


async def test_a_database_that_another_process_keeps_locked_is_an_error_and_works_again(place, monkeypatch):
    from agentrt.journal import schema

    monkeypatch.setattr(schema, "BUSY_SECONDS", 0.05)
    store = place.open()
    lease = await store.create(info("a"))
    with closing(sqlite3.connect(place.path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalError, match="another process keeps it locked.*agentrt run --resume"):
            await store.append(lease, [said("one")], after=0)
    assert await store.append(lease, [said("one")], after=0) == 1


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        ({"AGENTRT_HOME": "/a", "XDG_DATA_HOME": "/x", "HOME": "/h"}, "/a/sessions.db"),
        ({"XDG_DATA_HOME": "/x", "HOME": "/h"}, "/x/agentrt/sessions.db"),
        ({"HOME": "/h"}, "/h/.local/share/agentrt/sessions.db"),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="other platforms have other folders")
def test_sessions_are_kept_where_a_users_data_is(environ, path):
    assert default_path(environ) == Path(path)


def test_a_store_is_opened_by_its_name(tmp_path):
    assert open_store(str(tmp_path / "s.db")).path == tmp_path / "s.db"
    with pytest.raises(ConfigError, match="sessions can't be kept at 'mysql://x': use the path of a file, or"):
        open_store("mysql://x")
