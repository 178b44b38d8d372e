"""What it costs to write everything down: per tool call, beside a bare SQLite commit and, if wanted, peers.

    python benchmarks/journal.py [--rounds 20] [--peers PYTHON] [--folder DIR]

A tool call is two commits (answer and intent, result) of the records that a real one writes, with a result of 1,000
characters. The floor is the stdlib's sqlite3 in WAL mode that commits the same rows, made beforehand, to one table.
First the store alone; then whole turns through the loop, where a result is written while the model thinks: what a turn
takes less the thinking, and how much more that is than with nothing kept. Peers keep the same of a turn, the model's
answer and the tool's result, and their level of durability is printed. Everything takes turns in short rounds, so that
a slow moment of the disk hits all alike: trust the ratios. ``--peers`` names an interpreter with DBOS and LangGraph
installed, see journal_peers.py.
"""

import argparse
import json
import random
import sqlite3
import statistics
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import anyio
from journal_turns import CountingStore, Turns

from agentrt.journal import Session, SessionInfo, fold
from agentrt.journal.records import Answered, Asked, Closed, Intended, Landed, Said, Started, dump
from agentrt.journal.sqlite import SqliteStore
from agentrt.types import Assistant, ToolCall, ToolResult, Usage, User

CALLS = 10  # a round
SESSIONS = 50
RESULT = 1_000  # characters
MODES = ("FULL", "NORMAL")
PEERS = ("dbos", "langgraph-sync", "langgraph-async")
THINK = (0.0, 0.02)  # seconds: a model that answers at once, and a fast one


def call(number):
    """The two commits of one tool call: what is written before it, and after."""
    name = f"call_{number}"
    answer = Assistant("", (ToolCall(name, "look_up", '{"city": "Paris"}'),), finish="tool_calls", usage=Usage(900, 30))
    intent = Intended(name, "look_up", "mcp:weather", "unsafe", "k" * 32, "0" * 64)
    before = [Asked(number, "0" * 64), Answered(answer), intent, Started(name)]
    return before, [Landed(ToolResult(name, "look_up", "x" * RESULT)), Closed(())]


class Floor:
    """The least that two durable commits a call can cost: the same rows of the same bytes, ready made, in one table."""

    def __init__(self, path, synchronous):
        path.parent.mkdir(parents=True)
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute(f"PRAGMA synchronous = {synchronous}")
        self.db.execute("CREATE TABLE records (id INTEGER PRIMARY KEY, session INTEGER, at REAL, kind TEXT, body TEXT)")
        self.commits = [
            [(1, time.time(), type(record).__name__, dump(record).decode()) for record in commit] for commit in call(1)
        ]

    def commit(self, number):
        self.db.execute("BEGIN IMMEDIATE")
        self.db.executemany("INSERT INTO records (session, at, kind, body) VALUES (?, ?, ?, ?)", self.commits[number])
        self.db.execute("COMMIT")

    def calls(self, count):
        seconds = []
        for _ in range(count):
            start = time.perf_counter()
            self.commit(0)
            self.commit(1)
            seconds.append(time.perf_counter() - start)
        return seconds


class Ours:
    """SqliteStore, one session or many at once."""

    def __init__(self, path, synchronous):
        self.path = path
        self.store = SqliteStore(path, synchronous=synchronous)
        self.leases = []
        self.counts = []

    async def open(self, sessions):
        for number in range(sessions):
            self.leases.append(await self.store.create(SessionInfo(f"s{number}", "", "", 0, 0, 0)))
            self.counts.append(0)

    async def calls(self, index, count):
        seconds = []
        for _ in range(count):
            before, after = call(self.counts[index])
            start = time.perf_counter()
            self.counts[index] = await self.store.append(self.leases[index], before, after=self.counts[index])
            self.counts[index] = await self.store.append(self.leases[index], after, after=self.counts[index])
            seconds.append(time.perf_counter() - start)
        return seconds

    async def all_at_once(self, count):
        start = time.perf_counter()
        async with anyio.create_task_group() as group:
            for index in range(len(self.leases)):
                group.start_soon(self.calls, index, count)
        return time.perf_counter() - start


