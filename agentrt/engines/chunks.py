"""From the chunks of a Chat Completions stream to deltas, with the habits of many servers made one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from agentrt.engine import CallDelta, Delta, ReasoningDelta, TextDelta
from agentrt.types import FinishReason, Usage

FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "complete": "stop",
    "tool_calls": "tool_calls",
    "tool_call": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "content_filter": "content_filter",
    "refusal": "content_filter",
    "safety": "content_filter",
    "recitation": "content_filter",
}
"""Why a server says that it stopped, in lower case. What is not here (``abort``, ``error``) is no whole answer."""


class ServerFault(Exception):
    """The server reported an error inside its answer. ``status`` is its HTTP-like code, 0 if it gave none."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(slots=True)
class _Call:
    """What is known of one call so far. ``placeholder``: it opened with ``{}``, which may be replaced yet."""

    index: int
    id: str
    name: str
    fragments: list[str] = field(default_factory=list)
    placeholder: bool = False

    def is_whole(self, name: str, arguments: str) -> bool:
        """Whether it lacks nothing, so that ``name`` and ``arguments``, said again at its index, begin another one."""
        if self.placeholder:
            return name != self.name or arguments == "{}"
        try:
            return isinstance(orjson.loads("".join(self.fragments)), dict)
        except orjson.JSONDecodeError:
            return False


class _Batch:
    """Deltas in the making. Neighbouring pieces of one text or call become one delta, so that a burst costs little."""

    __slots__ = ("_call", "_deltas", "_kind", "_pieces", "said")

    def __init__(self) -> None:
        self.said = False
        self._deltas: list[Delta] = []
        self._kind: Literal["", "text", "reasoning", "call"] = ""
        self._pieces: list[str] = []
        self._call = (0, "", "")

    def text(self, piece: str) -> None:
        if self._kind != "text":
            self._flush("text")
        self._pieces.append(piece)

    def reasoning(self, piece: str) -> None:
        if self._kind != "reasoning":
            self._flush("reasoning")
        self._pieces.append(piece)

    def call(self, index: int, call_id: str, name: str) -> None:
        self._flush("call")
        self._call = (index, call_id, name)

    def arguments(self, index: int, piece: str) -> None:
        if self._kind != "call" or self._call[0] != index:
            self.call(index, "", "")
        self._pieces.append(piece)

    def take(self) -> list[Delta]:
        self._flush("")
        deltas, self._deltas = self._deltas, []
        return deltas

    def _flush(self, following: Literal["", "text", "reasoning", "call"]) -> None:
        self.said = self.said or following != ""
        whole = "".join(self._pieces)
        match self._kind:
            case "text":
                self._deltas.append(TextDelta(whole))
            case "reasoning":
                self._deltas.append(ReasoningDelta(whole))
            case "call":
                self._deltas.append(CallDelta(*self._call, whole))
        self._kind = following
        self._pieces.clear()


