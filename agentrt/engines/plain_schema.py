"""A tool's schema for endpoints that know only a part of JSON Schema; calls are still checked against the original."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MAX_DEPTH = 32
MAX_SUBSCHEMAS = 2_000
_BRANCHES = ("anyOf", "oneOf", "allOf")
_MAPS = ("properties", "patternProperties")
_DROPPED = ("$schema", "$comment", "$defs", "definitions", "$id", "$anchor")
_TYPES: dict[type, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
    type(None): "null",
}


def plain_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """``schema`` without references, with a type for every property, and no type beside the branches of ``anyOf``.

    That is what Moonshot's endpoint insists on. Where a reference leads into itself or nowhere, or the whole would
    grow beyond measure, any object is asked for.
    """
    return _Plain(schema).schema(schema, ())


class _Plain:
    """One schema on its way; ``left`` bounds how many subschemas it may become, since references can multiply."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self.root = root
        self.left = MAX_SUBSCHEMAS

    def schema(self, schema: Any, inside: tuple[str, ...]) -> dict[str, Any]:
        """A subschema, reached through the references ``inside``."""
        self.left -= 1
        if not isinstance(schema, Mapping) or self.left < 0 or len(inside) > MAX_DEPTH:
            return {"type": "object"}
        reference = schema.get("$ref")
        if isinstance(reference, str):
            found = None if reference in inside else _resolved(reference, self.root)
            beside = {key: value for key, value in schema.items() if key != "$ref"}
            return {"type": "object"} if found is None else self.schema({**found, **beside}, (*inside, reference))
        made = {key: self._inner(key, value, inside) for key, value in schema.items() if key not in _DROPPED}
        kind = made.get("type")
        for branch in ("anyOf", "oneOf"):
            if isinstance(made.get(branch), list) and kind is not None:
                made[branch] = [one if _typed(one) else {"type": kind, **one} for one in made[branch]]
                made.pop("type", None)
        return made

    def _inner(self, key: str, value: Any, inside: tuple[str, ...]) -> Any:
        if key in _MAPS and isinstance(value, Mapping):
            return {name: _with_type(self.schema(one, inside)) for name, one in value.items()}
        if key in _BRANCHES and isinstance(value, list):
            return [self.schema(one, inside) for one in value]
        if key == "items" and isinstance(value, Mapping):
            return _with_type(self.schema(value, inside))
        if key == "additionalProperties" and isinstance(value, Mapping):
            return self.schema(value, inside)
        return value


def _typed(schema: Mapping[str, Any]) -> bool:
    return any(key in schema for key in ("type", *_BRANCHES))


def _with_type(schema: dict[str, Any]) -> dict[str, Any]:
    """With a type that its other keywords imply; what takes anything takes a string."""
    if _typed(schema):
        return schema
    enum = schema.get("enum")
    values = [schema["const"]] if "const" in schema else enum if isinstance(enum, list) else ()
    kinds = {_TYPES[type(value)] for value in values if type(value) in _TYPES}
    if "properties" in schema:
        kinds = {"object"}
    elif "items" in schema:
        kinds = {"array"}
    if len(kinds) > 1:
        return {**schema, "anyOf": [{"type": kind} for kind in sorted(kinds)]}
    return {"type": kinds.pop() if kinds else "string", **schema}


def _resolved(reference: str, root: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What a reference within the document (RFC 6901 JSON Pointer) leads to."""
    if not reference.startswith("#"):
        return None
    at: Any = root
    for step in reference.removeprefix("#").split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(at, Mapping) or name not in at:
            return None
        at = at[name]
    return at if isinstance(at, Mapping) else None
