"""Peers' durable steps for journal.py: reads ``NAME STEPS SIZE`` lines, answers with one JSON line each.

Runs in an interpreter of its own, which has the peers installed:
``python -m venv peers && peers/bin/pip install dbos langgraph langgraph-checkpoint-sqlite``.
The answer is ``{"seconds": [one a step], "bytes": size of the files}``, or ``{"error": why}``.
"""

import json
import logging
import sys
import tempfile
import time
from pathlib import Path


def size(folder):
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


class Dbos:
    """A workflow whose steps return ``size`` characters, on DBOS's default SQLite database."""

    def __init__(self):
        from dbos import DBOS

        self.folder = tempfile.mkdtemp()
        DBOS(config={"name": "bench", "system_database_url": f"sqlite:///{self.folder}/dbos.sqlite"})

        @DBOS.step()
        def step(text):
            return text

        @DBOS.workflow()
        def workflow(steps, size):
            seconds = []
            for _ in range(steps):
                start = time.perf_counter()
                step("x" * size)
                seconds.append(time.perf_counter() - start)
            return seconds

        DBOS.launch()
        logging.getLogger("dbos").setLevel(logging.ERROR)
        self.workflow = workflow

    def run(self, steps, chars):
        before = size(self.folder)
        seconds = self.workflow(steps, chars)
        return {"seconds": seconds, "bytes": size(self.folder) - before}


class LangGraph:
    """A graph of one node that adds a message of ``size`` characters, with a checkpoint after each step."""

    def run(self, steps, chars):
        import operator
        import sqlite3
        from typing import Annotated, TypedDict

        from langgraph.checkpoint.sqlite import SqliteSaver
        from langgraph.graph import END, START, StateGraph

        class State(TypedDict):
            messages: Annotated[list, operator.add]

        seconds, started = [], time.perf_counter()

        def step(state):
            nonlocal started
            seconds.append(time.perf_counter() - started)
            started = time.perf_counter()
            return {"messages": ["x" * chars]}

        graph = StateGraph(State)
        graph.add_node("step", step)
        graph.add_edge(START, "step")
        graph.add_conditional_edges("step", lambda state: END if len(state["messages"]) >= steps else "step")
        with tempfile.TemporaryDirectory() as folder:
            db = sqlite3.connect(f"{folder}/checkpoints.sqlite", check_same_thread=False)
            compiled = graph.compile(checkpointer=SqliteSaver(db))
            config = {"configurable": {"thread_id": "bench"}, "recursion_limit": steps + 10}
            compiled.invoke({"messages": []}, config, durability="sync")
            db.close()
            return {"seconds": seconds[1:], "bytes": size(folder)}


PEERS = {"dbos": Dbos, "langgraph": LangGraph}


def main():
    peers = {}
    answers = sys.stdout
    sys.stdout = sys.stderr  # what the peers print is not for the reader
    for line in sys.stdin:
        name, steps, chars = line.split()
        try:
            peers[name] = peers.get(name) or PEERS[name]()
            answer = peers[name].run(int(steps), int(chars))
        except Exception as error:  # noqa: BLE001 - a peer that is missing or fails is a line in the report
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
