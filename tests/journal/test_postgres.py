"""What only the Postgres store has: a queue, leases by the database's clock, and servers that come and go."""

import signal
import subprocess
import sys

import anyio
import pytest
from journal_places import Place
from journal_samples import ended, info, said

from agentrt.journal import JournalError, NotFound, Session, Unavailable
from agentrt.journal.opening import open_store
from agentrt.types import User

pytestmark = pytest.mark.anyio


@pytest.fixture
async def place(tmp_path, cluster, anyio_backend):
    place = Place("postgres", tmp_path, cluster.dsn)
    yield place
    await place.aclose()


@pytest.fixture
async def store(place):
    return place.open()


async def sql(store, query, *values):
    async with store.bell() as bell:  # a connection in the store's schema
        return await (await bell._db.execute(query, values)).fetchall()


async def test_a_url_opens_a_postgres_store(cluster):
    store = open_store(cluster.dsn)
    assert type(store).__name__ == "PostgresStore"
    assert await store.find("nothing") == []
    await store.aclose()


async def test_queued_sessions_are_claimed_once_each_the_longest_waiting_first(place):
    store = place.open()
    names = [f"s{number:02}" for number in range(60)]
    for name in names:
        await store.create(info(name))
        await store.enqueue(name)
    assert {item.state for item in await store.find()} == {"queued"}
    first = await store.claim("w0", 60)
    claimed = [first.session_id]

    async def work(worker):
        while lease := await store.claim(worker, 60):
            assert lease.owner == worker
            claimed.append(lease.session_id)

    async with anyio.create_task_group() as group:
        for number in range(8):  # as many as it has connections
            group.start_soon(work, f"w{number}")
    assert first.session_id == "s00"
    assert sorted(claimed) == names
    assert {item.state for item in await store.find()} == {"running"}


async def test_only_what_is_queued_or_orphaned_is_claimed(store):
    await store.create(info("a"))
    assert await store.claim("w1", 60) is None
    with pytest.raises(NotFound):
        await store.enqueue("nope")
    with pytest.raises(NotFound):
        await store.enqueue("a", tenant="them")
    with pytest.raises(ValueError, match="a worker needs a name"):
        await store.claim("", 60)


async def test_a_worker_runs_a_session_and_gives_it_back(store):
    await store.create(info("a"), [said("hi")])
    await store.enqueue("a")
    lease = await store.claim("w1", 60)
    session = await Session.held(store, lease)
    await session.say(User("more"))
    await store.renew(lease, 60)
    session.note(ended())
    await session.commit()
    await store.release(lease)
    assert [item.state for item in await store.find()] == ["idle"]
    with pytest.raises(JournalError, match="taken up by somebody else"):
        await session.say(User("after it was given back"))
    with pytest.raises(JournalError, match="taken up by somebody else"):
        await store.release(lease)
    assert await store.claim("w2", 60) is None
    assert len(await store.read("a")) == 3


async def test_a_session_whose_lease_ran_out_is_taken_over_and_the_zombie_is_fenced_off(store):
    await store.create(info("a"))
    await store.enqueue("a")
    zombie = await store.claim("w1", 0)
    assert await store.append(zombie, [said("late, but nobody else has it")], after=0) == 1
    alive = await store.claim("w2", 60)
    assert (alive.session_id, alive.owner, alive.epoch) == ("a", "w2", zombie.epoch + 1)
    for write in (
        store.append(zombie, [said("zombie")], after=1),
        store.append(zombie, [said("zombie")]),
        store.renew(zombie, 60),
        store.release(zombie),
    ):
        with pytest.raises(JournalError, match="taken up by somebody else"):
            await write
    assert await store.append(alive, [said("alive")], after=1) == 2
    assert await store.claim("w3", 60) is None


async def test_renewing_keeps_a_session(store):
    await store.create(info("a"))
    await store.enqueue("a")
    lease = await store.claim("w1", 0)
    await store.renew(lease, 60)
    assert await store.claim("w2", 60) is None


async def test_a_session_that_is_queued_while_it_runs_is_claimed_again_when_it_is_released(store):
    await store.create(info("a"))
    await store.enqueue("a")
    lease = await store.claim("w1", 60)
    await store.enqueue("a")
    assert await store.claim("w2", 60) is None
    await store.release(lease)
    assert (await store.claim("w2", 60)).session_id == "a"


async def test_a_person_may_take_a_session_from_its_worker_and_out_of_the_queue(store):
    await store.create(info("a"))
    await store.enqueue("a")
    worker = await store.claim("w1", 60)
    mine = await store.take("a")
    with pytest.raises(JournalError):
        await store.append(worker, [said("zombie")])
    assert await store.append(mine, [said("mine")]) == 1
    await store.enqueue("a")
    await store.take("a")
    assert await store.claim("w1", 60) is None


