"""Reads one step of a small model, ``{"tool": …, "arguments": {…}}``, while it is being written."""

from __future__ import annotations

import json
import re

from agentrt.engine import CallDelta, Delta, TextDelta

MAX_HEAD_CHARS = 400
_HEAD = re.compile(r'\s*\{\s*"tool"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"(arguments|text)"\s*:\s*(?=[{"])')
_MARK = re.compile(r'\\.?|["{}\[\]]', re.DOTALL)
_DEPTH = {"{": 1, "[": 1, "}": -1, "]": -1}
_HEX = r"[0-9a-fA-F]"
_HIGH = rf"[dD][89abAB]{_HEX}{{2}}"
# what can be decoded without what follows: a high surrogate waits for the escape behind it
_DECODABLE = re.compile(
    rf'(?:[^"\\]+|\\[^u]|\\u(?:{_HIGH}(?:\\u{_HEX}{{4}}|(?=[^\\]|\\[^u]))|(?!{_HIGH}){_HEX}{{4}}))*', re.DOTALL
)


class NotAStepError(ValueError):
    """What the model writes is no step: it does not begin as one, or goes on differently."""


class StepReader:
    """Turns the pieces of one step into deltas: a call's arguments as they are written, a reply's text decoded.

    ``reply`` is the name under which answering in words is offered. A step is an object whose first key is
    ``tool`` and whose second and last is ``arguments`` (a call) or ``text`` (the reply). However it is cut
    into pieces, the deltas join to the same answer.
    """

    def __init__(self, reply: str) -> None:
        self._reply = reply
        self._pending = ""
        self._read = self._head
        self._depth = 0
        self._quoted = False
        self.is_call = False
        self.whole = False

    def feed(self, piece: str) -> list[Delta]:
        """Take the next piece; return what can be told by now.

        :raises NotAStepError: if this can't become a step any more.
        """
        self._pending += piece
        deltas: list[Delta] = []
        while self._pending:
            before = self._read
            deltas += before()
            if self._read == before:
                break
        return deltas

    def _head(self) -> list[Delta]:
        """Wait for the tool's name and the key behind it."""
        match = _HEAD.match(self._pending)
        if match is None:
            start = self._pending.lstrip()[:1]
            if start not in ("", "{") or len(self._pending) > MAX_HEAD_CHARS:
                raise NotAStepError(f"a step begins with its tool, not with {self._pending[:80]!r}")
            return []
        name, key = json.loads(match.group(1)), match.group(2)
        if (key == "text") != (name == self._reply):
            raise NotAStepError(f"{name!r} does not go with {key!r}")
        self._pending = self._pending[match.end() :]
        if key == "text":
            self._pending, self._read = self._pending[1:], self._text
            return []
        self.is_call, self._read = True, self._arguments
        return [CallDelta(0, name=name)]

    def _text(self) -> list[Delta]:
        """Decode what is whole of the reply's text."""
        match = _DECODABLE.match(self._pending)
        ready = match.group() if match else ""
        self._pending = self._pending[len(ready) :]
        if self._pending.startswith('"'):
            self._pending, self._read = self._pending[1:], self._tail
        try:
            text: str = json.loads(f'"{ready}"', strict=False)
        except ValueError as error:
            raise NotAStepError(f"no JSON string: {error}") from error
        # surrogates that stay alone can't be written as UTF-8 later on
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return [TextDelta(text)] if text else []

    def _arguments(self) -> list[Delta]:
        """Pass the arguments on as they are written, up to the bracket that closes them."""
        ready = self._pending
        cut = len(ready) - 1 if ready.endswith("\\") else len(ready)  # an escape is read as a whole
        for match in _MARK.finditer(ready, 0, cut):
            mark = match.group()
            if mark == '"':
                self._quoted = not self._quoted
            elif not self._quoted and mark in _DEPTH:
                self._depth += _DEPTH[mark]
                if self._depth == 0:
                    cut, self._read = match.end(), self._tail
                    break
        self._pending = ready[cut:]
        return [CallDelta(0, arguments=ready[:cut])] if cut else []

    def _tail(self) -> list[Delta]:
        """Only the closing bracket may follow."""
        rest = self._pending.strip()
        if rest not in ("", "}") or (rest and self.whole):
            raise NotAStepError(f"a step ends with its object, not with {rest[:80]!r}")
        self.whole = self.whole or rest == "}"
        self._pending = ""
        return []
