"""The shorter form of a conversation that the model is sent; what was said stays whole in the transcript beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from agentrt.types import Assistant, Message, ToolResult, Transcript, User


@dataclass(frozen=True, slots=True)
class Rewrite:
    """What is sent otherwise from now on: messages ``start`` to ``end`` of the view give way to those ``instead``.

    The first of these is the note that stands for what is left out; requests of the person that are not answered
    yet follow it. ``shortened`` are results, by their call ids, as they are sent from now on.
    """

    start: int
    end: int
    instead: tuple[User, ...] = ()
    shortened: tuple[ToolResult, ...] = ()


class View(Transcript):
    """A transcript in its shorter form. ``origin`` is the whole one; what is appended there follows here.

    ``notes`` are, by position, what the notes in it stand for.
    """

    __slots__ = ("_seen", "notes", "origin")

    def __init__(self, messages: Iterable[Message], origin: Transcript, notes: Mapping[int, Sequence[Message]]) -> None:
        super().__init__(messages)
        self.origin = origin
        self.notes = dict(notes)
        self._seen = len(origin)

    def followed(self) -> Self:
        """The same view, with all that the origin has by now."""
        new = self.origin.since(self._seen)
        self._messages.extend(new)
        self._call_ids.update(call.id for item in new if isinstance(item, Assistant) for call in item.calls)
        self._seen += len(new)
        return self


def origin_of(transcript: Transcript) -> Transcript:
    """The whole transcript that this one is a form of: the same for as long as the conversation lives."""
    return getattr(transcript, "origin", transcript)


def stood_for(view: Transcript, start: int, end: int) -> list[Message]:
    """The messages ``start`` to ``end``, with what notes among them stand for in their place."""
    notes: Mapping[int, Sequence[Message]] = getattr(view, "notes", {})
    found: list[Message] = []
    for at, message in enumerate(view.since(start)[: end - start], start):
        found.extend(notes.get(at, (message,)))
    return found


def rewritten(view: Transcript, rewrite: Rewrite) -> View:
    """The view after the rewrite; pure, and the same for the same arguments.

    :raises ValueError: if a call would be parted from its result.
    """
    start, end, instead = rewrite.start, rewrite.end, rewrite.instead
    short = {result.call_id: result for result in rewrite.shortened}
    messages = [*view.since(0)[:start], *instead, *view.since(end)]
    kept = [short.get(item.call_id, item) if isinstance(item, ToolResult) else item for item in messages]
    old: Mapping[int, Sequence[Message]] = getattr(view, "notes", {})
    shift = len(instead) - (end - start)
    notes = {at if at < start else at + shift: stood for at, stood in old.items() if not start <= at < end}
    if instead:
        notes[start] = [item for item in stood_for(view, start, end) if item not in instead[1:]]
    return View(kept, origin_of(view), notes)


@dataclass(frozen=True, slots=True)
class Points:
    """Where a view may be cut: ``starts`` before the first turn, and ``ends`` between whole turns.

    ``kept_from`` is where the last turns begin, which stay.
    """

    starts: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()
    kept_from: int = 0


def cut_points(view: Transcript, keep_turns: int) -> Points:
    """The places at which no call is parted from its result and the last ``keep_turns`` answers stay."""
    messages = view.since(0)
    answers = [at for at, message in enumerate(messages) if isinstance(message, Assistant)]
    if not answers:
        return Points()
    kept_from = answers[max(len(answers) - keep_turns, 0)] if keep_turns else len(messages)
    ends = [at for at in range(1, len(messages) + 1) if at == len(messages) or not isinstance(messages[at], ToolResult)]
    return Points(_starts(view), tuple(at for at in ends if answers[0] < at <= kept_from), kept_from)


def _starts(view: Transcript) -> tuple[int, ...]:
    """The places from the beginning up to which only notes and open requests stand: one that was answered would look
    open without its answer.
    """
    stay = {*getattr(view, "notes", {}), *unanswered(view)}
    last = next((at for at in range(len(view)) if at not in stay), len(view))
    return tuple(range(last + 1))


def unanswered(view: Transcript) -> dict[int, User]:
    """The requests, by position, that no answer in words has followed; notes are none."""
    notes: Mapping[int, Sequence[Message]] = getattr(view, "notes", {})
    waiting: dict[int, User] = {}
    for at, message in enumerate(view):
        if isinstance(message, User) and at not in notes:
            waiting[at] = message
        elif isinstance(message, Assistant) and not message.calls:
            waiting.clear()
    return waiting
