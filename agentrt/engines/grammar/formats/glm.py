"""GLM 4.5 to 4.7: the name, then a key and a value for each argument; a text stands there as it is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from agentrt.engines.grammar.parts import (
    NEWLINE,
    Element,
    Parts,
    any_number,
    either,
    optional,
    sequence,
    text,
)
from agentrt.engines.toolparse.bodies import takes_text
from agentrt.types import ToolSpec

CALL, CALL_END = "<tool_call>", "</tool_call>"


class GlmShape:
    """Writes calls among the words, from tokens: xgrammar's own style for GLM spells the markers out."""

    closing = ""

    def first(self, parts: Parts, specs: Sequence[ToolSpec], number: int) -> int:
        """Calls have no ids."""
        return 0

    def calls(self, parts: Parts, specs: Sequence[ToolSpec], first: int) -> Element:
        """Words and calls."""
        return parts.among_words(CALL, either([_call(parts, spec) for spec in specs]), CALL_END, once=False)


def _call(parts: Parts, spec: ToolSpec) -> Element:
    schema = parts.schema(spec)
    branches = schema.get("anyOf", [schema])
    pairs = either([sequence(NEWLINE, *_pairs(parts, spec, branch, schema.get("$defs") or {})) for branch in branches])
    return sequence(text(spec.name), pairs)


def _pairs(parts: Parts, spec: ToolSpec, schema: Mapping[str, Any], defs: Mapping[str, Any]) -> list[Element]:
    """One object's members in their order; where it is open, any others after them."""
    properties = schema.get("properties") or {}
    more = schema.get("additionalProperties", not properties) is not False
    # the reader strips names
    if any(name != name.strip() or _spells(parts, name) for name in properties):
        properties, more = {}, True
    required = set(schema.get("required") or ())
    pairs = []
    for name, inner in properties.items():
        pair = _pair(parts, text(name), _value(parts, spec, name, inner, defs))
        pairs.append(pair if name in required else optional(pair))
    return [*pairs, any_number(_pair(parts, parts.words(), parts.words()))] if more else pairs


def _pair(parts: Parts, key: Element, value: Element) -> Element:
    return sequence(
        *(parts.mark("<arg_key>"), key, parts.mark("</arg_key>"), NEWLINE),
        *(parts.mark("<arg_value>"), value, parts.mark("</arg_value>"), NEWLINE),
    )


def _value(parts: Parts, spec: ToolSpec, name: str, inner: Mapping[str, Any], defs: Mapping[str, Any]) -> Element:
    """What the reader takes for a text may be any, one of a list, or of a pattern that can't make a marker."""
    if not takes_text(spec.input_schema, name):
        return parts.json({**inner, "$defs": defs} if defs else inner)
    texts = [item for item in inner.get("enum") or () if isinstance(item, str) and item and not _spells(parts, item)]
    if texts:
        return either([text(item) for item in texts])
    pattern = inner.get("pattern")
    if pattern is not None and not _admits(pattern, "<"):
        return {"type": "regex", "pattern": pattern[1:-1]}
    return parts.words()


def _admits(pattern: str, character: str) -> bool:
    """Whether a pattern of the plain kind that is projected has this character, or a range with it."""
    ranges = re.findall(r"(\\?.)-(\\?.)", pattern)
    return character in pattern or any(low[-1] <= character <= high[-1] for low, high in ranges)


def _spells(parts: Parts, value: str) -> bool:
    return any(mark in value for mark in parts.ids)
