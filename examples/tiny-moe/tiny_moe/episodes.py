"""Simulated conversations: what a user asks, the calls that are right, the results, and the words that close it."""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tiny_moe import k2
from tiny_moe.chains import chain
from tiny_moe.play import WORDS, Play, Turn
from tiny_moe.wishes import parallel, single
from tiny_moe.world import CURRENCIES, TOOLS, Tool, World

Split = Literal["train", "held-out"]
SYSTEMS = (
    "You are a helpful assistant.",
    "You are Kimi, an AI assistant created by Moonshot AI.",
    "Use the tools.",
    "Be brief and use the tools where they help.",
)


@dataclass(frozen=True, slots=True)
class Episode:
    """A conversation in the world of ``seed``, with the tools that are offered and the system's words, if any."""

    seed: int
    turns: tuple[Turn, ...]
    tools: tuple[Tool, ...] = TOOLS
    system: str = ""


NO_TOOL = "I have no tool for that."


def abstain(play: Play) -> Turn:
    """Nothing to call: small talk, or a wish that no tool grants."""
    play.memory.clear()
    if play.rng.random() < 0.3:
        request, answer = play.rng.choice(
            (
                ("Thanks", "You are welcome."),
                ("Thank you", "You are welcome."),
                ("Hello", "Hello, how can I help?"),
                ("Hi", "Hello, how can I help?"),
                ("What is the weather", "In which city?"),
                ("What can you do", "I can use the tools that I was given."),
            )
        )
        return play.turn("abstain", request + play.one(".", "!", ""), answer, closed=True)
    wish = play.one(
        "Order a pizza for {}", "Write a poem about {}", "Book a hotel in {}", "Play the song {}", "Who wrote {}",
        "Turn on the lights in {}", "Translate {} to French", "Buy a ticket to {}",
    )  # fmt: skip
    name = play.city() if play.rng.random() < 0.6 else play.rng.choice(WORDS)
    return play.turn("abstain", wish.format(name) + play.one(".", "?", ""), NO_TOOL)


def follow_up(play: Play) -> Turn:
    """A short request that leans on the turn before, where that one can be leaned on."""
    match play.memory:
        case {"weather": str()}:
            city = play.city()
            (found,) = play.call(("get_weather", {"city": city}))
            request = play.one("And in {}?", "What about {}?").format(city)
            return play.turn("follow_up", request, f"{city}: {found['sky']}, {found['celsius']} celsius.")
        case {"money": (amount, source, target)}:
            other = play.rng.choice([code for code in CURRENCIES if code not in (source, target)])
            (found,) = play.call(("convert_currency", {"amount": amount, "source": source, "target": other}))
            answer = f"{amount} {source} is {found['amount']} {other}."
            return play.turn("follow_up", play.one("And in {}?", "What about {}?").format(other), answer, closed=True)
        case _:
            return single(play)


MIX: Mapping[str, Callable[[Play], Turn]] = {
    "single": single,
    "parallel": parallel,
    "chain": chain,
    "abstain": abstain,
    "follow_up": follow_up,
}


def _side(turn: Turn, split: Split) -> bool:
    """Whether the turn belongs to the split: a request is always on the same side, whatever the seed."""
    held_out = zlib.crc32(turn.request.encode()) % 8 == 0
    return turn.closed or held_out == (split == "held-out")


def make_turn(
    rng: random.Random, world: World, memory: dict[str, Any], mix: Mapping[str, float], split: Split, rare: float = 1.0
) -> Turn:
    """Draw turns until one belongs to ``split``."""
    kind = "follow_up" if memory and rng.random() < 0.3 else rng.choices(list(mix), list(mix.values()))[0]
    while True:
        added = {day: list(events) for day, events in world.added.items()}
        remembered = dict(memory)
        turn = MIX[kind](Play(rng, world, remembered, rare))
        if _side(turn, split):
            memory.clear()
            memory.update(remembered if turn.kind != "follow_up" else {})
            return turn
        world.added = added


def make_episode(
    rng: random.Random,
    *,
    turns: int,
    mix: Mapping[str, float],
    split: Split,
    spare: int | None = None,
    shuffled: bool = False,
    world: World | None = None,
    rare: float = 1.0,
) -> Episode:
    """A conversation of ``turns`` requests.

    ``spare`` limits the tools on offer to those that are needed and as many others; by default all are offered.
    ``rare``: how much oftener than usual what is hard is drawn: names that nobody has heard, repeated digits.
    ``world`` goes on from earlier conversations; by default a new one is drawn.
    """
    world = world or World(rng.randrange(1_000_000))
    memory: dict[str, Any] = {}
    made = tuple(make_turn(rng, world, memory, mix, split, rare) for _ in range(turns))
    tools = list(TOOLS)
    if spare is not None:
        needed = {name for turn in made for name, _ in turn.calls}
        others = [tool.name for tool in TOOLS if tool.name not in needed]
        kept = needed.union(rng.sample(others, min(spare, len(others))))
        tools = [tool for tool in TOOLS if tool.name in kept]
    if shuffled:
        rng.shuffle(tools)
    return Episode(world.seed, made, tuple(tools), rng.choice(SYSTEMS) if rng.random() < 0.4 else "")


def pieces(episode: Episode) -> list[k2.Piece]:
    """The conversation in K2's format."""
    said = [k2.declared([tool.declaration for tool in episode.tools])] if episode.tools else []
    said += [k2.said("system", episode.system)] if episode.system else []
    number = 0
    for turn in episode.turns:
        said.append(k2.said("user", turn.request))
        for calls, results in zip(turn.rounds, turn.results, strict=True):
            idents = [k2.call_id(name, number + at) for at, (name, _) in enumerate(calls)]
            number += len(calls)
            raw = [json.dumps(arguments) for _, arguments in calls]
            said += k2.answered("", zip(idents, raw, strict=True))
            said += [k2.returned(ident, result) for ident, result in zip(idents, results, strict=True)]
        said += k2.answered(turn.answer)
    return said
