"""One turn of a simulated conversation while it is made up: what is drawn, called and remembered."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from tiny_moe.world import (
    AIRLINES,
    CITIES,
    CURRENCIES,
    PEOPLE,
    TITLES,
    UNITS,
    ToolError,
    World,
    in_words,
    made_up_name,
    plain,
)

MADE_UP = 0.06  # of the names
REPEATED = 0.1  # of the numbers, where hard things are drawn oftener
Call = tuple[str, dict[str, Any]]
WORDS = (
    "running", "late", "call", "me", "back", "soon", "see", "you", "tomorrow", "thanks", "for", "the", "help", "on",
    "my", "way", "bring", "milk", "happy", "birthday", "good", "luck", "where", "are", "we", "home", "now", "dinner",
    "is", "ready", "wait", "at", "station", "door", "open", "all", "fine", "no", "yes", "please",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Turn:
    """One request of the user: rounds of calls (the calls of a round are parallel), their results, the answer.

    ``closed`` marks a request from a short fixed list, which training and held-out turns share.
    """

    kind: str
    request: str
    rounds: tuple[tuple[Call, ...], ...] = ()
    results: tuple[tuple[str, ...], ...] = ()
    answer: str = ""
    closed: bool = False

    @property
    def calls(self) -> list[Call]:
        """All calls in order."""
        return [call for calls in self.rounds for call in calls]


class Play:
    """One turn while it is made up: calls run in the world at once, so that later ones can use what came back."""

    def __init__(self, rng: random.Random, world: World, memory: dict[str, Any], rare: float = 1.0) -> None:
        """``rare``: how much oftener than usual what is hard is drawn."""
        self.rng = rng
        self.rare = rare
        self.world = world
        self.memory = memory
        self.rounds: list[tuple[Call, ...]] = []
        self.results: list[tuple[str, ...]] = []

    def call(self, *calls: Call) -> list[dict[str, Any]]:
        """Run a round of parallel calls; a tool's error comes back under the key ``error``."""
        texts: list[str] = []
        values: list[dict[str, Any]] = []
        for name, arguments in calls:
            try:
                values.append(self.world.run(name, arguments))
                texts.append(in_words(name, arguments, values[-1]))
            except ToolError as error:
                values.append({"error": str(error)})
                texts.append(str(error))
        self.rounds.append(calls)
        self.results.append(tuple(texts))
        return values

    def turn(self, kind: str, request: str, answer: str, *, closed: bool = False) -> Turn:
        """The finished turn."""
        return Turn(kind, request, tuple(self.rounds), tuple(self.results), answer, closed)

    def one(self, *choices: str) -> str:
        """One of several wordings."""
        return self.rng.choice(choices)

    def city(self) -> str:
        """A known city or, now and then, a name that nobody has heard."""
        return made_up_name(self.rng) if self.rng.random() < MADE_UP * self.rare else self.rng.choice(CITIES)

    def person(self) -> str:
        """A known person or, now and then, a name that nobody has heard."""
        return made_up_name(self.rng) if self.rng.random() < MADE_UP * self.rare else self.rng.choice(PEOPLE)

    def amount(self) -> int | float:
        """A number as people write it, whole or with a decimal."""
        if self.rng.random() < REPEATED * (self.rare - 1):
            digits = self.rng.choices("123456789", k=self.rng.randint(1, 2)) * 2
            return int("".join(digits))
        number = self.rng.uniform(1, self.rng.choice((9, 99, 999)))
        return plain(number) if self.rng.random() < 0.15 else int(number)

    def pair(self) -> tuple[str, str]:
        """Two currencies."""
        first, second = self.rng.sample(list(CURRENCIES), 2)
        return first, second

    def units(self) -> tuple[str, str]:
        """Two units of one kind."""
        source = self.rng.choice(list(UNITS))
        others = [unit for unit, (kind, _) in UNITS.items() if kind == UNITS[source][0] and unit != source]
        return source, self.rng.choice(others)

    def time(self) -> str:
        """A time of day."""
        return f"{self.rng.randint(0, 23):02}:{self.rng.choice((0, 15, 30, 45)):02}"

    def title(self) -> str:
        """A title for the calendar."""
        return self.rng.choice(TITLES)

    def flight(self) -> str:
        """A flight number."""
        return f"{self.rng.choice(AIRLINES)}{self.rng.randint(1, 999)}"

    def message(self) -> str:
        """One to three words."""
        return " ".join(self.rng.sample(WORDS, self.rng.randint(1, 4)))
