"""From records to the transcript: a pure function, so the same journal always gives the same prompt."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from agentrt.compaction.view import View, rewritten
from agentrt.conversation import OpenTurn
from agentrt.journal.records import (
    Accepted,
    Answered,
    Cleared,
    Closed,
    Compaction,
    InDoubt,
    Intended,
    Landed,
    Reconciled,
    Record,
    Said,
    Started,
)
from agentrt.types import Assistant, ToolResult, Transcript

Step = Intended | Started | Accepted | Cleared | Landed | InDoubt | Reconciled
"""What a journal says of one call after the other of an answer."""


@dataclass(slots=True)
class _Turn:
    answer: Assistant
    intents: dict[str, Intended] = field(default_factory=dict)
    started: set[str] = field(default_factory=set)
    results: dict[str, ToolResult] = field(default_factory=dict)
    handles: dict[str, str] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        return all(call.id in self.results for call in self.answer.calls)

    def take(self, record: Step) -> None:
        """What became of one call."""
        match record:
            case Intended():
                self.intents[record.call_id] = record
            case Started(call_id):
                self.started.add(call_id)
            case Accepted(call_id, handle):
                self.handles[call_id] = handle
            case Cleared(call_id):
                self.started.discard(call_id)
                self.handles.pop(call_id, None)
            case Landed(result) | InDoubt(result) | Reconciled(result):
                self.results[result.call_id] = result

    def open_turn(self) -> OpenTurn:
        keys = {call_id: intent.key for call_id, intent in self.intents.items()}
        unsafe = {call_id for call_id, intent in self.intents.items() if intent.effect == "unsafe"}
        reads = {call_id for call_id, intent in self.intents.items() if intent.effect == "read"}  # start untold
        handed_over = (self.started | reads) - set(self.results)
        in_flight, repeatable = frozenset(handed_over & unsafe), frozenset(handed_over - unsafe)
        return OpenTurn(self.answer, keys, in_flight, repeatable, self.results, self.handles)


@dataclass(frozen=True, slots=True)
class Folded:
    """A journal as the loop needs it: the closed turns, and the one that a crash left open.

    ``view`` is what the model is sent of the transcript, if that is not the whole.
    """

    transcript: Transcript
    open_turn: OpenTurn | None
    view: View | None = None


def fold(records: Iterable[Record]) -> Folded:
    """Fold a session's records, in order.

    :raises ValueError: if they are not in an order that a session can have written.
    """
    transcript = Transcript()
    turn: _Turn | None = None
    view: View | None = None
    for record in records:
        match record:
            case Said(message):
                _settle(transcript, turn)
                turn = None
                transcript.say(message)
            case Answered(answer):
                _settle(transcript, turn)
                turn = _Turn(answer)
            case Closed(results):
                _open(turn, record).results.update((result.call_id, result) for result in results)
                _settle(transcript, turn)
                turn = None
            case Compaction(rewrite):
                _settle(transcript, turn)
                turn = None
                view = rewritten(view.followed() if view else transcript, rewrite)
            case Intended() | Started() | Accepted() | Cleared() | Landed() | InDoubt() | Reconciled():
                _open(turn, record).take(record)
            case _:
                pass  # for people and statistics; the prompt does not depend on it
    if turn is not None and turn.whole:
        _settle(transcript, turn)
        turn = None
    return Folded(transcript, turn.open_turn() if turn else None, view.followed() if view else None)


def _open(turn: _Turn | None, record: Record) -> _Turn:
    if turn is None:
        raise ValueError(f"a {type(record).__name__} record without an answer before it")
    return turn


def _settle(transcript: Transcript, turn: _Turn | None) -> None:
    """Close a turn, also one whose last record was lost, if every result of it is there."""
    if turn is not None:
        if not turn.whole:
            raise ValueError("the session went on although a call had no result")
        transcript.close_turn(turn.answer, [turn.results[call.id] for call in turn.answer.calls])
