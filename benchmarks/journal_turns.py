"""Whole turns for journal.py: the loop with a model that thinks for a while, with a session and without one."""

import time

import anyio
from anyio.lowlevel import checkpoint

from agentrt import Agent, Limits, tool
from agentrt.conversation import Conversation
from agentrt.engines.scripted import ScriptedEngine, call, calls
from agentrt.journal import Session
from agentrt.journal.sqlite import SqliteStore


class Thinking(ScriptedEngine):
    """Thinks before each answer; ``seconds`` are those from one answer to the next question."""

    def __init__(self, turns, think):
        number = iter(range(turns + 1))
        super().__init__(lambda request: self.answer(next(number), turns))
        self.think = think
        self.started = None
        self.seconds = []

    def answer(self, number, turns):
        return calls(call("look_up", {"city": f"Paris {number}"})) if number < turns else "done"

    async def stream(self, request):
        now = time.perf_counter()
        if self.started is not None:
            self.seconds.append(now - self.started)
        await (anyio.sleep(self.think) if self.think else checkpoint())
        self.started = time.perf_counter()
        async for delta in super().stream(request):
            yield delta


class CountingStore(SqliteStore):
    """Counts what the loop has written."""

    commits = 0

    async def append(self, lease, records, *, after=None):
        self.commits += 1
        return await super().append(lease, records, after=after)


class Bare(Conversation):
    """Commits a turn's rows, made beforehand, where a session would, with nothing but sqlite3: the least."""

    def __init__(self, floor):
        super().__init__()
        self.floor = floor

    async def start(self, call):
        self.floor.commit(0)

    def close(self, answer, results):
        super().close(answer, results)
        self.floor.commit(1)


class Turns:
    """Runs of an agent whose one tool writes; in a session if there is a ``store``, or on the ``floor``."""

    def __init__(self, chars, *, store=None, floor=None):
        self.store = store
        self.floor = floor
        self.chars = chars
        self.turns = 0

    async def run(self, turns, think):
        @tool
        async def look_up(city: str) -> str:
            """Look something up."""
            return f"{city} ".ljust(self.chars, "x")

        engine = Thinking(turns, think)
        session = await Session.begin(self.store) if self.store else Bare(self.floor) if self.floor else None
        agent = Agent(engine, tools=[look_up], limits=Limits(turns=None, calls=None))
        await agent.run("go", session=session)
        self.turns += turns
        return engine.seconds
