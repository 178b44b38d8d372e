"""What stands inside a call, format by format, made into a name and exact argument bytes as it comes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

Emit = Callable[[str, str], None]
"""Takes the next of a call: its name (once) and a fragment of its arguments."""

_MARK = re.compile(r'\\.?|["{}\[\]]', re.DOTALL)
_DEPTH = {"{": 1, "[": 1, "}": -1, "]": -1}


class Body:
    """The inside of one call."""

    @property
    def in_string(self) -> bool:
        """Whether a JSON string is open, in which a marker may be data."""
        return False

    def feed(self, text: str) -> None:
        """Take the next words."""

    def mark(self, mark: str) -> bool:
        """Take a marker that has a meaning inside this body; false if it has none."""
        return False

    def end(self) -> None:
        """The call ended: emit what was kept back. Without this the arguments never become whole."""


class JsonBody(Body):
    """One JSON value. The character that closes it, and all after it, is kept back until the call has ended."""

    def __init__(self, emit: Emit, *, fenced: bool = False) -> None:
        """``fenced``: what stands around the value (a code fence) is dropped."""
        self._emit = emit
        self._fenced = fenced
        self._kept = ""
        self._depth = 0
        self._escaping = False
        self._quoted = False
        self.closed = False

    @property
    def in_string(self) -> bool:
        """Whether a JSON string is open."""
        return self._quoted

    def feed(self, text: str) -> None:
        """Take the next words."""
        if self.closed:
            self._kept += text
            return
        end = self._scan(text)
        if text[:end]:
            self._emit("", text[:end])
        self._kept = text[end:]

    def _scan(self, text: str) -> int:
        """Follow ``text``; return where the closing character stands in it, or its length."""
        start, self._escaping = int(self._escaping), False
        for match in _MARK.finditer(text, start):
            mark = match.group()
            self._escaping = mark == "\\"
            if self._quoted:
                self._quoted = mark != '"'
            elif mark == '"':
                self._quoted = True
            elif mark in _DEPTH:
                self._depth += _DEPTH[mark]
                if self._depth <= 0:
                    self.closed = True
                    return match.start()
        return len(text)

    def end(self) -> None:
        """The call ended: let out what was kept back."""
        if kept := self._kept[:1] if self._fenced else self._kept:
            self._emit("", kept)
        self._kept = ""


_NAME = re.compile(r'\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"(?:arguments|parameters)"\s*:\s*', re.DOTALL)


class NamedBody(Body):
    """``{"name": …, "arguments": …}`` as Hermes and Qwen write it; any other order waits for the end."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._head = ""
        self._whole = JsonBody(lambda name, text: None)
        self._arguments: JsonBody | None = None

    @property
    def in_string(self) -> bool:
        """Whether a JSON string is open."""
        return self._whole.in_string

    def feed(self, text: str) -> None:
        """Take the next words."""
        self._whole.feed(text)
        if self._arguments is not None:
            self._arguments.feed(text)
            return
        self._head += text
        found = _NAME.match(self._head)
        rest = self._head[found.end() :] if found else ""
        if found and rest[:1] in ("{", "["):
            name = _loads(found.group(1))
            self._emit(name if isinstance(name, str) else found.group(1), "")
            self._arguments = JsonBody(self._emit, fenced=True)
            self._arguments.feed(rest)

    def end(self) -> None:
        """The call ended: let out what was kept back."""
        if self._arguments is not None:
            # a value that did not close, or an object around it that did not, is not whole
            if self._whole.closed:
                self._arguments.end()
            return
        call = _loads(self._head)
        if not isinstance(call, dict) or not isinstance(call.get("name"), str):
            self._emit("", self._head)
            return
        arguments = call.get("arguments", call.get("parameters", {}))
        text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        self._emit(call["name"], text)


