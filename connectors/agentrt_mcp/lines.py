"""From bytes to JSON-RPC messages: lines with a cap, and an answer for a request whose answer can't be read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mcp.shared.message import SessionMessage
from mcp.types import PARSE_ERROR, ErrorData, JSONRPCError, jsonrpc_message_adapter

MAX_LINE_BYTES = 8 * 1024 * 1024
_KEEP_BYTES = 512


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its newline. Of a line over the cap only ``head`` and ``tail`` are kept: it is not ``whole``."""

    head: bytes
    tail: bytes
    size_bytes: int
    whole: bool = True


class Lines:
    """Cuts a byte stream into lines; memory stays within ``max_bytes``, however long a line gets."""

    def __init__(self, max_bytes: int = MAX_LINE_BYTES) -> None:
        self.max_bytes = max_bytes
        self._pieces: list[bytes] = []
        self._size = 0
        self._tail = b""

    def feed(self, chunk: bytes) -> Iterator[Line]:
        """Take the next bytes; give every line that ended in them."""
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            self._add(piece)
            yield self._take()
        self._add(rest)

    def _add(self, piece: bytes) -> None:
        before, self._size = self._size, self._size + len(piece)
        if self._size <= self.max_bytes:
            self._pieces.append(piece)
        elif before <= self.max_bytes:
            head = b"".join(self._pieces)
            self._pieces, self._tail = [(head + piece)[:_KEEP_BYTES]], (head[-_KEEP_BYTES:] + piece)[-_KEEP_BYTES:]
        else:
            self._tail = (self._tail + piece)[-_KEEP_BYTES:]

    def _take(self) -> Line:
        text, whole = b"".join(self._pieces), self._size <= self.max_bytes
        line = Line(text, text[-_KEEP_BYTES:] if whole else self._tail, self._size, whole)
        self._pieces, self._size, self._tail = [], 0, b""
        return line


def read_message(line: Line) -> SessionMessage | str:
    """The message in a line, or why there is none.

    Bytes that are not UTF-8 become U+FFFD, so that a call is answered all the same.
    """
    if not line.whole:
        return f"a line of {line.size_bytes} bytes, more than the {MAX_LINE_BYTES} that are read"
    text = line.head.decode("utf-8", errors="replace")
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(text, by_name=False))
    except ValueError:
        return "a line that is no JSON-RPC message"


_VERSION = rb'(?:\s*"jsonrpc"\s*:\s*"2\.0"\s*,)?'
_ID_FIRST = re.compile(
    rb"\A\s*\{" + _VERSION + rb'\s*"id"\s*:\s*(\d{1,15})\s*,' + _VERSION + rb'\s*"(?:result|error)"\s*:'
)
_ID_LAST = re.compile(rb'"jsonrpc"\s*:\s*"2\.0"\s*,\s*"id"\s*:\s*(\d{1,15})\s*\}\s*\Z')


def answer_for(line: Line, reason: str) -> SessionMessage | None:
    """An error for the request that an unreadable line answers, if its id stands where servers write it.

    Only the very beginning and the very end of a line count, so nothing inside a result can pass for an id.
    """
    found = _ID_FIRST.match(line.head[:_KEEP_BYTES]) or _ID_LAST.search(line.tail)
    if found is None:
        return None
    error = ErrorData(code=PARSE_ERROR, message=reason)
    return SessionMessage(JSONRPCError(jsonrpc="2.0", id=int(found.group(1)), error=error))
