"""One worker: what it claims, how it lets go of it, and what it does when something is away or keeps failing."""

import re
from pathlib import Path

import anyio
import pytest
from journal_samples import ended, info, said
from workers_kit import kinds, queue, sql, state, working

from agentrt import ToolResult, tool
from agentrt.engines.scripted import call, calls
from agentrt.errors import EngineError, EngineRefused
from agentrt.journal import Session, Unavailable, fold
from agentrt.journal.postgres import PostgresStore
from agentrt.journal.records import Ended
from agentrt.journal.work import work
from agentrt.types import Assistant, User

pytestmark = pytest.mark.anyio


class Step:
    """A tool that may be held up. ``running`` are the sessions that are in it now."""

    def __init__(self):
        self.calls = []
        self.running = set()
        self.cancelled = []
        self.held = {}
        self.changed = anyio.Event()

    def hold(self, name):
        self.held[name] = anyio.Event()

    async def until(self, reached):
        with anyio.fail_after(30):
            while not reached(self):
                await self.changed.wait()

    def tell(self):
        self.changed.set()
        self.changed = anyio.Event()

    def tool(self, **promises):
        @tool(**promises)
        async def step(name: str) -> str:
            """Take a step."""
            self.calls.append(name)
            self.running.add(name)
            self.tell()
            try:
                if name in self.held:
                    await self.held[name].wait()
                return f"{name} is done"
            except BaseException:
                self.cancelled.append(name)
                raise
            finally:
                self.running.discard(name)
                self.tell()

        return step


def once(request):
    """Take a step under the name of the session, and then say so."""
    name = request.transcript[0].text.removeprefix("do ")
    if not any(isinstance(item, ToolResult) for item in request.transcript):
        return calls(call("step", {"name": name}))
    return "done"


def twice(request):
    name = request.transcript[0].text.removeprefix("do ")
    turns = sum(isinstance(item, Assistant) for item in request.transcript)
    return calls(call("step", {"name": f"{name}.{turns}"})) if turns < 2 else "done"


async def results(store, name):
    return [item.text for item in fold(await store.read(name)).transcript if isinstance(item, ToolResult)]


async def test_what_was_queued_before_and_what_is_queued_meanwhile_is_run_to_its_end(place):
    store = place.open()
    await queue(store, "a", "b")
    step = Step()
    async with working(store, once, step.tool(), lease_seconds=60) as notes:
        await notes.until(": done", 2)
        await queue(place.open(), "c")
        await notes.until("c: done")
    for name in "abc":
        records = await store.read(name)
        assert (records[-1].reason, await results(store, name)) == ("done", [f"{name} is done"])
        assert await state(store, name) == ("idle", "", 0)
    assert sorted(step.calls) == ["a", "b", "c"]


async def test_a_worker_runs_as_many_at_a_time_as_it_was_told_over_one_open_agent(store):
    step = Step()
    for name in "abcd":
        step.hold(name)
    await queue(store, *"abcd")
    async with working(store, once, step.tool(), sessions=3) as notes:
        await step.until(lambda step: step.running == {"a", "b", "c"})
        assert [await state(store, name) for name in "abcd"] == [*[("running", "", 1)] * 3, ("queued", "", 0)]
        step.held["b"].set()
        await step.until(lambda step: step.running == {"a", "c", "d"})
        for held in step.held.values():
            held.set()
        await notes.until(": done", 4)


async def test_a_stopped_worker_with_nothing_to_do_ends_at_once(store):
    stop = anyio.Event()
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: work(store, None, worker="w", stop=stop, lease_seconds=600))
            await anyio.lowlevel.checkpoint()
            stop.set()


async def test_a_dead_workers_session_is_taken_over_when_its_lease_ends_however_long_ones_own_lease_is(store):
    await queue(store, "a")
    dead = await store.claim("dead", 0.5)
    async with working(store, once, Step().tool(), lease_seconds=600) as notes:
        await notes.until("a: done")
    assert dead.attempts == 0
    assert (await store.read("a"))[-1].reason == "done"


async def test_a_session_that_somebody_takes_stops_at_once_and_the_worker_goes_on_with_others(store):
    step = Step()
    step.hold("a")
    await queue(store, "a")
    async with working(store, once, step.tool(), lease_seconds=0.3, sessions=1) as notes:
        await step.until(lambda step: "a" in step.running)
        mine = await Session.resume(store, "a")
        there = await store.read("a")
        await step.until(lambda step: step.cancelled == ["a"])
        await notes.until("a: lost: somebody else has it")
        assert await store.read("a") == there
        await queue(store, "b")
        await notes.until("b: done")
    await mine.commit()
    assert await state(store, "a") == ("open", "", 0)


