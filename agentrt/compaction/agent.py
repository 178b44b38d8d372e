"""Compaction as an agent does it: in each of its runs, and between them when a person asks for it."""

from __future__ import annotations

from dataclasses import dataclass, field

from agentrt.compaction.engine import Compacting
from agentrt.compaction.plan import Compaction, Gauge
from agentrt.compaction.price import Compacted
from agentrt.contract import Gate
from agentrt.conversation import Conversation
from agentrt.engine import Engine, Request
from agentrt.loop import Run
from agentrt.outside import clock


@dataclass(slots=True)
class Compactor:
    """What all runs of an agent share: how to compact (``None``: not by itself), and how long a token is."""

    settings: Compaction | None
    gauge: Gauge = field(default_factory=Gauge)

    def around(self, engine: Engine, talk: Conversation) -> Engine:
        """The engine that keeps the conversation within the context of ``engine``."""
        return engine if self.settings is None else Compacting(engine, talk, self.settings, self.gauge)

    async def now(self, run: Run) -> Compacted | None:
        """Compact the conversation of a run that is not started, also where that is switched off otherwise."""
        start = clock()
        engine = run.engine.inner if isinstance(run.engine, Compacting) else run.engine
        tools = Gate(await run.toolset.specs()).specs
        request = Request(run.talk.view, run.instructions, tools, run.max_tokens, run.temperature)
        told = await Compacting(engine, run.talk, self.settings or Compaction(), self.gauge).by_hand(request)
        if told is not None:
            await run.talk.end("compacted", 0, 0, told.usage, clock() - start)
            await run.emit(told)
        return told
