"""Three workers on one Postgres, and somebody who stops them, kills them, turns their clocks and restarts the server.

``python tests/workers/nemesis.py ROUNDS [SEED]`` prints one line of JSON with what was seen and what went wrong.
"""

import json
import os
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
import psycopg

sys.path.insert(0, str(Path(__file__).parent.parent / "journal"))

from anyio.to_thread import run_sync  # noqa: E402
from journal_places import Cluster, postgres_binaries  # noqa: E402
from nemesis_verdict import TABLES, verdict  # noqa: E402

from agentrt.journal.postgres import PostgresStore  # noqa: E402
from agentrt.journal.records import Said  # noqa: E402
from agentrt.journal.store import SessionInfo  # noqa: E402
from agentrt.types import User  # noqa: E402

WORKER = Path(__file__).with_name("nemesis_worker.py")
WORKERS = 3
LEASE_SECONDS = 1.0
SESSIONS = 16
STEPS = 6
BUSY = 5
UNFINISHED = "owner <> '' OR queued_at IS NOT NULL"
PATIENCE_SECONDS = 60

HARMS = {"stop": 5, "stop two": 1, "kill": 5, "clock": 3, "drain": 2, "restart": 2}


def faketime() -> str:
    """Where the library is that makes another clock of the system's, if it is installed (Debian: faketime)."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    return str(found[0]) if found else ""


@dataclass
class Worker:
    """A worker process, and the files that it reads its clock's error from and writes its log to."""

    name: str
    process: subprocess.Popen
    clock: Path

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self):
        """Wait until it has ended, and return its exit code."""
        code = self.process.wait(PATIENCE_SECONDS)
        self.process.stdin.close()
        return code

    def turn_clock(self, seconds):
        """Make the wall clock wrong by ``seconds``, for Python and for the whole process."""
        for path, text in ((self.clock, str(seconds)), (self.clock.with_suffix(".fake"), f"{seconds:+d}")):
            draft = path.with_suffix(".draft")
            draft.write_text(text)
            draft.replace(path)