async def test_a_stopped_worker_lets_what_runs_come_to_the_end_of_its_turn_and_another_goes_on_there(place):
    store, step, stop = place.open(), Step(), anyio.Event()
    step.hold("a.0")
    await queue(store, "a")
    async with working(store, twice, step.tool(), stop=stop, drain_seconds=60) as notes:
        await step.until(lambda step: "a.0" in step.running)
        stop.set()
        await queue(store, "b")  # nothing is claimed any more
        step.held["a.0"].set()
        await notes.until("a: put back")
    assert await state(store, "a") == ("queued", "", 0)
    assert await state(store, "b") == ("queued", "", 0)
    assert (await kinds(store, "a"))[-2:] == ["Landed", "Closed"]
    async with working(place.open(), twice, step.tool(), worker="w2") as notes:
        await notes.until(": done", 2)
    assert await results(store, "a") == ["a.0 is done", "a.1 is done"]
    assert sorted(step.calls) == ["a.0", "a.1", "b.0", "b.1"]


async def test_what_does_not_come_to_the_end_of_its_turn_in_time_is_cancelled_and_put_back(place):
    store, step, stop = place.open(), Step(), anyio.Event()
    step.hold("a")
    await queue(store, "a")
    async with working(store, once, step.tool(), stop=stop, drain_seconds=0.05) as notes:
        await step.until(lambda step: "a" in step.running)
        stop.set()
        await notes.until("a: put back")
    assert await state(store, "a") == ("queued", "", 0)
    async with working(place.open(), once, step.tool(), worker="w2") as notes:
        await notes.until("a: done")
    assert step.calls == ["a"]
    (told,) = await results(store, "a")
    assert "whether it took effect is unknown" in told


async def test_a_worker_that_is_cancelled_gives_back_what_it_has(store):
    step = Step()
    step.hold("a")
    await queue(store, "a")
    with anyio.CancelScope() as scope:
        async with working(store, once, step.tool(), lease_seconds=600):
            await step.until(lambda step: "a" in step.running)
            scope.cancel()
    assert await state(store, "a") == ("queued", "", 0)


async def test_an_engine_that_is_down_parks_the_session_for_twice_as_long_each_time(store):
    away = [EngineError("no route to the model")] * 3

    def script(request):
        if away:
            raise away.pop()
        return "done"

    await queue(store, "a")
    async with working(store, script, park_seconds=0.05) as notes:
        await notes.until("a: done")
    assert [line for line in notes.lines if "parked" in line] == [
        f"a: parked for {seconds} s: no route to the model" for seconds in ("0.05", "0.1", "0.2")
    ]
    assert await state(store, "a") == ("idle", "", 0)


async def test_a_parked_session_says_why_and_is_run_at_once_when_it_is_queued_again(store):
    down = True

    def script(request):
        if down:
            raise EngineError("no route to the model")
        return "done"

    await queue(store, "a")
    async with working(store, script, park_seconds=600) as notes:
        await notes.until("a: parked for 300 s")
        assert await state(store, "a") == ("parked", "no route to the model", 0)
        assert await store.claim("other", 60) is None
        assert 290 < await store.due() < 300
        down = False
        await store.enqueue("a")
        await notes.until("a: done")
    assert await state(store, "a") == ("idle", "", 0)


@pytest.mark.parametrize(
    ("error", "why"),
    [(EngineRefused("unknown model"), "unknown model"), (RuntimeError("a bug"), "RuntimeError: a bug")],
)
async def test_a_session_that_keeps_failing_is_set_aside_with_the_reason(store, error, why):
    def script(request):
        if request.transcript[0].text == "do a":
            raise error
        return "done"

    await queue(store, "a", "b")
    async with working(store, script, park_seconds=0.01, attempts=3) as notes:
        await notes.until("a: set aside")
        await notes.until("b: done")
        assert await state(store, "a") == ("aside", f"{why} (attempt 3, the last)", 3)
        assert await store.due() is None
    assert sum("a: parked" in line for line in notes.lines) == 2


async def test_a_session_that_was_set_aside_is_as_new_when_it_is_queued_again(store):
    await queue(store, "a")
    lease = await store.claim("w", 60)
    await store.begin(lease)
    await store.set_aside(lease, "it failed")
    assert await state(store, "a") == ("aside", "it failed", 1)
    await store.enqueue("a")
    assert await state(store, "a") == ("queued", "", 0)
    assert (await store.claim("w", 60)).attempts == 0


async def test_a_session_that_cannot_be_read_is_set_aside_at_once(store):
    await queue(store, "a", "b")
    await sql(store, "UPDATE records SET body = 'x' WHERE session = (SELECT number FROM sessions WHERE id = 'a')")
    async with working(store, ["done"]) as notes:
        await notes.until("a: set aside: record 1 of session 'a' is damaged")
        await notes.until("b: done")
    kept, why, _ = await state(store, "a")
    assert (kept, why[:40]) == ("aside", "record 1 of session 'a' is damaged: Expe")


