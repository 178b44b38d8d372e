"""A worker process for the tests: a scripted model, and tools that leave their effects in the same Postgres.

Arguments, as one JSON object: dsn, schema, name, lease, sessions, clock (a file with the seconds by which the wall
clock is wrong), log (a file for what the store acknowledged and refused), ready (a file to make once it takes
signals), steps (of each session), sabotage (what to break, to see that somebody notices: fence, repeat).
"""

import contextlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import anyio
import psycopg

from agentrt import Agent, tool
from agentrt.engines.scripted import ScriptedEngine, call, calls
from agentrt.journal import JournalError, Unavailable
from agentrt.journal.postgres import PostgresStore
from agentrt.journal.records import Started
from agentrt.journal.work import work
from agentrt.toolset import Key
from agentrt.types import Assistant

UNSAFE = ("pay", "book")
TOOLS = ("look", "put", *UNSAFE)


def shift_clock(path):
    """Make ``time.time`` wrong by what the file says, at any time."""
    right = time.time

    def wrong():
        try:
            return right() + float(path.read_text() or 0)
        except (OSError, ValueError):
            return right()

    time.time = wrong


class WitnessedStore(PostgresStore):
    """Writes down, one line each, what was acknowledged to this process and what was refused."""

    def __init__(self, dsn, schema, log):
        super().__init__(dsn, schema=schema, seconds=10)
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    async def append(self, lease, records, *, after=None):
        try:
            last = await super().append(lease, records, after=after)
        except Unavailable:
            raise
        except JournalError:
            os.write(self.log, f"refused {lease.session_id} {lease.epoch}\n".encode())
            raise
        before = last - len(records) if after is None else after
        os.write(self.log, f"wrote {lease.session_id} {lease.epoch} {before} {last}\n".encode())
        return last


class OpenFence(WitnessedStore):
    """Lets anybody write."""

    async def append(self, lease, records, *, after=None):
        return await super().append(lease, records)


def sabotage(what):
    """Break what keeps zombies out, or what keeps an unsafe call from being repeated; return the store's class."""
    if what == "fence":
        from agentrt.journal import postgres

        postgres._APPEND = postgres._APPEND.replace("AND epoch = %(epoch)s AND owner = %(owner)s", "")
        return OpenFence
    if what == "repeat":
        from agentrt.journal import session

        fold = session.fold

        def forgetful(records):
            return fold([record for record in records if not isinstance(record, Started)])

        session.fold = forgetful
    return WitnessedStore


class Effects:
    """The outside world: a table in which every effect leaves a row."""

    def __init__(self, dsn, schema, worker, answer_seconds):
        self.answer_seconds = answer_seconds
        self.dsn = f"{dsn}&options=-c%20search_path%3D{schema}"
        self.worker = worker
        self.one_at_a_time = anyio.Lock()
        self.db = None
        self.chance = random.Random()

    async def sql(self, query, *values):
        async with self.one_at_a_time:
            with anyio.CancelScope(shield=True):
                try:
                    if self.db is None:
                        self.db = await psycopg.AsyncConnection.connect(self.dsn, autocommit=True)
                    cursor = await self.db.execute(query, values)
                    return await cursor.fetchall() if cursor.description else []
                except psycopg.Error:
                    if self.db is not None:
                        self.db.pgconn.finish()
                        self.db = None
                    raise

    async def happen(self, kind, session, step, key):
        await anyio.sleep(self.chance.uniform(0, 0.03))
        await self.sql(
            "INSERT INTO effects (kind, session, step, key, worker) VALUES (%s, %s, %s, %s, %s)",
            kind,
            session,
            step,
            key,
            self.worker,
        )
        await anyio.sleep(self.chance.uniform(0, self.answer_seconds if kind in UNSAFE else 0.03))
        return f"{kind} {step} is done"

    def tools(self):
        @tool(read_only=True)
        async def look(session: str, step: int, key: Key) -> str:
            """Look."""
            return await self.happen("look", session, step, key)

        @tool(idempotent=True)
        async def put(session: str, step: int, key: Key) -> str:
            """Put it there."""
            return await self.happen("put", session, step, key)

        @tool
        async def pay(session: str, step: int, key: Key) -> str:
            """Pay; nobody can tell afterwards whether it was paid."""
            return await self.happen("pay", session, step, key)

        async def booked(key: str, session: str, step: int) -> str | None:
            found = await self.sql("SELECT 1 FROM effects WHERE key = %s", key)
            return f"book {step} is done" if found else None

        @tool(verify=booked)
        async def book(session: str, step: int, key: Key) -> str:
            """Book; one can see afterwards what was booked."""
            return await self.happen("book", session, step, key)

        return [look, put, pay, book]


def script(steps):
    """Each step calls all tools once; where a session is, is counted from its transcript."""

    def answer(request):
        session = request.transcript[0].text
        step = sum(isinstance(item, Assistant) for item in request.transcript)
        if step == steps:
            return "done"
        return calls(*(call(name, {"session": session, "step": step}) for name in TOOLS))

    return answer


async def main(order):
    store = sabotage(order["sabotage"])(
        f"{order['dsn']}&options=-c%20nemesis.worker%3D{order['name']}", order["schema"], order["log"]
    )
    answer_seconds = 0.3 if order["sabotage"] else 0.03  # what is broken shows while an answer is awaited
    effects = Effects(order["dsn"], order["schema"], order["name"], answer_seconds)
    stop = anyio.Event()

    async def listen(*, task_status):
        with anyio.open_signal_receiver(signal.SIGTERM) as signals:
            task_status.started()
            async for _ in signals:
                stop.set()

    engine = ScriptedEngine(script(order["steps"]))
    engine.requests = _Forgetful()
    async with Agent(engine, tools=effects.tools()) as agent, anyio.create_task_group() as group:
        await group.start(listen)
        group.start_soon(end_with, sys.stdin)
        await anyio.Path(order["ready"]).touch()
        while True:
            with contextlib.suppress(Unavailable):  # the server is away to begin with: start again
                await work(
                    store,
                    lambda lease: agent,
                    worker=order["name"],
                    stop=stop,
                    lease_seconds=order["lease"],
                    sessions=order["sessions"],
                    attempts=1000,
                    suspect_after=1000,
                    drain_seconds=0.1,
                    note=lambda line: print(line, flush=True),
                )
                break
            await anyio.sleep(0.1)
        group.cancel_scope.cancel()
    await store.aclose()


async def end_with(stream):
    """End on the spot when whoever started this has ended, however that was."""
    await anyio.wait_readable(stream)
    os._exit(9)


class _Forgetful(list):
    def append(self, item):
        pass


if __name__ == "__main__":
    order = json.loads(sys.argv[1])
    shift_clock(Path(order["clock"]))
    anyio.run(main, order)