class Nemesis:
    """Harms workers, one round after the other, and sees to it that their sessions move."""

    def __init__(self, cluster, rounds, seed, folder, *, harms=HARMS, sabotage=""):
        self.cluster = cluster
        self.rounds = rounds
        self.chance = random.Random(seed)
        self.folder = Path(folder)
        self.harms = harms
        self.sabotage = sabotage
        self.schema = f"n{secrets.token_hex(6)}"
        self.store = PostgresStore(cluster.dsn, schema=self.schema)
        self.workers = {}
        self.started = 0
        self.queued = []
        self.done = dict.fromkeys(harms, 0)
        self.exits = []
        self.stalls = []
        self.downs = []

    async def run(self):
        """Do it all and return the verdict."""
        begin = time.monotonic()
        async with aclosing(self.store):
            await self.store.find()
            await self.sql(TABLES)
            try:
                async with anyio.create_task_group() as group:
                    group.start_soon(self.witness)
                    await self.rounds_and_end()
                    group.cancel_scope.cancel()
            finally:
                self.end_all()
            found = await verdict(self, STEPS)
        return {"rounds": self.done, "seconds": round(time.monotonic() - begin, 1), **found}

    async def rounds_and_end(self):
        for _ in range(WORKERS):
            self.start()
        for _ in range(self.rounds):
            await self.round()
        await self.until(f"SELECT 1 WHERE NOT EXISTS (SELECT FROM sessions WHERE {UNFINISHED})")
        await self.all_ready()
        for worker in list(self.workers.values()):
            await self.drain(worker)

    async def queue_some(self):
        """See to it that there is enough to do."""
        (left,) = (await self.sql(f"SELECT count(*) FROM sessions WHERE {UNFINISHED}"))[0]
        for _ in range(left, BUSY):
            name = f"s{len(self.queued):04}"
            await self.store.create(SessionInfo(name, "", "", 0, 0, 0), [Said(User(name))])
            await self.store.enqueue(name)
            self.queued.append(name)

    async def round(self):
        """Wait until somebody works, then harm."""
        await self.all_ready()
        kinds, weights = zip(*self.harms.items(), strict=True)
        kind = self.chance.choices(kinds, weights)[0]
        victim = await self.somebody_in_the_middle(self.chance.randint(1, 40))
        await {
            "stop": self.stop,
            "stop two": self.stop_two,
            "kill": self.kill,
            "clock": self.clock,
            "drain": self.drain_and_replace,
            "restart": self.restart,
        }[kind](victim)
        self.done[kind] += 1

    async def stop(self, victim):
        """Stop a worker until all that it had has moved, then let the zombie go on."""
        await self.stop_all([victim])

    async def stop_two(self, victim):
        other = self.chance.choice([worker for worker in self.workers.values() if worker is not victim])
        await self.stop_all([victim, other])

    async def stop_all(self, victims):
        for victim in victims:
            victim.signal(signal.SIGSTOP)
        await self.until_moved(victims)
        for victim in victims:
            victim.signal(signal.SIGCONT)

    async def kill(self, victim):
        victim.signal(signal.SIGKILL)
        victim.wait()
        del self.workers[victim.name]
        self.start()
        await self.until_moved([victim])

    async def clock(self, victim):
        """Turn the wall clock, to and fro, while it works."""
        victim.signal(signal.SIGCONT)
        victim.turn_clock(self.chance.choice([-1, 1]) * self.chance.choice([5, 60, 3600, 86_400, 400 * 86_400]))

    async def drain_and_replace(self, victim):
        victim.signal(signal.SIGCONT)
        self.start()
        await self.drain(victim)

    async def drain(self, victim):
        """Ask it to end, as an operator does."""
        victim.signal(signal.SIGTERM)
        del self.workers[victim.name]
        code = await run_sync(victim.wait)
        if code != 0:
            out = (self.folder / f"{victim.name}.out").read_text()[-3000:]
            self.exits.append(f"{victim.name} ended with {code} when it was asked to: {out}")

    async def restart(self, victim):
        victim.signal(signal.SIGCONT)
        down = await self.now()
        await run_sync(self.cluster.stop)
        await run_sync(self.cluster.start)
        self.downs.append((down, await self.now()))

    def start(self):
        self.started += 1
        name = f"w{self.started}"
        clock = self.folder / f"{name}.clock"
        order = {
            "dsn": self.cluster.dsn,
            "schema": self.schema,
            "name": name,
            "lease": LEASE_SECONDS,
            "sessions": SESSIONS,
            "clock": str(clock),
            "log": str(self.folder / f"{name}.log"),
            "ready": str(clock.with_suffix(".ready")),
            "steps": STEPS,
            "sabotage": self.sabotage,
        }
        environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        if faketime():
            environ |= {
                "LD_PRELOAD": faketime(),
                "DONT_FAKE_MONOTONIC": "1",
                "FAKETIME_TIMESTAMP_FILE": str(clock.with_suffix(".fake")),
                "FAKETIME_NO_CACHE": "1",
            }
        with (self.folder / f"{name}.out").open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, str(WORKER), json.dumps(order)],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                env=environ,
            )
        worker = self.workers[name] = Worker(name, process, clock)
        worker.turn_clock(0)

    def end_all(self):
        for worker in self.workers.values():
            with suppress(OSError):
                worker.signal(signal.SIGKILL)
                worker.signal(signal.SIGCONT)
            worker.wait()
        self.workers.clear()
        for left in Path("/dev/shm").glob("*faketime*"):
            pid = left.name.rpartition("_")[2]
            with suppress(OSError):
                if pid.isdigit() and not Path(f"/proc/{pid}").exists():
                    left.unlink()

    async def somebody_in_the_middle(self, records):
        """A worker that is stopped in the middle of a session, once ``records`` more have been written."""
        while True:
            await self.queue_some()
            (count,) = (await self.sql("SELECT count(*) FROM audit"))[0]
            await self.until(f"SELECT 1 FROM audit HAVING count(*) >= {count + records}")
            rows = await self.sql("SELECT DISTINCT owner FROM sessions WHERE owner <> ''")
            for (owner,) in self.chance.sample(rows, len(rows)):
                worker = self.workers[owner]
                worker.signal(signal.SIGSTOP)
                if await self.sql(f"SELECT 1 FROM sessions WHERE owner = '{owner}'"):
                    return worker
                worker.signal(signal.SIGCONT)

    async def all_ready(self):
        with anyio.fail_after(PATIENCE_SECONDS):
            for worker in self.workers.values():
                while not worker.clock.with_suffix(".ready").exists():  # noqa: ASYNC110 - it is another process
                    await anyio.sleep(0.02)

    async def until_moved(self, victims):
        names = ", ".join(f"'{victim.name}'" for victim in victims)
        await self.until(f"SELECT 1 WHERE NOT EXISTS (SELECT FROM sessions WHERE owner IN ({names}))")

    async def until(self, query):
        """Wait until the query gives something; it is asked again whenever something changes."""
        with anyio.move_on_after(PATIENCE_SECONDS):
            while True:
                with suppress(psycopg.OperationalError):
                    async with self.connect() as db:
                        await db.execute("LISTEN nemesis")
                        while not await (await db.execute(query)).fetchall():
                            async for _ in db.notifies(timeout=1, stop_after=1):
                                pass
                        return
                await anyio.sleep(0.1)
        raise TimeoutError(f"{query}\n{await self.told()}")

    async def told(self):
        """What can be said when nothing moves any more."""
        rows = await self.sql("SELECT id, owner, lease_until - clock_timestamp(), state, queued_at, note FROM sessions"
                              f" WHERE {UNFINISHED}")  # fmt: skip
        ends = [f"{name}: {worker.process.poll()}" for name, worker in self.workers.items()]
        outs = [f"{name}: {(self.folder / f'{name}.out').read_text()[-1500:]}" for name in self.workers]
        return "\n".join([*map(str, rows), *ends, *outs])

    async def sql(self, query):
        async with self.connect() as db:
            cursor = await db.execute(query)
            return await cursor.fetchall() if cursor.description else []

    async def now(self):
        return (await self.sql("SELECT extract(epoch FROM clock_timestamp())::float8"))[0][0]

    @asynccontextmanager
    async def connect(self):
        options = f"&options=-c%20search_path%3D{self.schema}"
        db = await psycopg.AsyncConnection.connect(self.cluster.dsn + options, autocommit=True)
        try:
            yield db
        finally:
            db.pgconn.finish()

    async def witness(self):
        """Find out when the machine was too busy for anybody to do anything in time: then the workers were, too.

        It does what an idle worker does, sleep and ask the database, and notes by how much it was late.
        """
        last = time.time()
        while True:
            with suppress(psycopg.OperationalError):
                async with self.connect() as db:
                    while True:
                        await anyio.sleep(0.05)
                        await db.execute("SELECT 1")
                        now = time.time()
                        if now - last > 0.15:
                            self.stalls.append((last, now, now - last - 0.05))
                        last = now
            await anyio.sleep(0.05)


@contextmanager
def private_cluster():
    with tempfile.TemporaryDirectory(prefix="agentrt-pg-", ignore_cleanup_errors=True) as folder:
        cluster = Cluster(postgres_binaries(), Path(folder))
        yield cluster
        cluster.stop()


def main():
    rounds, seed = int(sys.argv[1]), int((sys.argv[2:] or [random.randrange(10**6)])[0])
    with private_cluster() as cluster, tempfile.TemporaryDirectory(prefix="agentrt-nemesis-") as folder:
        found = anyio.run(Nemesis(cluster, rounds, seed, folder).run)
    print(json.dumps({"seed": seed, **found}))
    sys.exit(bool(found["wrong"]))


if __name__ == "__main__":
    main()
