"""What a cut costs and what it saves, in tokens: pure arithmetic, and the event that shows it.

The unit is a prompt token that must be prefilled. A prompt token that the prefix cache holds costs ``cached`` of one,
a token that is generated costs ``completion``.

- Paid once: all after the place where the prompt changes is prefilled again (``after - prefix``), once more from its
  beginning if the tools at the head of the prompt change with it; and the summary: its prompt is cached up to the
  cut, its words are generated.
- Saved with every later turn: ``before - after`` tokens that would have been read from the cache.
- Later turns are as many as are expected, and no more than until the shorter prompt is full again: then the next cut
  is paid for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from agentrt.types import Usage


@dataclass(frozen=True, slots=True)
class Compacted:
    """A conversation was made shorter. All sizes are in tokens, and the engine's own where it told them.

    The prompt went from ``before`` to ``after``, of which ``prefilled`` come after the first change. ``dropped``
    messages are left out for a summary of ``summary_tokens`` (0: without a model's words) and ``shortened`` results
    for a line with a handle. ``cost`` is the price of it all in prefilled tokens, ``worth`` what it saves beyond that.
    """

    before: int
    after: int
    dropped: int
    shortened: int
    prefilled: int
    summary_tokens: int
    cost: float
    worth: float
    reason: str
    usage: Usage = Usage()  # noqa: RUF009 - frozen, so it may be shared


@dataclass(frozen=True, slots=True)
class Rates:
    """What a token costs beside one that is prefilled: one from the prefix cache, and one that is generated."""

    cached: float = 0.1
    completion: float = 4.0


@dataclass(frozen=True, slots=True)
class Horizon:
    """What is ahead: expected ``turns``, the tokens by which each lets the prompt grow, and those that it may have."""

    turns: int
    growth: float
    limit: int


@dataclass(frozen=True, slots=True)
class Cut:
    """A place to cut. ``prefix`` tokens stay as they are; messages ``start`` to ``end`` are replaced.

    ``asked`` and ``summary`` are the tokens of the summary's prompt and of its words, 0 if there is none. ``heads``
    are the tokens of the prompt that is prefilled from the beginning since new tools come with it.
    """

    start: int
    end: int
    before: int
    after: int
    prefix: int
    asked: int = 0
    summary: int = 0
    heads: int = 0

    @property
    def prefilled(self) -> int:
        """The tokens that the prefix cache no longer holds."""
        return max(self.after - self.prefix, 0) + self.heads


def cost(cut: Cut, rates: Rates) -> float:
    """What the cut costs once, in prefilled tokens."""
    return cut.prefilled + cut.asked * rates.cached + cut.summary * rates.completion


def worth(cut: Cut, horizon: Horizon, rates: Rates) -> float:
    """What the cut saves over the turns ahead, beyond its cost; below zero it does not pay."""
    turns = float(horizon.turns)
    if horizon.growth > 0:
        turns = min(turns, max(horizon.limit - cut.after, 0) / horizon.growth)
    return turns * (cut.before - cut.after) * rates.cached - cost(cut, rates)


def choose_cut(cuts: Iterable[Cut], horizon: Horizon, rates: Rates, *, target: int, must: bool) -> Cut | None:
    """The cut that is worth the most of those that leave at most ``target`` tokens.

    Without ``must`` it also has to pay. Of equal ones it is the one that keeps most.
    """
    fitting = [cut for cut in cuts if cut.after <= target and cut.after < cut.before]
    best = max(fitting, key=lambda cut: (worth(cut, horizon, rates), cut.after), default=None)
    return best if best is None or must or worth(best, horizon, rates) > 0 else None