async def test_a_bell_rings_for_what_is_queued_also_between_two_waits(place):
    store, other = place.open(), place.open()
    await store.create(info("a"))
    async with store.bell() as bell:
        assert await bell.wait(0) is False
        await other.enqueue("a")
        assert await bell.wait(10) is True
        async with anyio.create_task_group() as group:
            rang = []

            async def wait():
                rang.append(await bell.wait(10))

            group.start_soon(wait)
            await other.enqueue("a")
        assert rang == [True]
        assert await bell.wait(0) is False


WORKER = """
import sys, anyio
from agentrt.journal import JournalError
from agentrt.journal.postgres import PostgresStore
from agentrt.journal.records import Said
from agentrt.types import User

async def main():
    store = PostgresStore(sys.argv[1], schema=sys.argv[2])
    lease = await store.claim("worker 1", 0.3)
    number = 0
    while True:
        try:
            number = await store.append(lease, [Said(User(f"worker 1, {number}"))], after=number)
            await store.renew(lease, 0.3)
        except JournalError as error:
            print("refused", error, flush=True)
            break
        print("wrote", number, flush=True)
    await store.aclose()

anyio.run(main)
"""


def start_worker(place):
    command = [sys.executable, "-c", WORKER, place.dsn, place.schema]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("harm", [signal.SIGSTOP, signal.SIGKILL])
async def test_the_session_of_a_worker_that_is_stopped_or_killed_moves_to_another(place, harm):
    store = place.open()
    await store.create(info("a"))
    await store.enqueue("a")
    worker = start_worker(place)
    try:
        for _ in range(5):
            assert (await anyio.to_thread.run_sync(worker.stdout.readline)).startswith("wrote")
        assert await store.claim("worker 2", 60) is None
        worker.send_signal(harm)
        async with store.bell() as bell:
            with anyio.fail_after(30):
                while (lease := await store.claim("worker 2", 60)) is None:
                    await bell.wait(0.05)
        before = await store.read("a")
        assert len(before) >= 5
        session = await Session.held(store, lease)
        await session.say(User("worker 2 goes on"))
        worker.send_signal(signal.SIGCONT)
        said_last = (await anyio.to_thread.run_sync(worker.stdout.read)).splitlines()
        if harm == signal.SIGSTOP:
            assert said_last[-1].startswith("refused session 'a' was taken up by somebody else")
        assert await store.read("a") == [*before, said("worker 2 goes on")]
    finally:
        worker.kill()
        worker.wait()
        worker.stdout.close()


async def test_a_restart_of_the_server_goes_unnoticed_between_two_appends(store, cluster):
    lease = await store.create(info("a"))
    await store.append(lease, [said("one")], after=0)
    await anyio.to_thread.run_sync(cluster.stop)
    try:
        with pytest.raises(
            Unavailable, match="Postgres can't be used.*then go on where it was: agentrt run --resume a"
        ):
            await store.append(lease, [said("two")], after=1)
    finally:
        await anyio.to_thread.run_sync(cluster.start)
    assert await store.append(lease, [said("two")], after=1) == 2
    await anyio.to_thread.run_sync(cluster.stop)
    await anyio.to_thread.run_sync(cluster.start)
    assert await store.append(lease, [said("three")], after=2) == 3
    assert await store.read("a") == [said("one"), said("two"), said("three")]


async def test_a_server_that_does_not_answer_is_an_error_in_time(place):
    from agentrt.journal.postgres import PostgresStore

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        store = PostgresStore(f"postgresql://postgres@127.0.0.1:{port}/postgres", seconds=0.2)
        with pytest.raises(Unavailable, match=r"it did not answer within 0.2 s"):
            await store.find()
        await store.aclose()


async def test_a_damaged_record_is_an_error_that_names_session_and_record(store):
    await store.create(info("a"), [said("one"), said("two")])
    await sql(store, "UPDATE records SET body = left(body, 20) WHERE seq = 2 RETURNING 1")
    with pytest.raises(JournalError, match="record 2 of session 'a' is damaged: Unterminated.*Restore"):
        await store.read("a")


async def test_a_newer_schema_is_refused_with_what_to_do(place):
    await place.open().create(info("a"))
    await sql(place.open(), "UPDATE meta SET version = 99 RETURNING 1")
    with pytest.raises(JournalError, match=r"written by a newer agentrt \(form 99, this one knows \d+\): upgrade"):
        await place.open().find()


async def test_several_stores_may_make_the_tables_at_once(place):
    async with anyio.create_task_group() as group:
        for number in range(6):
            group.start_soon(place.open().create, info(f"s{number}"))
    assert len(await place.open().find()) == 6


async def test_a_store_that_is_closed_says_so(store):
    await store.create(info("a"))
    await store.aclose()
    with pytest.raises(JournalError, match="the store is closed: open a new one"):
        await store.find()
