"""A conversation: the transcript, and a word at each step that must not be lost. This one lives in memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from agentrt.compaction.price import Compacted
from agentrt.compaction.view import Rewrite, View, rewritten
from agentrt.engine import Traced
from agentrt.types import Assistant, CheckedCall, ToolResult, ToolSpec, Transcript, Usage, User


@dataclass(slots=True)
class OpenTurn:
    """A turn that was answered but never closed, because the process died.

    ``keys`` are the idempotency keys of the calls that were meant to run, by call id; ``in_flight`` are the
    calls that may have been handed to their tool and whose effect, if repeated, would be a second one.
    ``repeatable`` are those handed over which, by their class at the time, may be repeated. ``handles`` are what the
    peers of some calls named the work on them.
    """

    answer: Assistant
    keys: Mapping[str, str] = field(default_factory=dict)
    in_flight: frozenset[str] = frozenset()
    repeatable: frozenset[str] = frozenset()
    results: Mapping[str, ToolResult] = field(default_factory=dict)
    handles: Mapping[str, str] = field(default_factory=dict)


class Conversation:
    """What the loop tells of a run as it happens. :class:`agentrt.journal.Session` writes it down first.

    The order within a turn: ``intend``, then ``start``, perhaps ``accept``, and ``land`` for each call, then
    ``close``. A turn that a crash left open is taken up with ``doubt`` or ``clear`` for each call in flight. ``kept``
    is where whole results go that were too long for the transcript, by their handles.
    """

    def __init__(
        self,
        transcript: Transcript | None = None,
        open_turn: OpenTurn | None = None,
        kept: dict[str, str] | None = None,
        view: View | None = None,
    ) -> None:
        self.transcript = Transcript() if transcript is None else transcript
        self._view = view
        self.open_turn = open_turn
        self._kept: dict[str, str] = {} if kept is None else kept

    @property
    def view(self) -> Transcript:
        """The transcript as it is sent to the model: the whole, or what compaction left of it and all that followed."""
        return self.transcript if self._view is None else self._view.followed()

    async def compact(self, rewrite: Rewrite, told: Compacted) -> None:
        """Send the conversation otherwise from now on; nothing of the transcript is lost."""
        self._view = rewritten(self.view, rewrite)

    @property
    def handles(self) -> Collection[str]:
        """The names of the results that were too long for the transcript."""
        return self._kept.keys()

    async def keep(self, handle: str, text: str) -> None:
        """Keep the whole of a result; it is durable when the result has landed."""
        self._kept[handle] = text

    async def kept(self, handle: str) -> str:
        """The whole result that ``handle`` names, which is one of :attr:`handles`."""
        return self._kept[handle]

    def key(self, call: CheckedCall) -> str:
        """The idempotency key of a call, the same after any crash; empty if nothing outlives the process."""
        return ""

    async def say(self, message: User) -> None:
        """The user spoke."""
        self.transcript.say(message)

    async def ask(self, turn: int, instructions: str, tools: Sequence[ToolSpec]) -> None:
        """The engine is about to be asked."""

    def trace(self, traced: Traced) -> None:
        """The token ids of the answer that is being given. Does not wait: they are kept with the answer."""

    async def intend(
        self, answer: Assistant, calls: Sequence[CheckedCall], results: Sequence[ToolResult], *, flush: bool
    ) -> None:
        """The answer is whole and these calls are to run; ``results`` are there already. Nothing has written yet.

        ``flush``: a person may be asked next, so it must be durable before that.
        """

    async def start(self, call: CheckedCall) -> None:
        """The call is about to be handed to its tool; when this returns, that is durable if the call may write."""

    async def accept(self, call: CheckedCall, handle: str) -> None:
        """The call's peer has taken it over and names the work ``handle``; durable when this returns."""

    def land(self, result: ToolResult) -> bool:
        """A call has its result. Does not wait: returns whether :meth:`flush` has to, beside what comes next."""
        return False

    async def flush(self) -> None:
        """When this returns, everything said so far is durable. Goes on while the run is being cancelled."""

    async def doubt(self, result: ToolResult, *, reconciled: bool) -> None:
        """A call that was in flight at a crash has an outcome: found out afterwards, or unknown for good."""

    async def clear(self, call: CheckedCall) -> None:
        """A call that was in flight at a crash is known to have done nothing: it is to run now."""

    async def call_off(self, results: Sequence[ToolResult]) -> None:
        """The run was cancelled before these calls started, so they must not run later either."""

    def close(self, answer: Assistant, results: Sequence[ToolResult]) -> None:
        """The turn is whole. Does not wait: the next durable step takes it along."""
        self.transcript.close_turn(answer, results)
        self.open_turn = None

    async def end(self, reason: str, turns: int, calls: int, usage: Usage, seconds: float) -> None:
        """The run is over."""
