"""The parts of an HTTP/1.1 answer: its head and the framings of its body. Strict, and without input or output."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from agentrt.engines.transport import BadResponse

MAX_LINE_BYTES = 16_384
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [^\r\n]*)?\Z")
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_CHUNK = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;[^\r\n]*)?\Z")


@dataclass(frozen=True, slots=True)
class Head:
    """Status and header fields (names in lower case). ``keep_alive``: another request may follow."""

    status: int
    headers: Mapping[str, str]
    keep_alive: bool


def parse_head(data: bytes) -> Head:
    """Parse the head of an answer, without the empty line at its end (RFC 9112 sections 4 and 5).

    :raises BadResponse: if it is none.
    """
    status_line, *lines = data.split(b"\r\n")
    match = _STATUS.match(status_line)
    if match is None:
        raise BadResponse(f"not an HTTP/1.1 answer: {status_line[:80]!r}")
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(b":")
        key, text = _field_name(name), value.strip(b" \t").decode("latin-1")
        fields[key] = f"{fields[key]}, {text}" if key in fields else text
    tokens = fields.get("connection", "").lower().replace(" ", "").split(",")
    keep_alive = "close" not in tokens and (match[1] == b"1" or "keep-alive" in tokens)
    return Head(int(match[2]), fields, keep_alive)


@lru_cache(maxsize=1024)
def _field_name(name: bytes) -> str:
    if not _NAME.match(name):
        raise BadResponse(f"not the name of a header field: {name[:80]!r}")
    return name.lower().decode("ascii")


class Body(Protocol):
    """Takes the framing off a body. ``done`` once it is whole."""

    done: bool

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """The content in ``data``, which is not empty, and the bytes behind the body's end."""
        ...

    def ends_here(self) -> bool:
        """Whether the end of the connection may be the end of the body."""
        ...


def body_of(head: Head) -> Body:
    """How the body of an answer to GET or POST is framed (RFC 9112 section 6.3).

    :raises BadResponse: if the head contradicts itself or says nothing that we know.
    """
    encoding = head.headers.get("content-encoding", "identity").lower()
    if encoding not in ("identity", ""):
        raise BadResponse(f"the answer is encoded as {encoding!r}, though only identity was asked for")
    if head.status in (0, 204, 304):
        return _Sized(0)
    transfer = head.headers.get("transfer-encoding")
    if transfer is not None:
        if transfer.lower() != "chunked":
            raise BadResponse(f"unknown transfer-encoding {transfer!r}")
        return _Chunked()
    length = head.headers.get("content-length")
    if length is None:
        return _UntilClose()
    if not length.isascii() or not length.isdigit():
        raise BadResponse(f"content-length is {length!r}")
    return _Sized(int(length))


class _Sized:
    __slots__ = ("_left", "done")

    def __init__(self, size: int) -> None:
        self._left = size
        self.done = size == 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        piece, rest = data[: self._left], data[self._left :]
        self._left -= len(piece)
        self.done = self._left == 0
        return piece, rest

    def ends_here(self) -> bool:
        return self.done


class _UntilClose:
    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = False

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        return data, b""

    def ends_here(self) -> bool:
        return True


class _Chunked:
    """RFC 9112 section 7.1. All content in the bytes at hand comes out as one piece, whole chunks or not."""

    __slots__ = ("_held", "_in_chunk", "_left", "_trailing", "done")

    def __init__(self) -> None:
        self.done = False
        self._held = b""
        self._left = 0
        self._in_chunk = False
        self._trailing = False

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        if self._held:
            data = self._held + data
        elif not self._in_chunk and not self._trailing and (whole := _whole_chunks(data)) is not None:
            content, self.done = whole
            return content, b""
        pieces: list[bytes] = []
        at = 0
        while not self._trailing:
            if self._in_chunk:
                stop = at + self._left
                pieces.append(data[at:stop])
                if len(data) < stop + 2:
                    self._left = max(stop - len(data), 0)
                    at = min(stop, len(data))
                    break
                if data[stop : stop + 2] != b"\r\n":
                    raise BadResponse("a chunk is longer than it said")
                at = stop + 2
                self._in_chunk = False
            end = data.find(b"\r\n", at)
            if end < 0:
                if len(data) - at > MAX_LINE_BYTES:
                    raise BadResponse("the size of a chunk is too long")
                break
            self._left = _chunk_size(data[at:end])
            at = end + 2
            self._in_chunk, self._trailing = self._left > 0, self._left == 0
        return b"".join(pieces), self._close(data, at)

    def _close(self, data: bytes, at: int) -> bytes:
        """Skip the trailer section if the last chunk was seen; keep what is not complete."""
        self._held = data[at:]
        if not self._trailing:
            return b""
        if self._held.startswith(b"\r\n"):
            end = 2
        elif (found := self._held.find(b"\r\n\r\n")) >= 0:
            end = found + 4
        else:
            if len(self._held) > MAX_LINE_BYTES:
                raise BadResponse("the trailer of the answer is too long")
            return b""
        self.done = True
        rest, self._held = self._held[end:], b""
        return rest

    def ends_here(self) -> bool:
        return False


def _whole_chunks(data: bytes) -> tuple[bytes, bool] | None:
    """The content of ``data``, and whether the last chunk was there: the usual case, made quick.

    ``None`` if ``data`` is anything but whole chunks without a line break inside. Right because the first line
    break behind a size stands where the size says that the chunk ends.
    """
    lines = data.split(b"\r\n")
    if len(lines) % 2 == 0 or lines[-1]:
        return None
    contents = lines[1::2]
    try:
        sizes = [_chunk_size(line) for line in lines[:-1:2]]
    except BadResponse:
        return None
    if sizes != [len(content) for content in contents] or 0 in sizes[:-1]:
        return None
    return b"".join(contents), sizes[-1:] == [0]


@lru_cache(maxsize=1024)
def _chunk_size(line: bytes) -> int:
    match = _CHUNK.match(line)
    if match is None:
        raise BadResponse(f"not the size of a chunk: {line[:40]!r}")
    return int(match[1], 16)