class Chunks:
    """Reads the chunks of one answer; ``finish`` and ``usage`` are there when they have come.

    Pieces of the same text or call that come together leave as one delta, so that a burst costs little.

    ``real_name`` maps a tool's name on the wire to its own. ``extras`` receives what a server wants to see again
    with a call (Gemini's ``extra_content``), by call id.
    """

    __slots__ = ("_batch", "_by_id", "_calls", "_extras", "_free", "_last", "_real_name", "_slots", "finish", "usage")

    def __init__(self, real_name: Callable[[str], str] = str, extras: dict[str, Any] | None = None) -> None:
        self.finish: FinishReason | None = None
        self.usage: dict[str, Any] | None = None
        self._real_name = real_name
        self._extras = {} if extras is None else extras
        self._batch = _Batch()
        self._calls: dict[int, _Call] = {}
        self._by_id: dict[str, _Call] = {}
        self._slots: dict[int, _Call] = {}
        self._last: _Call | None = None
        self._free = 0

    def take(self) -> list[Delta]:
        """The deltas of what was read since the last time, none of them empty."""
        return self._batch.take()

    def read(self, payload: bytes) -> None:
        """Take the next chunk.

        :raises ServerFault: if the chunk reports an error.
        :raises ValueError: if it is not JSON in UTF-8.
        """
        chunk = orjson.loads(payload)
        try:
            choice = chunk["choices"][0]
            delta = choice["delta"]
        except (KeyError, IndexError, TypeError):
            self._without_delta(chunk)
            return
        if "usage" in chunk or "error" in chunk:
            self._heed(chunk)
        if choice.get("index"):
            return  # another answer to the same question, which nobody asked for
        if delta and isinstance(delta, dict):
            self._delta(delta)
        elif "message" in choice:
            self._message(choice)
        if reason := choice.get("finish_reason"):
            self._end(reason)

    def _without_delta(self, chunk: object) -> None:
        """Take a chunk that only reports usage or an error, or holds a whole message where a delta belongs."""
        if not isinstance(chunk, dict):
            return
        self._heed(chunk)
        choices = chunk.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if isinstance(choice, dict):
            self._message(choice)
            if reason := choice.get("finish_reason"):
                self._end(reason)
        elif fault := fault_in(chunk):
            raise fault

    def _heed(self, chunk: dict[str, Any]) -> None:
        if isinstance(usage := chunk.get("usage"), dict):
            self.usage = usage
        if chunk.get("error") and (fault := fault_in(chunk)):
            raise fault

    def _message(self, choice: dict[str, Any]) -> None:
        message = choice.get("message")
        if isinstance(message, dict) and not self._batch.said:
            self._delta(message)

    def _end(self, reason: object) -> None:
        self.finish = FINISH.get(reason.lower(), "cut") if isinstance(reason, str) else "cut"
        for call in self._calls.values():
            if call.placeholder:
                call.placeholder = False
                self._batch.arguments(call.index, "{}")

    def _delta(self, delta: dict[str, Any]) -> None:
        for key, value in delta.items():
            if not value or key == "role":
                continue
            if key == "content" or key == "refusal":
                if isinstance(value, str):
                    self._batch.text(value)
                else:
                    self._parts(value)
            elif key == "tool_calls":
                for call in value if isinstance(value, list) else ():
                    if isinstance(call, dict):
                        self._fragment(call)
            else:
                self._rarer(key, value, delta)

    def _rarer(self, key: str, value: object, delta: dict[str, Any]) -> None:
        if key == "reasoning_content" or (key == "reasoning" and not delta.get("reasoning_content")):
            if isinstance(value, str):
                self._batch.reasoning(value)
        elif key == "function_call" and isinstance(value, dict):
            self._fragment({"index": -1, "function": value})

    def _parts(self, content: object) -> None:
        """Content in typed parts: ``text``, and ``thinking`` with parts of its own."""
        for part in content if isinstance(content, list) else []:
            if not isinstance(part, dict):
                continue
            if text := _text(part.get("text")):
                self._batch.text(text)
            thoughts = part.get("thinking")
            for inner in thoughts if isinstance(thoughts, list) else []:
                if isinstance(inner, dict) and (thought := _text(inner.get("text"))):
                    self._batch.reasoning(thought)

    def _fragment(self, raw: dict[str, Any]) -> None:
        index, function = raw.get("index"), raw.get("function")
        if not isinstance(function, dict):
            function = {}
        known = self._slots.get(index) if isinstance(index, int) else None
        arguments = function.get("arguments")
        plain = isinstance(arguments, str) and "id" not in raw and "name" not in function
        if not plain or known is None or not known.fragments:
            self._unusual(raw, function)
        else:  # one more piece of a call that is open
            self._last = known
            if arguments:
                known.fragments.append(arguments)
                self._batch.arguments(known.index, arguments)

    def _unusual(self, raw: dict[str, Any], function: dict[str, Any]) -> None:
        """A fragment that opens a call, or continues one in a way of its own."""
        call_id, name = _text(raw.get("id")), _text(function.get("name"))
        arguments = _arguments(function.get("arguments"))
        call = self._find(raw.get("index"), call_id, name, arguments)
        if call is None:
            call = self._open(raw.get("index"), call_id, name)
            self._batch.call(call.index, call_id, self._real_name(name))
        self._last = call
        if call.id and (extra := raw.get("extra_content")):
            self._extras[call.id] = extra
        if arguments == "{}" and not call.fragments:
            call.placeholder = True
            return
        if arguments:
            call.placeholder = call.placeholder and not arguments.strip()
            call.fragments.append(arguments)
            self._batch.arguments(call.index, arguments)

    def _find(self, index: object, call_id: str, name: str, arguments: str) -> _Call | None:
        """The call that a fragment continues; ``None`` if it begins a new one, whatever its index says."""
        known = self._slots.get(index) if isinstance(index, int) else None
        if known is None and not isinstance(index, int):
            if call_id:
                return self._by_id.get(call_id)
            return None if name else self._last
        if known is None or not name:
            return known
        if call_id and known.id and call_id != known.id:
            return None
        if not call_id and arguments and known.is_whole(name, arguments):
            return None
        return known

    def _open(self, index: object, call_id: str, name: str) -> _Call:
        """A new call, under the server's index if that is free, else under the next one."""
        free = isinstance(index, int) and index >= 0 and index not in self._calls
        at = index if isinstance(index, int) and free else self._free
        self._free = max(self._free, at + 1)
        call = self._calls[at] = _Call(at, call_id, name)
        if isinstance(index, int):
            self._slots[index] = call
        if call_id:
            self._by_id.setdefault(call_id, call)
        return call


def fault_in(chunk: dict[str, Any]) -> ServerFault | None:
    """The error that a JSON object reports, in any of the shapes in use, or ``None``."""
    error = chunk.get("error")
    if error is None and chunk.get("object") != "error" and "choices" in chunk:
        return None
    if isinstance(error, dict):
        chunk = error
    elif error:
        return ServerFault(_text(error) or str(error), 0)
    message = chunk.get("message") or chunk.get("detail") or chunk.get("msg")
    if not message:
        return ServerFault(str(chunk), 0) if error is not None else None
    status = _status(chunk.get("code")) or _status(chunk.get("status"))
    return ServerFault(message if isinstance(message, str) else str(message), status)


def _status(code: object) -> int:
    """An HTTP status that is written as a number or in digits, else 0."""
    if isinstance(code, str) and code.isascii() and code.isdigit():
        code = int(code[:4])
    return code if isinstance(code, int) and 400 <= code <= 599 else 0


def read_usage(raw: dict[str, Any] | None) -> Usage:
    """The usage a server reports, zero where it says nothing. Cached prompt tokens have three homes."""
    if raw is None:
        return Usage()
    details = raw.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    cached = cached or raw.get("cached_tokens") or raw.get("prompt_cache_hit_tokens")
    return Usage(_count(raw.get("prompt_tokens")), _count(raw.get("completion_tokens")), _count(cached))


def _count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _arguments(value: object) -> str:
    """Arguments as text. A server that parsed them already has its object written back as it is."""
    if isinstance(value, str):
        return value
    return "" if value is None else orjson.dumps(value).decode()