class Peers:
    """Another interpreter, which runs the peers."""

    def __init__(self, python, folder):
        command = [python, Path(__file__).with_name("journal_peers.py")]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=folder,
            env={"TMPDIR": str(folder)},
        )  # fmt: skip

    def ask(self, name, turns, think=0.0):
        self.process.stdin.write(f"{name} {turns} {RESULT} {think}\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline() or '{"error": "the interpreter ended"}')
        if "error" in answer:
            raise SystemExit(f"{name}: {answer['error']}")
        return answer


def milliseconds(seconds):
    return f"p50 {statistics.median(seconds) * 1e3:8.3f} ms   mean {statistics.fmean(seconds) * 1e3:8.3f} ms"


def ratio(ours, floor):
    typical = statistics.median(ours) / statistics.median(floor)
    return f"{typical:.2f}x (mean {statistics.fmean(ours) / statistics.fmean(floor):.2f}x)"


def floor(path, mode):
    bare = Floor(path, mode)

    async def calls(count):
        return bare.calls(count)

    return calls


async def cost_per_call(folder, rounds):
    print(f"\nThe store alone: one tool call, {rounds} rounds of {CALLS}, a result of {RESULT} characters")
    stores = {mode: Ours(folder / f"ours-{mode}" / "s.db", mode) for mode in MODES}
    contestants = {f"bare commits, {mode}": floor(folder / f"floor-{mode}" / "f.db", mode) for mode in MODES}
    for mode, store in stores.items():
        await store.open(1)
        contestants[f"agentrt, {mode}"] = partial(store.calls, 0)
    seconds = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, calls in random.sample(list(contestants.items()), len(contestants)):
            taken = await calls(CALLS)
            if number:  # the first round warms up
                seconds[name] += taken
    for name, values in seconds.items():
        print(f"  {name:22} {milliseconds(values)}")
    for mode in MODES:
        print(f"  agentrt / bare at {mode}: {ratio(seconds[f'agentrt, {mode}'], seconds[f'bare commits, {mode}'])}")
    for store in stores.values():
        await store.store.aclose()


@dataclass
class Figures:
    """What was seen of one contestant: a turn's seconds less the thinking, and the same with nothing kept."""

    seconds: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    about: str = ""

    def add(self, seconds, bare, about):
        self.seconds += seconds
        self.bare += bare
        self.about = about

    @property
    def cost(self):
        return statistics.median(self.seconds) - statistics.median(self.bare)


async def whole_turns(folder, rounds, peers, think):
    """Each contestant's turns, in short rounds one after another, in another order each time."""
    print(f"\nWhole turns through the loop, a model that thinks for {think * 1e3:.0f} ms, {rounds} rounds of {CALLS}")
    nothing, kept = Turns(RESULT), {}
    for mode in MODES:
        kept[f"bare, {mode}"] = Turns(RESULT, floor=Floor(folder / f"turns-floor-{mode}-{think}" / "f.db", mode))
        store = CountingStore(folder / f"turns-{mode}-{think}" / "s.db", synchronous=mode)
        kept[f"agentrt, {mode}"] = Turns(RESULT, store=store)
    seen = {name: Figures() for name in (*kept, *(PEERS if peers else ()))}
    for _ in range(rounds):
        for name in random.sample(list(seen), len(seen)):
            if name in PEERS:
                answer = peers.ask(name, CALLS, think)
                about = f"{answer['commits']:.1f} transactions a turn, {answer['settings']}"
                seen[name].add(answer["seconds"], answer["bare"], about)
            else:
                without = await nothing.run(CALLS + 1, think)
                seconds = await kept[name].run(CALLS + 1, think)
                store = kept[name].store
                commits = store.commits / kept[name].turns if store else 2.0
                mode = name.partition(", ")[2]
                seen[name].add(seconds, without, f"{commits:.1f} commits a turn, synchronous={mode}, journal_mode=wal")
    for name, figures in seen.items():
        print(
            f"  {name:18} p50 {statistics.median(figures.seconds) * 1e3:7.3f} ms, "
            f"of which for keeping it {figures.cost * 1e3:7.3f} ms   {figures.about}"
        )
    for mode in MODES:
        times = seen[f"agentrt, {mode}"].cost / seen[f"bare, {mode}"].cost
        print(f"  agentrt / two bare commits at the same places of a turn, {mode}: {times:.2f}x")
    for name in PEERS if peers else ():
        print(f"  {name} / agentrt at FULL: {seen[name].cost / seen['agentrt, FULL'].cost:.2f}x")
    for turns in kept.values():
        if turns.store:
            await turns.store.aclose()


async def many_sessions(folder, rounds):
    print(f"\n{SESSIONS} sessions at once, tool calls a second")
    for mode in MODES:
        bare, ours = Floor(folder / f"many-floor-{mode}" / "f.db", mode), Ours(folder / f"many-{mode}" / "s.db", mode)
        await ours.open(SESSIONS)
        await ours.all_at_once(1)
        rates = {"floor": [], "agentrt": []}
        for _ in range(rounds):
            rates["floor"].append(SESSIONS / sum(bare.calls(SESSIONS)))
            rates["agentrt"].append(2 * SESSIONS / await ours.all_at_once(2))
        ours_rate, floor_rate = statistics.median(rates["agentrt"]), statistics.median(rates["floor"])
        print(
            f"  {mode:7} agentrt {ours_rate:7.0f}   bare loop, one after another {floor_rate:7.0f}   "
            f"{ours_rate / floor_rate:.1f}x"
        )
        await ours.store.aclose()


async def size_of_store(folder, peers):
    print(f"\nSize of the store, {RESULT} characters a step")
    for steps in (50, 200, 800):
        ours = Ours(folder / f"size-{steps}" / "s.db", "NORMAL")
        await ours.open(1)
        await ours.calls(0, steps)
        await ours.store.aclose()
        total = sum(path.stat().st_size for path in ours.path.parent.rglob("*") if path.is_file())
        payload = steps * sum(len(dump(record)) for commit in call(1) for record in commit)
        line = f"  {steps:4} steps   agentrt {total / 1e3:7.0f} kB, {total / steps:6.0f} B a step"
        line += f", {total / payload:.2f}x the records"
        for name in PEERS[:2] if peers and steps <= 200 else ():
            answer = peers.ask(name, steps)
            typical = statistics.median(answer["seconds"]) * 1e3
            line += f"   {name} {answer['bytes'] / 1e3:7.0f} kB, {typical:.1f} ms a step"
        print(line)


async def resume(folder, rounds):
    print("\nResuming a session of 1,000 records")
    store = SqliteStore(folder / "resume" / "s.db", synchronous="NORMAL")
    records = [Said(User("hi")), *(record for number in range(167) for commit in call(number) for record in commit)][
        :1_000
    ]
    records = records[: max(i for i, record in enumerate(records) if isinstance(record, Closed)) + 1]
    await store.create(SessionInfo("s", "", "", 0, 0, 0), records)
    read, folded, whole, bare = [], [], [], []
    for _ in range(rounds):
        db = sqlite3.connect(store.path)
        start = time.perf_counter()
        rows = [json.loads(row[0]) for row in db.execute("SELECT body FROM records ORDER BY seq")]
        bare.append(time.perf_counter() - start)
        db.close()
        assert len(rows) == len(records)
        start = time.perf_counter()
        found = await store.read("s")
        read.append(time.perf_counter() - start)
        fold(found)
        folded.append(time.perf_counter() - start)
        start = time.perf_counter()
        await Session.resume(store, "s")
        whole.append(time.perf_counter() - start)
    for name, values in {
        "bare select and json": bare,
        "read": read,
        "read, fold": folded,
        "Session.resume": whole,
    }.items():
        print(f"  {name:22} {milliseconds(values)}")
    await store.aclose()


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--peers", metavar="PYTHON", help="an interpreter with DBOS and LangGraph installed")
    parser.add_argument("--folder", type=Path, help="where to write, on the disk to measure")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        peers = Peers(given.peers, folder) if given.peers else None
        await cost_per_call(folder, given.rounds)
        for think in THINK:
            await whole_turns(folder, given.rounds, peers, think)
        await many_sessions(folder, max(3, given.rounds // 4))
        await size_of_store(folder, peers)
        await resume(folder, given.rounds)
        if peers:
            with suppress(BrokenPipeError):
                peers.process.stdin.close()
            peers.process.wait(30)


if __name__ == "__main__":
    anyio.run(main)
