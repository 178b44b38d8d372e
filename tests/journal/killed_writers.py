"""Forks writers of one journal, kills each with SIGKILL at a random moment, and looks at what is there.

Prints one line of JSON. Its own program, so that it forks before it has a thread.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import anyio

from agentrt.journal.records import Landed, Said
from agentrt.journal.sqlite import SqliteStore
from agentrt.journal.store import SessionInfo
from agentrt.types import ToolResult, User

SESSIONS = 3


def texts(number):
    """What the append with this number writes: now and then something large, which goes to a file."""
    large = [Landed(ToolResult("c", "t", f"{number} " * 30_000))] if number % 5 == 3 else []
    return [Said(User(f"text {number}")), *large]


async def write(path, generation, acknowledged):
    store = SqliteStore(path)

    async def session(index):
        name = f"g{generation}-s{index}"
        lease = await store.create(SessionInfo(name, "", "", 0, 0, 0))
        number = last = 0
        while True:
            last = await store.append(lease, texts(number), after=last)
            number += 1
            os.write(acknowledged, f"{name} {number}\n".encode())

    async with anyio.create_task_group() as group:
        for index in range(SESSIONS):
            group.start_soon(session, index)


def kill_one(path, generation, chance):
    """Let a writer write, kill it, and return how many appends it acknowledged, by session."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            anyio.run(write, path, generation, writing)
        finally:
            os._exit(1)  # it ends by its kill only
    os.close(writing)
    first = os.read(reading, 1)
    time.sleep(chance.uniform(0, 0.03))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as pipe:
        lines = (first + pipe.read()).decode().splitlines(keepends=True)
    counts = {}
    for line in lines:
        if line.endswith("\n"):
            name, number = line.split()
            counts[name] = int(number)
    return counts


async def lost(path, counts):
    """What was acknowledged and is not there, or is there and should not be."""
    store = SqliteStore(path)
    wrong = await store.integrity()
    for info in await store.find(limit=10_000):
        records = await store.read(info.id)
        whole = []
        number = 0
        while len(whole) < len(records):
            whole += texts(number)
            number += 1
        if records != whole or number < counts.get(info.id, 0):
            wrong.append(f"{info.id}: {counts.get(info.id, 0)} acknowledged, {number} there, {len(records)} records")
    await store.aclose()
    return wrong


def main():
    path, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    chance = random.Random(seed)
    counts = {}
    for generation in range(kills):
        counts |= kill_one(path, generation, chance)
    print(json.dumps({"kills": kills, "acknowledged": sum(counts.values()), "wrong": anyio.run(lost, path, counts)}))


main()