async def test_a_session_that_was_deleted_meanwhile_is_nobodys(store):
    step = Step()
    step.hold("a")
    await queue(store, "a")
    async with working(store, once, step.tool(), lease_seconds=0.3) as notes:
        await step.until(lambda step: "a" in step.running)
        await store.delete("a")
        await notes.until("a: lost")


async def test_one_that_lost_its_workers_before_runs_alone_and_is_counted_only_then(store):
    step = Step()
    for name in "abc":
        step.hold(name)
    await queue(store, "a", "b")
    async with working(store, once, step.tool()) as notes:
        await step.until(lambda step: step.running == {"a", "b"})
        await store.create(info("suspect"), [said("do suspect")])
        await sql(store, "UPDATE sessions SET attempts = 2, queued_at = '2000-01-01' WHERE id = 'suspect'")
        step.hold("suspect")
        await queue(store, "c")
        step.held["a"].set()
        await notes.until("a: done")
        assert await state(store, "suspect") == ("running", "", 2)
        assert step.running == {"b"}
        step.held["b"].set()
        await step.until(lambda step: step.running == {"suspect"})
        assert await state(store, "suspect") == ("running", "", 3)
        assert await state(store, "c") == ("queued", "", 0)
        step.held["suspect"].set()
        await step.until(lambda step: step.running == {"c"})
        step.held["c"].set()
        await notes.until(": done", 4)


async def test_one_that_has_lost_too_many_workers_is_not_run_again(store):
    await queue(store, "a")
    step = Step()
    for number in range(3):
        await store.begin(await store.claim(f"dead {number}", 0))
    async with working(store, once, step.tool(), attempts=3) as notes:
        await notes.until("a: set aside")
    assert await state(store, "a") == ("aside", "it failed or lost its worker 3 times in a row", 3)
    assert step.calls == []


async def test_a_restart_of_the_server_costs_a_running_session_nothing(store, cluster):
    step = Step()
    step.hold("a")
    await queue(store, "a")
    async with working(store, once, step.tool(), lease_seconds=60) as notes:
        await step.until(lambda step: "a" in step.running)
        await anyio.to_thread.run_sync(cluster.stop)
        try:
            step.held["a"].set()
            await step.until(lambda step: not step.running)  # its result can't be written down now
        finally:
            await anyio.to_thread.run_sync(cluster.start)
        await notes.until("a: done")
        await queue(store, "b")
        await notes.until("b: done")
    assert step.calls == ["a", "b"]
    assert await results(store, "a") == ["a is done"]
    assert "InDoubt" not in await kinds(store, "a")


async def test_a_store_that_is_away_to_begin_with_is_an_error(tmp_path):
    store = PostgresStore(f"postgresql://postgres@/postgres?host={tmp_path}")
    with pytest.raises(Unavailable, match="the journal in Postgres can't be used"):
        await work(store, None, worker="w", stop=anyio.Event())
    await store.aclose()


async def test_a_session_that_was_over_is_left_as_it_is(store):
    await store.create(info("a"), [said("hi"), Ended("done", 1, 0, ended().usage, 0.5)])
    session = await Session.resume(store, "a")
    await session.say(User("more"))
    await store.enqueue("a")
    async with working(store, ["first", "never"]) as notes:
        await notes.until("a: done")
        await store.enqueue("a")
        await notes.until("a: done", 2)
    said_by_model = [item.text for item in fold(await store.read("a")).transcript if isinstance(item, Assistant)]
    assert said_by_model == ["first"]


async def test_an_older_database_is_brought_up_to_date_with_what_is_in_it(place):
    from agentrt.journal import postgres_schema

    steps = postgres_schema.STEPS
    postgres_schema.STEPS = steps[:1]
    try:
        await sql(
            place.open(),
            "INSERT INTO sessions (id, tenant, title, engine, parent, state, records, epoch, queued_at)"
            " VALUES ('old', '', 'old', '', '', 'open', 0, 7, now())",
        )
    finally:
        postgres_schema.STEPS = steps
    store = place.open()
    assert await state(store, "old") == ("queued", "", 0)
    assert (await store.claim("w", 60)).epoch == 8


async def test_the_queries_of_the_manual_work(store):
    await queue(store, "a", "b")
    manual = (Path(__file__).parents[2] / "docs" / "workers.md").read_text()
    (block,) = re.findall(r"```sql\n(.*?)```", manual, re.DOTALL)
    queries = [query for query in re.sub(r"--.*", "", block).split(";") if query.strip()]
    await store.set_aside(await store.claim("w", 60), "it failed")
    waiting, running, parked, aside, doubted = [await sql(store, query) for query in queries]
    assert (waiting[0][0], running, parked, aside, doubted) == (1, [], [], [("a", 0, "it failed")], [])
