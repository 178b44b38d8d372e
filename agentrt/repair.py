"""The repair ladder: what the gate may undo because no meaning is lost. Nothing here guesses.

A truncated text is never completed, a missing value never invented, and a repair that does not lead to
valid arguments is dropped. Each one is recorded with the text before and after.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from agentrt.types import JSON, ToolSpec

MAX_ARGUMENT_BYTES = 8_000_000
MAX_DEPTH = 100
_FENCE = re.compile(r"\A\s*```[a-zA-Z0-9]*[ \t]*\n(.*?)\n?[ \t]*```\s*\Z", re.DOTALL)
_TRAILING = re.compile(r"(?:\s|,|;|`{3}|<\|[^|<>\s]{1,40}\|>|</?[a-z_]{1,40}>)*\Z")
_TRAILING_COMMA = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', re.DOTALL)
_LONE_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


@dataclass(frozen=True, slots=True)
class Repair:
    """One slip undone: the rule that applied and the arguments as JSON text before and after."""

    rule: str
    before: str
    after: str

    @classmethod
    def of(cls, rule: str, before: JSON, after: JSON) -> Repair:
        """A repair of parsed values."""
        return cls(rule, json.dumps(before, ensure_ascii=False), json.dumps(after, ensure_ascii=False))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"its arguments name {twice!r} twice, so what is meant is unclear")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"its arguments contain {name}, which is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)
_LENIENT = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant, strict=False)


def parse(text: str) -> JSON:
    """Parse strict JSON (RFC 8259) with unique names and no lone surrogates.

    :raises ValueError: with a message that continues "the tool was not run: …".
    """
    if len(text) > MAX_ARGUMENT_BYTES:
        raise ValueError(f"its arguments have {len(text)} characters, more than {MAX_ARGUMENT_BYTES}")
    try:
        value: JSON = _DECODER.decode(text)
        if _LONE_SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        what = "is cut off or not JSON" if error.pos >= len(text.rstrip()) else "is not JSON"
        raise ValueError(f"its argument text {what} ({error.msg} at character {error.pos} of {len(text)})") from error
    except UnicodeEncodeError as error:
        raise ValueError("its arguments contain half a surrogate pair, which is no text") from error
    except RecursionError as error:
        raise ValueError(f"its arguments are nested deeper than {MAX_DEPTH}") from error
    return value


def decode(text: str, spec: ToolSpec) -> tuple[JSON, tuple[Repair, ...]]:
    """Parse a call's argument text, taking off a code fence, a trailing comma or a trailing token.

    :raises ValueError: if it is not JSON all the same; a cut text never becomes a whole one.
    """
    try:
        value = parse(text)
    except ValueError as error:
        fixed = _fix_text(text, spec) if spec.repair else None
        if fixed is None:
            raise
        rule, after = fixed
        try:
            value = parse(after)
        except ValueError:
            raise error from None
        return _bounded(value), (Repair(rule, text, after),)
    return _bounded(value), ()


def _fix_text(text: str, spec: ToolSpec) -> tuple[str, str] | None:
    """The rule that applies and the text after it, or ``None`` if nothing lossless does."""
    if not text.strip():
        # Endpoints send no text at all for a tool that takes no arguments; elsewhere {} would be a guess.
        return None if spec.input_schema.get("properties") else ("empty arguments", "{}")
    rule, body = "trailing token", text.strip()
    if fenced := _FENCE.match(body):
        rule, body = "code fence", fenced.group(1).strip()
    bare = _TRAILING_COMMA.sub(lambda match: match.group(1) or "", body)
    if bare != body:
        rule, body = "trailing comma", bare
    try:
        value, end = _LENIENT.raw_decode(body)
    except (ValueError, RecursionError):
        return None
    if not _TRAILING.match(body, end):
        return None
    try:
        parse(body[:end])
    except ValueError:
        return "raw control character in a string", json.dumps(value, ensure_ascii=False)
    return rule, body[:end]


def _bounded(value: JSON) -> JSON:
    level: Sequence[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [
            item
            for outer in level
            if isinstance(outer, dict | list)
            for item in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(item, dict | list)
        ]
        if not level:
            return value
    raise ValueError(f"its arguments are nested deeper than {MAX_DEPTH}")


def unwrap(value: JSON, repairs: tuple[Repair, ...]) -> tuple[JSON, tuple[Repair, ...]]:
    """Undo double encoding: a JSON string whose content is a JSON object."""
    if not isinstance(value, str):
        return value, repairs
    try:
        inner = _bounded(parse(value))
    except ValueError:
        return value, repairs
    return (
        (inner, (*repairs, Repair.of("object in a string", value, inner)))
        if isinstance(inner, dict)
        else (value, repairs)
    )


def retype(value: JSON, wanted: Mapping[tuple[str | int, ...], list[str]]) -> JSON:
    """Replace strings that hold the JSON text of a wanted type, e.g. ``"3"`` where an integer is wanted.

    Returns a new value, or ``None`` if nothing could be replaced. ``wanted`` maps paths to JSON type names.
    """
    changed = False

    def walk(item: Any, path: tuple[str | int, ...]) -> Any:
        nonlocal changed
        if isinstance(item, str) and path in wanted:
            inner = _typed(item, wanted[path])
            changed = changed or inner is not item
            return inner
        if isinstance(item, dict):
            return {name: walk(inner, (*path, name)) for name, inner in item.items()}
        if isinstance(item, list):
            return [walk(inner, (*path, at)) for at, inner in enumerate(item)]
        return item

    result = walk(value, ())
    return result if changed else None


def _typed(text: str, types: list[str]) -> Any:
    try:
        value = _bounded(parse(text))
    except ValueError:
        return text
    fits = any(
        isinstance(value, _JSON_TYPES.get(name, ())) and (name == "boolean" or not isinstance(value, bool))
        for name in types
    )
    return value if fits else text
