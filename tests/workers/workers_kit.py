"""A worker in this process, what it said, and what is in its store."""

from contextlib import asynccontextmanager
from functools import partial

import anyio
from journal_samples import info, said

from agentrt import Agent
from agentrt.engines.scripted import ScriptedEngine
from agentrt.journal.work import work

PATIENCE_SECONDS = 30


class Notes:
    """The lines that a worker writes, and a way to wait for one."""

    def __init__(self):
        self.lines = []
        self._more = anyio.Event()

    def __call__(self, line):
        self.lines.append(line)
        self._more.set()
        self._more = anyio.Event()

    async def until(self, text, times=1):
        with anyio.fail_after(PATIENCE_SECONDS):
            while sum(text in line for line in self.lines) < times:
                await self._more.wait()


@asynccontextmanager
async def working(store, script, *tools, worker="w1", stop=None, **terms):
    """A worker that runs meanwhile; it is stopped in the end, if it was not before."""
    notes, stop = Notes(), stop or anyio.Event()
    async with Agent(ScriptedEngine(script), tools=tools) as agent, anyio.create_task_group() as group:
        group.start_soon(partial(work, store, lambda lease: agent, worker=worker, stop=stop, note=notes, **terms))
        yield notes
        stop.set()


async def queue(store, *names):
    for name in names:
        await store.create(info(name), [said(f"do {name}")])
        await store.enqueue(name)


async def state(store, name):
    found = await store.lookup(name)
    return found.state, found.note, found.attempts


async def kinds(store, name):
    return [type(record).__name__ for record in await store.read(name)]


async def sql(store, query, *values):
    async with store.bell() as bell:  # a connection in the store's schema
        cursor = await bell._db.execute(query, values)
        return await cursor.fetchall() if cursor.description else []
