"""The state that all formats share: words, reasoning, and calls that are whole only if their end was seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from agentrt.engine import CallDelta, Delta, ReasoningDelta, TextDelta
from agentrt.engines.toolparse.bodies import Body
from agentrt.engines.toolparse.marks import Mark, Piece


class Parser:
    """Folds pieces into deltas. A subclass says which markers its format has and what stands between them.

    ``begins`` and ``ends`` are the markers around a call, ``after`` what else may follow one, ``stops`` the markers
    that end an answer, ``halts`` those among ``ends`` that end it as well.

    ``certain``: the markers come from token ids. ``schemas`` are the input schemas of the tools on offer, by name.
    ``reasoning``: the prompt ended inside the model's reasoning.
    """

    marks: ClassVar[tuple[str, ...]]
    begins: ClassVar[frozenset[str]] = frozenset()
    ends: ClassVar[frozenset[str]] = frozenset()
    after: ClassVar[frozenset[str]] = frozenset()
    stops: ClassVar[frozenset[str]] = frozenset()
    halts: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self, *, certain: bool, schemas: Mapping[str, Mapping[str, Any]] | None = None, reasoning: bool = False
    ) -> None:
        self.schemas = schemas or {}
        self.calls = 0
        self.ended = 0
        self.broken = False
        self.stopped = False
        self._certain = certain
        self._reasoning = reasoning
        self._fresh = True  # nothing was said yet, or since the last call
        self._body: Body | None = None
        self._named = False
        self._doubt = ""  # an end marker inside an open string: the next piece tells whether it was one
        self._out: list[Delta] = []

    @property
    def open_call(self) -> bool:
        """Whether a call has begun and not ended, or was broken off."""
        return self._body is not None or self.broken

    def feed(self, pieces: Iterable[Piece]) -> list[Delta]:
        """The deltas that these pieces make."""
        for piece in pieces:
            if self._doubt:
                self._decide(piece)
            if isinstance(piece, Mark):
                self._take_mark(piece.text)
            elif self._doubt:
                self._doubt += piece
            elif self._body is not None:
                self._body.feed(piece)
            else:
                self.words(piece)
        out, self._out = self._out, []
        return out

    def _decide(self, piece: Piece) -> None:
        """The end marker was one if another call, the section's end or the answer's follows; else it was data."""
        assert self._body is not None, "a doubt is about a call"
        if isinstance(piece, Mark):
            real = piece.text in self.begins | self.stops | self.after
        elif not piece.strip():
            return
        else:
            real = False
        doubt, self._doubt = self._doubt, ""
        if real:
            self.end_call()
        else:
            self._body.feed(doubt)

    def _take_mark(self, mark: str) -> None:
        if self._body is not None:
            self._mark_in_call(self._body, mark)
        elif mark in self.stops:
            self.stopped = True
        elif not self._think(mark):
            self.mark(mark)

    def _mark_in_call(self, body: Body, mark: str) -> None:
        if body.in_string:
            self._mark_in_string(body, mark)
        elif body.mark(mark):
            pass
        elif mark in self.ends:
            self.end_call()
        elif mark in self.stops:
            self.break_off()
            self.stopped = True
        elif mark in self.begins or mark in self.after:
            self.end_call()
            self.mark(mark)
        else:
            body.feed(mark)

    def _mark_in_string(self, body: Body, mark: str) -> None:
        if self._certain and mark in self.ends:
            self._doubt = mark
        elif self._certain and mark in self.stops:
            self.break_off()
            self.stopped = True
        else:
            body.feed(mark)

    def _think(self, mark: str) -> bool:
        if mark == "<think>":
            if self._certain or self._fresh:
                self._reasoning = True
        elif mark == "</think>":
            self._reasoning, self._fresh = False, True
        else:
            return False
        return True

    def words(self, text: str) -> None:
        """Words outside of any call."""
        if self._reasoning:
            self._out.append(ReasoningDelta(text))
            return
        if self._fresh:
            text = text.lstrip()
        if text:
            self._fresh = False
            self._out.append(TextDelta(text))

    def mark(self, mark: str) -> None:
        """A marker outside of any call that is not about reasoning; one without a meaning there is dropped."""

    def begin_call(self, body: Body) -> None:
        """What comes until the call's end belongs to ``body``."""
        self._body = body
        self._named = False

    def emit(self, name: str, arguments: str, call_id: str = "") -> None:
        """The next of the call that is open; its first emission counts it."""
        if not self._named:
            self._named = True
            self.calls += 1
        self._out.append(CallDelta(self.calls - 1, call_id, name, arguments))

    def end_call(self) -> None:
        """The open call is whole as far as its format goes."""
        assert self._body is not None, "no call is open"
        self._body.end()
        self._body = None
        self._fresh = True
        self.ended += 1

    def break_off(self) -> None:
        """The open call, or what looked like one, will never end."""
        self._body = None
        self.broken = True