class FencedBody(Body):
    """DeepSeek V3: the name, a newline, and the arguments in a code fence."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._head = ""
        self._json: JsonBody | None = None

    @property
    def in_string(self) -> bool:
        """Whether a JSON string is open."""
        return self._json is not None and self._json.in_string

    def feed(self, text: str) -> None:
        """Take the next words."""
        if self._json is not None:
            self._json.feed(text)
            return
        self._head += text
        name, newline, rest = self._head.partition("\n")
        at = min((at for at in (rest.find("{"), rest.find("[")) if at >= 0), default=-1)
        if newline and at >= 0:
            self._emit(name.strip(), "")
            self._json = JsonBody(self._emit, fenced=True)
            self._json.feed(rest[at:])

    def end(self) -> None:
        """The call ended: let out what was kept back."""
        if self._json is not None:
            self._json.end()
        else:
            name, _, rest = self._head.partition("\n")
            self._emit(name.strip(), rest)


class PairsBody(Body):
    """GLM: the name, then ``<arg_key>`` and ``<arg_value>`` pairs. A text goes as it is, anything else is JSON."""

    def __init__(self, emit: Emit, schemas: Mapping[str, Mapping[str, Any]]) -> None:
        self._emit = emit
        self._schemas = schemas
        self._name: str | None = None
        self._text = ""
        self._key = ""
        self._pairs = 0
        self._inside = ""

    def feed(self, text: str) -> None:
        """Take the next words."""
        self._text += text

    def mark(self, mark: str) -> bool:
        """Take a marker."""
        if mark not in ("<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"):
            return False
        if self._inside and mark != f"</{self._inside}>":
            return False  # inside a value only its own end means anything
        text, self._text = self._text, ""
        self._inside = "" if mark.startswith("</") else mark[1:-1]
        if self._name is None:
            self._start(text)
        elif mark == "</arg_key>":
            self._key = text.strip()
        elif mark == "</arg_value>":
            self._add(text)
        return True

    def _start(self, text: str) -> None:
        self._name = text.strip()
        self._emit(self._name, "{")

    def _add(self, text: str) -> None:
        comma = ", " if self._pairs else ""
        self._pairs += 1
        value = typed(text, self._schemas.get(self._name or "", {}), self._key)
        self._emit("", f"{comma}{json.dumps(self._key, ensure_ascii=False)}: {value}")

    def end(self) -> None:
        """The call ended: let out what was kept back."""
        if self._name is None:
            self._start(self._text)
        if not self._inside:
            self._emit("", "}")


_FUNCTION = re.compile(r"\s*<function=(.*?)>(.*)</function>\s*\Z", re.DOTALL)
_PARAMETER = re.compile(r"\s*<parameter=(.*?)>\n?(.*?)\n?</parameter>(?=\s*(?:<parameter=|\Z))", re.DOTALL)


class TagsBody(Body):
    """Qwen3-Coder: ``<function=NAME>`` around ``<parameter=KEY>`` tags, read as one when it has ended."""

    def __init__(self, emit: Emit, schemas: Mapping[str, Mapping[str, Any]]) -> None:
        self._emit = emit
        self._schemas = schemas
        self._text = ""

    def feed(self, text: str) -> None:
        """Take the next words."""
        self._text += text

    def end(self) -> None:
        """The call ended: let out what was kept back."""
        found = _FUNCTION.match(self._text)
        if found is None:
            self._emit("", self._text)
            return
        name = found.group(1).strip()
        schema = self._schemas.get(name, {})
        pairs, at, inside = [], 0, found.group(2)
        while pair := _PARAMETER.match(inside, at):
            key = pair.group(1).strip()
            pairs.append(f"{json.dumps(key, ensure_ascii=False)}: {typed(pair.group(2), schema, key)}")
            at = pair.end()
        left = inside[at:].strip()
        self._emit(name, "{" + ", ".join(pairs) + (f" {left}" if left else "}"))


def typed(text: str, schema: Mapping[str, Any], key: str) -> str:
    """The JSON text of a value that came without quotes: what the schema takes as a string is one."""
    wanted = _wanted(schema, key)
    if "string" in wanted and not (text == "null" and "null" in wanted):
        return json.dumps(text, ensure_ascii=False)
    value = text.strip()
    return value if _loads(value) is not _BROKEN else json.dumps(text, ensure_ascii=False)


def takes_text(schema: Mapping[str, Any], key: str) -> bool:
    """Whether :func:`typed` takes what stands under ``key`` for a string."""
    return "string" in _wanted(schema, key)


def _wanted(schema: Mapping[str, Any], key: str) -> set[str]:
    properties = schema.get("properties")
    return _types(properties.get(key) if isinstance(properties, Mapping) else None)


def _types(schema: Any) -> set[str]:
    if not isinstance(schema, Mapping):
        return set()
    said = schema.get("type", ())
    types = {said} if isinstance(said, str) else {name for name in said if isinstance(name, str)}
    for word in ("anyOf", "oneOf"):
        for branch in schema.get(word, ()):
            types |= _types(branch)
    values = [*schema.get("enum", ()), *([schema["const"]] if "const" in schema else [])]
    return types | ({"string"} if any(isinstance(value, str) for value in values) else set())


_BROKEN = object()


def _loads(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=lambda name: _BROKEN)
    except (ValueError, RecursionError):
        return _BROKEN
