"""Workers that are processes of their own, and what happens when they die."""

import os
from contextlib import aclosing

import anyio
import pytest

from agentrt.batch import Batch, LocalFleet, Order, ResultsFile, Task, jobs
from agentrt.batch.fleet import Foreman, WorkerLost
from agentrt.errors import ConfigError
from agentrt.journal import open_store
from agentrt.journal.records import InDoubt

pytestmark = pytest.mark.anyio


class Site:
    """A batch with its files, run again and again."""

    def __init__(self, folder, kit, *texts, crew=None):
        self.jobs = jobs([Task(number, text) for number, text in enumerate(texts)], "pool")
        self.order = Order(crew or kit.crew, str(folder / "s.db"), retries=1, wait_seconds=0.0)
        self.out = folder / "r.jsonl"
        self.notes = []
        self.seen = {}

    async def run(self, *, workers=2, sessions=4):
        def seen(job, found, earlier):
            assert (job.task.id, earlier) not in self.seen
            self.seen[job.task.id, earlier] = found

        async with aclosing(open_store(self.order.store)) as store:
            batch = Batch(self.jobs, store, ResultsFile(self.out), seen, self.notes.append)
            fleet = LocalFleet(self.order, note=self.notes.append)
            await batch.run(fleet, workers=workers, sessions=sessions)
        return self

    def texts(self, *, earlier=False):
        return {name: found.text for (name, old), found in self.seen.items() if old == earlier}

    async def records(self, number):
        async with aclosing(open_store(self.order.store)) as store:
            return await store.read(self.jobs[number].session)


async def test_many_sessions_run_in_a_few_processes_each_once(kit, tmp_path):
    site = await Site(tmp_path, kit, *(f"effect {number}" for number in range(60))).run(sessions=20)
    assert site.texts() == {number: f"did {number}" for number in range(60)}
    assert sorted(kit.logged("effects"), key=int) == [str(number) for number in range(60)]
    assert len(site.out.read_text().splitlines()) == 60
    assert site.notes == []


async def test_the_same_batch_again_runs_nothing_and_tells_the_same(kit, tmp_path):
    site = await Site(tmp_path, kit, "effect 1", "effect 2").run()
    first = site.out.read_text()
    await site.run()
    assert site.out.read_text() == first
    assert len(kit.logged("effects")) == 2
    site.out.unlink()
    site.seen.clear()
    await site.run()
    assert sorted(site.out.read_text().splitlines()) == sorted(first.splitlines())
    assert site.texts(earlier=True) == {0: "did 1", 1: "did 2"}


async def test_an_unsafe_call_over_which_a_worker_was_killed_is_in_doubt_and_not_repeated(kit, tmp_path):
    site = await Site(tmp_path, kit, "die a", *(f"effect {number}" for number in range(10))).run()
    assert sorted(site.texts()) == list(range(11))
    assert all(found.done for found in site.seen.values())
    assert "whether it took effect is unknown" in site.texts()[0]
    effects = kit.logged("effects")
    assert len(effects) == len(set(effects))
    assert effects.count("a") == 1
    assert [record.result.call_id for record in await site.records(0) if isinstance(record, InDoubt)]
    assert any("was killed by SIGKILL" in note and "go on elsewhere" in note for note in site.notes)


async def test_a_read_over_which_a_worker_was_killed_is_repeated(kit, tmp_path):
    site = await Site(tmp_path, kit, "die_once b", *(f"look {number}" for number in range(10))).run()
    assert site.texts() == {0: "saw b", **{number + 1: f"saw {number}" for number in range(10)}}
    assert kit.logged("looks").count("b") == 2


async def test_a_task_that_kills_whoever_runs_it_fails_alone(kit, tmp_path):
    site = await Site(tmp_path, kit, "always_die x", *(f"look {number}" for number in range(7))).run(workers=1)
    poison = site.seen.pop((0, False))
    assert poison.reason == "failed"
    assert poison.error.startswith("its worker was lost 4 times: process ")
    assert site.texts() == {number + 1: f"saw {number}" for number in range(7)}


async def test_a_worker_that_can_not_open_its_tools_ends_the_batch_with_its_own_words(kit, tmp_path):
    with pytest.raises(ConfigError, match="there is nobody to employ"):
        await Site(tmp_path, kit, "look 1", crew=kit.no_crew).run(workers=1)


async def test_a_worker_that_can_not_even_load_what_it_should_run_says_so(kit, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "")
    with pytest.raises(ConfigError, match="a worker can't load what it should run: No module named 'batch_kit'"):
        await Site(tmp_path, kit, "look 1").run(workers=1)


async def test_what_tools_print_is_passed_on_and_spoils_nothing(kit, tmp_path):
    site = await Site(tmp_path, kit, "chatter x").run()
    assert site.texts() == {0: "said x"}
    assert site.notes == ["out loud: x", "aside: x"]


async def test_leaving_a_batch_cancels_what_runs_and_another_run_goes_on(kit, tmp_path):
    site = Site(tmp_path, kit, "hang x", "look 1")
    async with anyio.create_task_group() as group:
        group.start_soon(site.run)
        while not kit.logged("hanging") or (1, False) not in site.seen:
            await anyio.wait_all_tasks_blocked()
            await anyio.sleep(0.01)
        group.cancel_scope.cancel()
    (pid,) = map(int, kit.logged("hanging"))
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    await site.run()
    assert site.texts() == {0: "saw x", 1: "saw 1"}


class ShakyFleet:
    """Workers in this process that are lost after a number of jobs, in turn."""

    def __init__(self, lifetimes):
        self.lifetimes = iter(lifetimes)
        self.ran = []

    def worker(self):
        return self

    async def __aenter__(self):
        self.left = next(self.lifetimes, None)
        if self.left == 0:
            raise WorkerLost("it did not even start")
        return self

    async def __aexit__(self, *error):
        return None

    async def run(self, job):
        await anyio.lowlevel.checkpoint()
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise WorkerLost("it fell over")
        self.ran.append(job)
        return job.session


async def foreman(fleet, todo, *, workers, sessions):
    told, notes = [], []

    async def prepare(job):
        await anyio.lowlevel.checkpoint()

    def report(job, found):
        told.append((job, found))

    boss = Foreman(fleet, prepare=prepare, report=report, note=notes.append, workers=workers, sessions=sessions)
    await boss.run(todo)
    return told, notes


@pytest.mark.parametrize("sessions", [1, 3, 10])
@pytest.mark.parametrize("lifetimes", [[], [1], [5, 2, 7], [3, 0, 3, 0, 3]])
async def test_every_job_is_told_once_however_often_workers_are_lost(sessions, lifetimes):
    todo = jobs([Task(number, "x") for number in range(20)], "b")
    told, notes = await foreman(ShakyFleet(lifetimes), todo, workers=1, sessions=sessions)
    assert sorted(job.task.id for job, _ in told) == list(range(20))
    assert all(found == job.session for job, found in told)
    assert len(notes) == len(lifetimes)


async def test_workers_that_never_start_end_the_batch(monkeypatch):
    monkeypatch.setattr("agentrt.batch.fleet.RESTART_SECONDS", 0.0)
    with pytest.raises(WorkerLost, match="it did not even start"):
        await foreman(ShakyFleet([0, 0, 0]), jobs([Task(1, "x")], "b"), workers=1, sessions=1)


async def test_nothing_to_do_starts_nobody():
    assert await foreman(None, [], workers=2, sessions=2) == ([], [])
