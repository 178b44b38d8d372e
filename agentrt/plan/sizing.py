"""How many GPUs a team needs: the smallest number on which every session's cache and pace fit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from agentrt.errors import ConfigError
from agentrt.plan.gpus import Gpu
from agentrt.plan.memory import Fit, fit, layouts
from agentrt.plan.roofline import Pace, Roofline, Turn
from agentrt.plan.shapes import Quantisation, Shape

LARGEST = 1024
"""GPUs beyond which no plan is made."""


@dataclass(frozen=True, slots=True)
class Work:
    """What the team does.

    A session alternates between a turn of the model and waiting for tools or people: ``tool_wait`` is the share of its
    time that it waits. Every session is counted at its full ``context``. A turn brings ``turn_input`` new tokens and
    produces ``turn_output``; ``cache_hit`` of what came before is found in the prefix cache. ``hold`` says whose
    caches must stay in memory: those of all open sessions, or of the active ones only (then waiting ones may have to
    be prefilled again, which is not counted).
    """

    developers: int = 10
    sessions: float = 2
    context: int = 65_536
    tool_wait: float = 0.5
    turn_input: int = 2_000
    turn_output: int = 400
    cache_hit: float = 0.95
    hold_all: bool = True
    min_speed: float = 20.0

    def __post_init__(self) -> None:
        _positive(self, "developers", "sessions", "context", "turn_input", "turn_output")
        if not 0 <= self.tool_wait < 1:
            raise ConfigError(f"--tool-wait is a share of time from 0 to less than 1, not {self.tool_wait!r}")
        if not 0 <= self.cache_hit <= 1:
            raise ConfigError(f"--cache-hit is a share from 0 to 1, not {self.cache_hit!r}")
        if not 0 <= self.min_speed < math.inf:
            raise ConfigError(f"--min-speed is in tokens a second, 0 for no demand, not {self.min_speed!r}")
        if self.turn_input + self.turn_output > self.context:
            raise ConfigError(
                f"one turn of {self.turn_input} + {self.turn_output} tokens is longer than the context of "
                f"{self.context}; raise --context or lower --turn-input"
            )

    @property
    def open_sessions(self) -> float:
        """Sessions open at once."""
        return self.developers * self.sessions

    @property
    def active_sessions(self) -> float:
        """Sessions that wait for the model and not for a tool, on average."""
        return self.open_sessions * (1 - self.tool_wait)

    @property
    def prefill_tokens(self) -> float:
        """Tokens prefilled each turn: the new ones, and what the prefix cache has lost."""
        return self.turn_input + (1 - self.cache_hit) * self.context

    @property
    def turns_per_session(self) -> float:
        """Turns until the context is full."""
        return self.context / (self.turn_input + self.turn_output)


def _positive(work: Work, *names: str) -> None:
    for name in names:
        value = getattr(work, name)
        if not (value > 0 and math.isfinite(value)):
            raise ConfigError(f"--{name.replace('_', '-')} must be more than 0, not {value!r}")


@dataclass(frozen=True, slots=True)
class Choice:
    """One copy's layout, how many copies, and how they do under the load."""

    fit: Fit
    copies: int
    turn: Turn
    meets: bool

    @property
    def gpus(self) -> int:
        """GPUs in all."""
        return self.fit.layout.gpus * self.copies

    @property
    def sessions(self) -> int:
        """Sessions of the full context whose caches fit."""
        return self.fit.sessions * self.copies


@dataclass(frozen=True)
class Sizer:
    """Sizes one model on one GPU type; the layouts are worked out once for every size of team."""

    shape: Shape
    quantisation: Quantisation
    gpu: Gpu
    work: Work
    pace: Pace = field(default_factory=Pace)
    kv_value_bytes: float = 2.0
    utilisation: float = 0.9
    load_factor: float = 1.0
    dcp: bool = True

    def __post_init__(self) -> None:
        if self.work.context > self.shape.max_context:
            raise ConfigError(f"--context {self.work.context} is more than the model's {self.shape.max_context} tokens")
        if not 0.1 <= self.utilisation <= 1:
            raise ConfigError(f"--utilisation is a share of memory from 0.1 to 1, not {self.utilisation!r}")

    @cached_property
    def fits(self) -> list[Fit]:
        """The layouts of one copy that leave room for at least one session, smallest first."""
        found = (
            fit(
                self.shape, self.quantisation, self.gpu, layout,
                context=self.work.context, kv_value_bytes=self.kv_value_bytes,
                utilisation=self.utilisation, load_factor=self.load_factor,
            )
            for layout in layouts(self.shape, self.quantisation, self.gpu, dcp=self.dcp, limit=LARGEST // 4)
        )  # fmt: skip
        return sorted((one for one in found if one.sessions), key=lambda one: one.layout.gpus)

    def smallest(self, developers: int | None = None) -> Choice:
        """The fewest GPUs that serve so many developers, and the best layout on them.

        :raises ConfigError: if no number up to :data:`LARGEST` does.
        """
        for count in _counts(self.gpu):
            choice = self.on(count, developers)
            if choice is not None and choice.meets:
                return choice
        raise ConfigError(self._why_not())

    def on(self, count: int, developers: int | None = None) -> Choice | None:
        """The best use of exactly ``count`` GPUs; None if the model does not fit on them.

        A layout that meets the demand beats one that doesn't; then more turns a second, then fewer nodes.
        """
        choices = [choice for one in self.fits if (choice := self._choice(one, count, developers)) is not None]
        return max(choices, key=lambda c: (c.meets, c.turn.turns_per_second * c.copies, -c.fit.layout.pp), default=None)

    def _choice(self, one: Fit, count: int, developers: int | None) -> Choice | None:
        copies, left = divmod(count, one.layout.gpus)
        if left or not copies:
            return None
        work = self.work
        scale = (developers or work.developers) / work.developers
        active = work.active_sessions * scale / copies
        held = (work.open_sessions if work.hold_all else work.active_sessions) * scale
        turn = self.roofline(one).turn(active, work.context, work.prefill_tokens, work.turn_output)
        roomy = one.sessions * copies >= math.ceil(held)
        return Choice(one, copies, turn, roomy and turn.session_tokens_per_second >= work.min_speed)

    def roofline(self, one: Fit) -> Roofline:
        """The speed of one copy in this layout."""
        return Roofline(self.shape, self.quantisation, self.gpu, one.layout, self.pace, self.kv_value_bytes)

    def _why_not(self) -> str:
        if not self.fits:
            return f"no layout on {self.gpu.name}s holds the weights and one session of {self.work.context} tokens"
        work = self.work
        turns = [self.roofline(one).turn(1, work.context, work.prefill_tokens, work.turn_output) for one in self.fits]
        alone = max(turn.session_tokens_per_second for turn in turns)
        if alone < work.min_speed:
            return (
                f"even alone a session would see about {alone:.0f} output tokens/s on {self.gpu.name}s; "
                f"lower --min-speed ({work.min_speed:g}) or --context, or take another --gpu"
            )
        return f"{work.open_sessions:,.0f} sessions need more than {LARGEST} {self.gpu.name}s; lower --developers"


def _counts(gpu: Gpu) -> Iterator[int]:
    """Any number inside one node, then whole nodes."""
    yield from range(1, gpu.per_node)
    yield from range(gpu.per_node, LARGEST + 1, gpu.per_node)
