"""Events and values as plain JSON data, for JSON lines, journals and recordings."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from agentrt.types import Media, ToolResult, Transcript


def to_json(value: Any) -> Any:
    """An event or value as plain JSON data; dataclasses carry their class name under ``type``."""
    if is_dataclass(value) and not isinstance(value, type):
        plain = {item.name: to_json(getattr(value, item.name)) for item in fields(value)}
        return {"type": type(value).__name__, **plain}
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, tuple | list | Transcript):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    return value


def from_json(plain: Any, kinds: Mapping[str, type]) -> Any:
    """The value that :func:`to_json` turned into ``plain``; ``kinds`` are the dataclasses by name.

    A field that is missing takes its default, so that older data can be read. Sequences become tuples,
    but a tool's own JSON (``ToolResult.data``) stays as it is.

    :raises ValueError: if ``plain`` names a kind that is not in ``kinds``, or a required field is missing.
    """
    if isinstance(plain, list):
        return tuple(from_json(item, kinds) for item in plain)
    if not isinstance(plain, dict):
        return plain
    kind: Any = kinds.get(str(plain.get("type")))
    if kind is None:
        raise ValueError(f"unknown kind {plain.get('type')!r}")
    given = {item.name: plain[item.name] for item in fields(kind) if item.name in plain}
    raw = {"data": given.pop("data")} if kind in (ToolResult, Media) and "data" in given else {}
    if kind is Media and raw:
        raw["data"] = base64.b64decode(raw["data"])
    try:
        return kind(**{name: from_json(item, kinds) for name, item in given.items()}, **raw)
    except TypeError as error:
        raise ValueError(f"incomplete {kind.__name__}: {error}") from error
