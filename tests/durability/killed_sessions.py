"""Runs sessions in workers that are killed again and again, and looks at what came of every call.

Prints one line of JSON. Its own program, so that it forks before it has a thread.
"""

import ctypes
import hashlib
import json
import os
import random
import signal
import sys
import time
import traceback
from collections import Counter, defaultdict
from contextlib import suppress
from pathlib import Path

import anyio
import killed_worker
from killed_worker import Boundaries, effects

from agentrt import signature  # noqa: F401 - imported once, before any worker is forked
from agentrt.journal import fold
from agentrt.journal.records import Cleared, InDoubt, Intended, Landed, Reconciled, Started, dump
from agentrt.journal.sqlite import SqliteStore
from agentrt.types import Assistant, ToolResult

SESSION_SECONDS = 0.12
PR_SET_CHILD_SUBREAPER = 36
PLAIN = ("pay", "send")


class Harness:
    """Starts workers, kills them, and counts."""

    def __init__(self, folder, seed):
        self.folder = folder
        self.chance = random.Random(seed)
        self.kills = 0
        self.sessions = 0
        self.failures = []

    def session(self, kind):
        """A name for the next session."""
        self.sessions += 1
        return f"{kind}-{self.sessions}"

    def generation(self, name, turns, *, kill_at=0, server_kill_at=0, seconds=None, early=False):
        """One worker on the session. Return whether it ended by itself, which only an unharmed one does.

        ``kill_at`` and ``server_kill_at`` are boundaries; ``seconds`` is when to kill it from outside, counted
        from the moment that its tools are up, or if ``early`` from its start.
        """
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            work(self.folder, name, turns, kill_at, server_kill_at, writing)
        os.setpgid(child, child)
        os.close(writing)
        if not early:
            os.read(reading, 1)
        if seconds is not None:
            time.sleep(seconds)
            os.killpg(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        os.close(reading)
        if os.WIFSIGNALED(status):
            self.kills += 1
        elif os.WEXITSTATUS(status):
            self.failures.append(f"{name}: {(self.folder / f'{name}.error').read_text()[-2000:]}")
        return not os.WIFSIGNALED(status)

    def boundaries(self, name):
        """How many boundaries the session's last generation had."""
        return int((self.folder / f"{name}.boundaries").read_text())

    def at_boundaries(self, limit):
        """Kill at every boundary, over and over with another second kill each time."""
        name = self.session("whole")
        self.generation(name, 1)
        last = self.boundaries(name)
        while self.kills < limit:
            self.every_server_boundary(limit)
            self.every_boundary(last, limit)

    def every_boundary(self, last, limit):
        """Kill one session at its first boundary, the next at its second and so on; and each once more later."""
        for at in range(1, last + 1):
            if self.kills >= limit:
                return
            name = self.session("boundary")
            if not self.generation(name, 1, kill_at=at):
                self.generation(name, 1, kill_at=self.chance.randint(1, max(1, last - at)))
            self.finish(name, 1)

    def every_server_boundary(self, limit):
        """Kill the worker while its MCP server works on a call."""
        for at in range(1, 2 * 2 + 1):
            if self.kills < limit:
                name = self.session("server")
                self.generation(name, 1, server_kill_at=at)
                self.finish(name, 1)

    def at_moments(self, limit):
        """Kill sessions at random moments until they have come to their end all the same."""
        while self.kills < limit:
            name, ended = self.session("random"), False
            while not ended:
                early = self.chance.random() < 0.2
                seconds = self.chance.uniform(0, SESSION_SECONDS) if self.kills < limit else None
                ended = self.generation(name, 3, seconds=seconds, early=early)

    def finish(self, name, turns):
        if not self.failures and not self.generation(name, turns):
            self.failures.append(f"{name}: killed by nobody")


def work(folder, name, turns, kill_at, server_kill_at, writing):
    """What a forked worker does. Never returns."""
    with suppress(PermissionError):  # the parent was quicker
        os.setpgid(0, 0)
    try:
        boundaries = Boundaries(kill_at)
        ready = lambda: os.write(writing, b".")  # noqa: E731
        anyio.run(killed_worker.run, folder, name, turns, boundaries, server_kill_at, ready)
        os._exit(0)
    except BaseException:  # noqa: BLE001 - whatever it is, the parent reports it
        (folder / f"{name}.error").write_text(traceback.format_exc())
        os._exit(1)


def adopt_orphans():
    """Have the servers of killed workers handed to us, so that we can wait until none is at work any more."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def wait_for_orphans():
    with suppress(ChildProcessError):
        while True:
            os.wait()


class Report:
    """What came of every call of every session."""

    def __init__(self, folder):
        self.folder = folder
        self.wrong = []
        self.calls = Counter()
        self.fates = defaultdict(Counter)
        self.duplicates = Counter()
        self.acknowledged = 0
        self.records = 0

    def check(self, name, records):
        """Look at one session."""
        self.records += len(records)
        self._acknowledged(name, records)
        folded = fold(records)
        if folded.open_turn is not None or folded.transcript[-1] != Assistant("all done"):
            self.wrong.append(f"{name}: it did not come to its end")
        done = defaultdict(list)
        for tool, n, key in effects(self.folder / f"{name}.effects"):
            done[tool, n].append(key)
        keys = {record.call_id: record.key for record in records if isinstance(record, Intended)}
        told = {}
        for message in folded.transcript:
            if isinstance(message, ToolResult):
                n = len(told)
                told[message.name.removeprefix("notes__"), n] = message
        for (tool, n), result in told.items():
            self._call(name, tool, n, result, done.pop((tool, n), []), keys[result.call_id], records)
        if done:
            self.wrong.append(f"{name}: effects that no call asked for: {dict(done)}")

    def _acknowledged(self, name, records):
        for line in (self.folder / f"{name}.acknowledged").read_text().splitlines():
            last, digest = line.split()
            self.acknowledged += 1
            if int(last) > len(records) or hashlib.sha256(dump(records[int(last) - 1])).hexdigest() != digest:
                self.wrong.append(f"{name}: record {last} was acknowledged and is lost")

    def _call(self, name, tool, n, result, done, key, records):
        self.calls[tool] += 1
        mine = [record for record in records if _of(record) == result.call_id]
        fates = {type(record).__name__ for record in mine} & {"InDoubt", "Reconciled", "Cleared"}
        self.fates[tool].update(fates)
        if tool == "look":
            return
        ends = sum(isinstance(record, Landed | InDoubt | Reconciled) for record in mine)
        if ends != 1:
            self.wrong.append(f"{name}: {tool} {n} came to an end {ends} times")
        if set(done) - {key}:
            self.wrong.append(f"{name}: {tool} {n} was done under {done}, its key is {key}")
        self.duplicates[tool] += len(done) > 1
        if "InDoubt" in fates:
            self.fates[tool]["in doubt, and it had happened"] += len(done)
            if not (result.error and "whether it took effect is unknown" in result.text):
                self.wrong.append(f"{name}: {tool} {n} is in doubt, but the model read {result.text!r}")
        elif result.text != f"did {tool} {n}" or not done:
            self.wrong.append(f"{name}: {tool} {n} was done {len(done)} times, the model read {result.text!r}")


def _of(record):
    """The call that a record is about."""
    match record:
        case Landed(result) | InDoubt(result) | Reconciled(result):
            return result.call_id
        case Started(call_id) | Cleared(call_id):
            return call_id
    return None


async def report(folder):
    found = Report(folder)
    store = SqliteStore(folder / "sessions.db")
    found.wrong += await store.integrity()
    for info in await store.find(limit=100_000):
        found.check(info.id, await store.read(info.id))
    await store.aclose()
    return found


def main():
    folder, kills, seed, kind = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    adopt_orphans()
    harness = Harness(folder, seed)
    started = time.monotonic()
    {"boundaries": harness.at_boundaries, "moments": harness.at_moments}[kind](kills)
    wait_for_orphans()
    found = anyio.run(report, folder)
    counted = {
        "kills": harness.kills,
        "sessions": harness.sessions,
        "calls": sum(found.calls.values()),
        "records": found.records,
        "acknowledged": found.acknowledged,
        "unsafe effects done twice": sum(found.duplicates[tool] for tool in (*PLAIN, "wire")),
        "idempotent effects done again under their key": sum(found.duplicates[tool] for tool in ("put", "note")),
        "unsafe calls that nobody can verify": sum(found.calls[tool] for tool in PLAIN),
        "of them in doubt": sum(found.fates[tool]["InDoubt"] for tool in PLAIN),
        "of those it had happened": sum(found.fates[tool]["in doubt, and it had happened"] for tool in PLAIN),
        "unsafe calls that can be verified": found.calls["wire"],
        "of these in doubt": found.fates["wire"]["InDoubt"],
        "found to have happened": found.fates["wire"]["Reconciled"],
        "found not to have happened": found.fates["wire"]["Cleared"],
        "seconds": round(time.monotonic() - started, 1),
    }
    print(json.dumps({"counted": counted, "wrong": harness.failures + found.wrong}))


main()
