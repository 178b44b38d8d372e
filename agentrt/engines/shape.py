"""What a grammar holds a small model to: the shape of a tool's arguments, out of any JSON Schema.

Types, properties, items, enums and alternatives are kept. Bounds, lengths, patterns and conditions are left to the
gate on purpose: under a grammar a model that wants to write 150 where 100 is the most is made to write 15, while the
gate tells it what is wrong. What can't be understood becomes "anything", so no schema can make the engine fail.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

DEPTH = 8
TYPES = frozenset({"string", "number", "integer", "boolean", "object", "array", "null"})
MOST_VALUES = 20
ANYTHING: dict[str, Any] = {}


def shape(schema: Mapping[str, Any] | bool) -> dict[str, Any]:
    """The shape of a tool's arguments, always an object; local references are put in place, remote ones ignored."""
    found = _shape(schema, schema, DEPTH)
    return found if found.get("type") == "object" else {"type": "object"}


def written(shape: Mapping[str, Any]) -> str:
    """A shape in a few characters, e.g. ``"C" | "F"``, ``string[]`` or ``{path: string, lines?: integer}``."""
    if "enum" in shape:
        values = [json.dumps(value, ensure_ascii=False) for value in shape["enum"][:MOST_VALUES]]
        return " | ".join(values if len(shape["enum"]) <= MOST_VALUES else [*values, "…"])
    if "anyOf" in shape:
        return " | ".join(dict.fromkeys(written(option) for option in shape["anyOf"]))
    match shape.get("type", "any"):
        case list(types):
            return " | ".join(types)
        case "array":
            inner = written(shape.get("items", ANYTHING))
            return f"({inner})[]" if "|" in inner else f"{inner}[]"
        case "object" if shape.get("properties"):
            needed = shape.get("required", ())
            fields = (
                f"{key}{'' if key in needed else '?'}: {written(part)}" for key, part in shape["properties"].items()
            )
            return f"{{{', '.join(fields)}}}"
        case kind:
            return str(kind)


def resolved(schema: Any, root: Any, depth: int = DEPTH) -> Mapping[str, Any]:
    """``schema`` with a local ``$ref`` (a JSON Pointer, RFC 6901) followed; nothing where that leads nowhere."""
    while isinstance(schema, Mapping) and isinstance(schema.get("$ref"), str) and depth > 0:
        depth -= 1
        found: Any = root
        if not schema["$ref"].startswith("#"):
            return ANYTHING
        for step in schema["$ref"][1:].split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            found = found.get(key) if isinstance(found, Mapping) else None
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        schema = {**found, **rest} if isinstance(found, Mapping) and found is not schema else rest
    return schema if isinstance(schema, Mapping) else ANYTHING


def _shape(schema: Any, root: Any, depth: int) -> dict[str, Any]:
    if depth == 0:
        return {}
    schema = _merged(resolved(schema, root), root)
    if "const" in schema:
        return {"enum": [schema["const"]]}
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return {"enum": schema["enum"]}
    for keyword in ("anyOf", "oneOf"):
        options = schema.get(keyword)
        if isinstance(options, list) and options and "properties" not in schema:
            return {"anyOf": [_shape(option, root, depth - 1) for option in options]}
    kind = _kind(schema)
    if kind == "object":
        return _object(schema, root, depth)
    if kind == "array":
        return {"type": "array", "items": _shape(schema.get("items"), root, depth - 1)}
    return {"type": kind} if kind else {}


def _kind(schema: Mapping[str, Any]) -> str | list[str] | None:
    """The type that is meant, also where only a keyword of that type tells it."""
    match schema.get("type"):
        case str(kind) if kind in TYPES:
            return kind
        case list(kinds) if kinds and all(isinstance(item, str) and item in TYPES for item in kinds):
            return kinds[0] if len(kinds) == 1 else kinds
    return "object" if "properties" in schema else "array" if "items" in schema else None


def _object(schema: Mapping[str, Any], root: Any, depth: int) -> dict[str, Any]:
    properties, more = schema.get("properties"), schema.get("additionalProperties")
    if isinstance(properties, Mapping) and properties:
        inner = {str(name): _shape(part, root, depth - 1) for name, part in properties.items()}
        required = schema.get("required")
        needed = [name for name in required if name in inner] if isinstance(required, list) else []
        return {"type": "object", "properties": inner, "required": needed, "additionalProperties": False}
    if more is False:
        return {"type": "object", "properties": {}, "additionalProperties": False}
    values = _shape(more, root, depth - 1) if isinstance(more, Mapping) else {}
    return {"type": "object", "additionalProperties": values} if values else {"type": "object"}


def _merged(schema: Mapping[str, Any], root: Any) -> Mapping[str, Any]:
    """``allOf`` folded into the schema around it: properties side by side, what is required added up."""
    parts = schema.get("allOf")
    if not isinstance(parts, list) or not parts:
        return schema
    whole: dict[str, Any] = {}
    for part in (*(resolved(part, root) for part in parts), {k: v for k, v in schema.items() if k != "allOf"}):
        both = whole.get("properties"), part.get("properties")
        needed = [*_listed(whole.get("required")), *_listed(part.get("required"))]
        whole.update(part)
        if all(isinstance(item, Mapping) for item in both):
            whole["properties"] = {**both[0], **both[1]}  # type: ignore[dict-item]  # both are mappings
        if needed:
            whole["required"] = list(dict.fromkeys(needed))
    return whole


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
