"""Server-sent events from bytes, however they are cut (WHATWG HTML section 9.2.6)."""

from __future__ import annotations

MAX_EVENT_BYTES = 32_000_000
_BOM = b"\xef\xbb\xbf"


class EventStream:
    """Splits a stream of bytes into the data of its events; comments, names and ids are dropped.

    More lenient than the standard in two points: the last event needs no empty line behind it, and a line
    ``error: …`` counts as data, because llama.cpp reports its errors like that.
    """

    __slots__ = ("_data", "_line", "_size", "_start")

    def __init__(self) -> None:
        self._line: list[bytes] = []
        self._data: list[bytes] = []
        self._size = 0
        self._start = True

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of every event that is whole with ``piece``, in order.

        :raises ValueError: if an event is larger than ``MAX_EVENT_BYTES``.
        """
        self._line.append(piece)
        self._size += len(piece)
        if self._size > MAX_EVENT_BYTES:
            raise ValueError(f"an event is larger than {MAX_EVENT_BYTES} bytes")
        if b"\n" not in piece and b"\r" not in piece:
            return []
        if len(self._line) == 1 and not self._data and (whole := _whole_events(piece)):
            self._line.clear()
            self._size, self._start = 0, False
            return whole
        text = b"".join(self._line)
        held = b""
        if b"\r" in text:
            if text.endswith(b"\r"):  # the line feed of a pair may still come
                text, held = text[:-1], b"\r"
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = text.split(b"\n")
        self._line = [rest, held] if held else [rest]
        events = self._events(lines)
        if not self._data:
            self._size = len(rest)
        return events

    def close(self) -> list[bytes]:
        """The data of an event that the end of the stream closed, if there is one."""
        rest = b"".join(self._line).removesuffix(b"\r")
        self._line = []
        return self._events([rest, b""])

    def _events(self, lines: list[bytes]) -> list[bytes]:
        if self._start and lines:
            lines[0] = lines[0].removeprefix(_BOM)
            self._start = False
        events: list[bytes] = []
        data = self._data
        for line in lines:
            if line.startswith((b"data:", b"error:")):
                value = line[5:] if line.startswith(b"data:") else line[6:]
                data.append(value[1:] if value.startswith(b" ") else value)
            elif not line and data:
                events.append(data[0] if len(data) == 1 else b"\n".join(data))
                data.clear()
        return events


def _whole_events(piece: bytes) -> list[bytes]:
    """The data of ``piece`` if it is nothing but whole events of one line: the usual case, made quick."""
    if not piece.startswith(b"data: ") or not piece.endswith(b"\n\n") or b"\r" in piece:
        return []
    events = piece[6:-2].split(b"\n\ndata: ")
    return events if piece.count(b"\n") == 2 * len(events) else []
