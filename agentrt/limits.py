"""What a run may use, and the watch over it: every limit, and the circles that a model can get caught in."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from agentrt.types import Assistant, ToolCall, ToolResult, Usage

Reason = Literal[
    "done", "turns", "calls", "tokens", "cost", "time", "identical_calls", "invalid_calls",
    "length", "content_filter", "cut", "empty",
]  # fmt: skip
"""Why a run ended. ``done``: the model answered in words. The rest: a limit, or an answer that never came whole."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run may use; ``None`` lifts a limit. Reaching one ends the run as a value, never as an exception.

    ``tokens`` counts prompt and completion over all turns, ``cost`` is in US dollars (where prices are
    known), ``seconds`` is the run's wall time and ``call_seconds`` that of one call. ``identical_calls``
    equal calls with equal results end the run (the model is told at half of that). ``rejected_turns`` are
    turns in a row in which no call passed the gate. ``retries`` are repeated asks after an answer that was
    cut or empty. A result longer than ``result_chars`` is spilled to a file.
    """

    turns: int | None = 50
    calls: int | None = 100
    tokens: int | None = 5_000_000
    cost: float | None = 10.0
    seconds: float | None = 1800.0
    call_seconds: float = 600.0
    identical_calls: int | None = 5
    rejected_turns: int | None = 5
    retries: int = 2
    result_chars: int = 16_000


@dataclass(slots=True)
class Watch:
    """Counts what a run has used, and says why it must end."""

    limits: Limits
    turns: int = 0
    calls: int = 0
    usage: Usage = field(default_factory=Usage)
    spoiled: int = 0
    rejected_turns: int = 0
    seen: set[int] = field(default_factory=set)
    repeats: Counter[int] = field(default_factory=Counter)

    def reached(self) -> Reason | None:
        """The limit that stands in the way of another turn."""
        limits = self.limits
        if limits.turns is not None and self.turns >= limits.turns:
            return "turns"
        if limits.tokens is not None and self.usage.tokens >= limits.tokens:
            return "tokens"
        if limits.cost is not None and (self.usage.cost or 0.0) >= limits.cost:
            return "cost"
        return None

    def refusal(self, answer: Assistant) -> tuple[str, Reason | None] | None:
        """Why nothing of this answer may run, and why the run ends with it, if it does."""
        limit = self.limits.calls
        match answer.finish:
            case "cut":
                return "the answer was cut before it was whole.", "cut"
            case "length" if answer.calls:
                return "the answer reached the token limit before it was whole. Do it in smaller steps.", None
            case "length" | "content_filter" as reason:
                return "the answer was filtered.", reason
            case _ if not (answer.text or answer.calls):
                return "the answer was empty.", "empty"
            case _ if limit is not None and self.calls + len(answer.calls) > limit:
                return f"the run's limit of {limit} calls is reached.", "calls"
        return None

    def may_retry(self, reason: Reason | None) -> bool:
        """Whether to ask again after an answer that is not kept for ``reason``."""
        if reason not in ("cut", "empty"):
            return False
        self.spoiled += 1
        return self.spoiled <= self.limits.retries

    def times(self, call: ToolCall, result: ToolResult) -> int:
        """How often this very call had this very result since anything new came, once that is too often; else 0."""
        limit = self.limits.identical_calls
        if limit is None:
            return 0
        seen = hash((call.name, call.arguments, result.text))
        if seen not in self.seen:
            self.seen.add(seen)
            self.repeats.clear()
        self.repeats[seen] += 1
        times = self.repeats[seen]
        return times if times > max(limit // 2, 1) else 0

    def stuck(self, *, all_rejected: bool) -> Reason | None:
        """Whether the model goes in circles: the same calls again and again, or never a valid one."""
        limits = self.limits
        self.spoiled = 0
        self.rejected_turns = self.rejected_turns + 1 if all_rejected else 0
        if limits.rejected_turns is not None and self.rejected_turns >= limits.rejected_turns:
            return "invalid_calls"
        again = max(self.repeats.values(), default=0)
        return "identical_calls" if limits.identical_calls is not None and again >= limits.identical_calls else None
