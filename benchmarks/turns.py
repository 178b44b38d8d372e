"""What a turn costs: agentrt beside bare loops that hold the same conversation with the same model server.

    python benchmarks/turns.py [--quick] [--only SCENARIO] [--json]

The server is scripted, speaks HTTP and runs in a process of its own, so its cost is not counted. Every worker is a
fresh process; within a round the workers run one after another in random order, and each ratio is taken within a
round, so that a busy machine spoils both sides of it alike. CPU is what the operating system counts for the worker,
user and system, all threads.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SERVER = HERE.parent / "tests" / "model_server.py"
WORKER = HERE / "turns_worker.py"
BARE = "aiohttp"
Figures = dict[str, list[float]]


@dataclass(frozen=True)
class Scenario:
    """``manner`` is how the server sends: ``tools`` an answer at once, ``paced`` each event in its own packet."""

    title: str
    manner: str
    sessions: int
    turns: int
    rounds: int
    warm: int
    kinds: tuple[str, ...]
    quick: dict[str, int]


ALL = ("agentrt", "agentrt-reading", "aiohttp", "httpx")
SCENARIOS = {
    "one": Scenario("one session, 10 tool turns", "tools", 1, 10, 60, 20, ALL, {"rounds": 10}),
    "paced": Scenario("one session, every event in its own packet", "paced", 1, 10, 40, 10, ALL, {"rounds": 8}),
    "many": Scenario("200 sessions at once, 10 tool turns each", "tools", 200, 10, 1, 1, ALL, {"turns": 3}),
    "long": Scenario("one session of 200 tool turns", "tools", 1, 200, 2, 0, ALL, {"rounds": 1}),
    "cold": Scenario("a fresh process: imports and the first turn", "tools", 1, 1, 1, 0, ALL, {}),
}


@contextmanager
def serve():
    process = subprocess.Popen(
        [sys.executable, SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE.parent
    )
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


def work(kind: str, url: str, scenario: Scenario) -> dict[str, Any]:
    """Run one worker; its own figures, and ``process_cpu`` of its whole life."""
    counts = (scenario.sessions, scenario.turns, scenario.rounds, scenario.warm)
    model = f"{scenario.manner}-{scenario.turns}"
    command = [sys.executable, str(WORKER), kind, url, model, *map(str, counts)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=HERE.parent) as process:
        output = process.stdout.read()
        _, status, spent = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the worker {kind!r} failed; it needs the test dependencies (aiohttp, httpx)")
    return {**json.loads(output), "process_cpu": spent.ru_utime + spent.ru_stime}


def turn_ms(found: dict[str, Any]) -> float:
    return found["cpu"] / found["turns"] * 1000


def turns_per_second(found: dict[str, Any]) -> float:
    return found["turns"] / found["wall"]


def growth(found: dict[str, Any]) -> float:
    """What the last 20 turns of the first long session cost, compared to its first 20."""
    marks = found["marks"][:200]
    edge = min(20, len(marks) // 4)
    return (marks[-1] - marks[-1 - edge]) / (marks[edge] - marks[0])


def run(scenario: Scenario, rounds: int, url: str) -> list[dict[str, dict[str, Any]]]:
    """One dictionary a round: what each kind of worker found."""
    found = []
    for _ in range(rounds):
        kinds = list(scenario.kinds)
        random.shuffle(kinds)
        found.append({kind: work(kind, url, scenario) for kind in kinds})
    return found


def column(found: list[dict[str, Any]], measure: Callable[[dict[str, Any]], float], kind: str) -> list[float]:
    return [measure(one[kind]) for one in found]


def ratios(found: list[dict[str, Any]], measure: Callable[[dict[str, Any]], float], kind: str, to: str) -> list[float]:
    return [measure(one[kind]) / measure(one[to]) for one in found]


def shown(values: list[float], unit: str = "") -> str:
    middle = statistics.median(values)
    digits = 2 if middle < 100 else 0
    return f"{middle:.{digits}f}{unit} [{min(values):.{digits}f}-{max(values):.{digits}f}]"


def report(name: str, found: list[dict[str, Any]], kinds: tuple[str, ...]) -> dict[str, Figures]:
    """Print the table of a scenario; return its figures by kind."""
    measure, unit = (lambda one: one["process_cpu"] * 1000, "CPU ms") if name == "cold" else (turn_ms, "CPU ms a turn")
    figures: dict[str, Figures] = {}
    print(f"  {'':16} {unit:24} {'ratio to ' + BARE:22}", end="")
    print({"many": f" {'turns a second':24} ratio to httpx", "long": " last 20 turns to first 20"}.get(name, ""))
    for kind in kinds:
        own = figures[kind] = {"cpu": column(found, measure, kind), "ratio": ratios(found, measure, kind, BARE)}
        print(f"  {kind:16} {shown(own['cpu']):24} {shown(own['ratio'], 'x'):22}", end="")
        if name == "many":
            own["rate"] = column(found, turns_per_second, kind)
            own["rate_to_httpx"] = ratios(found, turns_per_second, kind, "httpx")
            print(f" {shown(own['rate']):24} {shown(own['rate_to_httpx'], 'x')}", end="")
        if name == "long":
            own["growth"] = column(found, growth, kind)
            print(f" {shown(own['growth'], 'x')}", end="")
        print()
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="less of everything: a look, not a measurement")
    parser.add_argument("--only", choices=SCENARIOS, action="append", help="only this scenario; may be repeated")
    parser.add_argument("--rounds", type=int, help="rounds of workers (7, quick 2)")
    parser.add_argument("--json", action="store_true", help="a last line with all figures as JSON")
    args = parser.parse_args()
    rounds = args.rounds or (2 if args.quick else 7)
    print(f"{rounds} rounds; median [lowest-highest]; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f};")
    print("agentrt: Agent + OpenAIChat + an async @tool that may write; agentrt-reading: the same, read-only, so that")
    print("it starts while the answer still streams; aiohttp, httpx: a loop by hand that checks nothing.")
    figures = {}
    with serve() as url:
        for name in args.only or SCENARIOS:
            scenario = SCENARIOS[name]
            if args.quick:
                scenario = Scenario(**{**vars(scenario), **scenario.quick})
            print(f"\n{name}: {scenario.title}")
            figures[name] = report(name, run(scenario, rounds, url), scenario.kinds)
    if args.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
