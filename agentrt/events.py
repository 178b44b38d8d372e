"""The closed union of events: the only thing that doors, traces and the journal see of a run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from agentrt.compaction.price import Compacted as Compacted
from agentrt.engine import CallDelta, Prompted, ReasoningDelta, Retrying, TextDelta, Traced
from agentrt.plain import to_json as to_json
from agentrt.types import Assistant, ToolCall, ToolResult, Usage


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A run began; ``tools`` are the names on offer."""

    engine: str
    tools: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ToolRefused:
    """A tool is left out because its schema can't be used; ``reason`` says why."""

    name: str
    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """The engine is asked for turn ``turn``, counted from 1."""

    turn: int


@dataclass(frozen=True, slots=True)
class CallRepaired:
    """A slip without loss of meaning was undone. ``before`` and ``after`` are the arguments as JSON text."""

    call: ToolCall
    rule: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class CallRejected:
    """A call did not pass the gate, the permissions or the turn, and reached no tool."""

    call: ToolCall
    reason: str


@dataclass(frozen=True, slots=True)
class CallStarted:
    """A call was handed to its tool; ``eager`` if the model was still decoding."""

    call: ToolCall
    source: str
    eager: bool


@dataclass(frozen=True, slots=True)
class CallProgress:
    """A tool reported how far it is. ``total`` is ``None`` if it does not know."""

    call_id: str
    done: float
    total: float | None
    message: str


@dataclass(frozen=True, slots=True)
class CallFinished:
    """A call has its result, after ``seconds``."""

    result: ToolResult
    seconds: float


@dataclass(frozen=True, slots=True)
class TurnFinished:
    """The answer of turn ``turn`` is whole (or was cut); its calls, if any, are being answered."""

    turn: int
    answer: Assistant
    seconds: float


@dataclass(frozen=True, slots=True)
class Nudged:
    """The model was told that it repeats itself (``times`` equal calls with equal results)."""

    call: ToolCall
    times: int


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The run ended, for ``reason``; this is always the last event."""

    reason: str
    text: str
    turns: int
    calls: int
    usage: Usage
    seconds: float


Event = (
    RunStarted
    | ToolRefused
    | TurnStarted
    | TextDelta
    | ReasoningDelta
    | CallDelta
    | Retrying
    | Prompted
    | Traced
    | Compacted
    | CallRepaired
    | CallRejected
    | CallStarted
    | CallProgress
    | CallFinished
    | TurnFinished
    | Nudged
    | RunFinished
)
"""Everything that can happen in a run; a ``match`` that covers it covers all."""

Emit = Callable[[Event], Awaitable[None]]
"""Where a run sends its events. It may wait (a slow reader slows the run) but must not raise."""


async def nowhere(event: Event) -> None:
    """Drop the event."""
