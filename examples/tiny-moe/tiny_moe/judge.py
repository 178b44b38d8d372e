"""Unseen conversations end to end: agentrt's loop, an engine on the checkpoint, and the world as MCP servers."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentrt import Agent, Limits
from agentrt.engine import Engine
from agentrt.events import CallRejected, CallStarted, Event
from agentrt.types import Assistant, Transcript
from agentrt_mcp import mcp
from tiny_moe.episodes import Episode, make_episode
from tiny_moe.play import Turn
from tiny_moe.world import SERVERS, World

SERVER = Path(__file__).parent.parent / "server.py"
MIX = {"single": 3.0, "parallel": 4.0, "chain": 5.0, "abstain": 1.0}
GROUP = 20  # conversations that share one world and its servers


@dataclass(slots=True)
class Score:
    """What came of the conversations; ``right`` ones made exactly the calls that were due, turn by turn."""

    episodes: int = 0
    right: int = 0
    turns: int = 0
    turns_right: int = 0
    answers_exact: int = 0
    calls: int = 0
    dispatched: int = 0
    rejected: int = 0


def held_out(seed: int, count: int, *, turns: Sequence[int] = (1, 2)) -> Iterator[tuple[int, list[Episode]]]:
    """``count`` conversations that training can't have seen, in groups that share the world of one seed."""
    rng = random.Random(f"{seed}/held-out")
    for start in range(0, count, GROUP):
        world = World(rng.randrange(1_000_000))
        size = min(GROUP, count - start)
        yield (
            world.seed,
            [make_episode(rng, turns=rng.choice(turns), mix=MIX, split="held-out", world=world) for _ in range(size)],
        )


def calls_since(transcript: Transcript, start: int) -> list[tuple[str, Any]]:
    """The calls of the answers from message ``start`` on, as names and parsed arguments."""
    answers = [message for message in transcript.since(start) if isinstance(message, Assistant)]
    return [(call.name, _parsed(call.arguments)) for answer in answers for call in answer.calls]


def _parsed(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


class Judge:
    """Plays conversations with an agent and keeps the score."""

    def __init__(self, agent: Agent, *, show: bool = False) -> None:
        self.agent = agent
        self.score = Score()
        self.show = show

    async def hear(self, event: Event) -> None:
        """Count what was dispatched and what the gate refused."""
        match event:
            case CallStarted():
                self.score.dispatched += 1
            case CallRejected():
                self.score.rejected += 1

    async def play(self, episode: Episode) -> bool:
        """Play one conversation to its end; return whether every call was right."""
        transcript = Transcript()
        right = [await self._turn(turn, transcript) for turn in episode.turns]
        self.score.episodes += 1
        self.score.right += all(right)
        return all(right)

    async def _turn(self, turn: Turn, transcript: Transcript) -> bool:
        start = len(transcript)
        result = await self.agent.run(turn.request, transcript=transcript, emit=self.hear)
        made = calls_since(transcript, start)
        right = made == turn.calls and result.reason == "done"
        self.score.turns += 1
        self.score.turns_right += right
        self.score.calls += len(made)
        self.score.answers_exact += result.text == turn.answer
        if self.show and (not right or result.text != turn.answer):
            print(f"{turn.kind}: {turn.request!r}\n  due  {turn.calls} {turn.answer!r}", file=sys.stderr)
            print(f"  made {made} {result.text!r} ({result.reason})", file=sys.stderr)
        return right


def tools_of(world: int) -> list[Any]:
    """The world's parts, each an MCP server in a process of its own."""
    return [mcp([sys.executable, str(SERVER), name, "--seed", str(world)], name=name, prefix=False) for name in SERVERS]


async def evaluate(
    engine: Engine, *, seed: int, count: int, turns: Sequence[int] = (1, 2), show: bool = False
) -> Score:
    """Play ``count`` held-out conversations and return the score."""
    total = Score()
    for world, group in held_out(seed, count, turns=turns):
        async with Agent(engine, tools=tools_of(world), temperature=0.0, limits=Limits(turns=12)) as agent:
            judge = Judge(agent, show=show)
            judge.score = total
            for episode in group:
                await judge.play(episode)
    return total
