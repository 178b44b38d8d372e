"""How much work a check can be, counted before it is done: schema and value may both come from strangers.

A validator follows references without remembering where it has been, so thirty lines of schema can ask for
2**30 visits of one value. Counting stops at its limit, so it is never the expensive part itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import unquote

ANY = object()
"""Stands for a value that is not known yet: every subschema may apply to it."""

_HERE = frozenset({"allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependencies"})
_BELOW = frozenset({"properties", "patternProperties", "additionalProperties", "unevaluatedProperties", "propertyNames",
                    "items", "prefixItems", "additionalItems", "unevaluatedItems", "contains"})  # fmt: skip
_MAPS = frozenset({"properties", "patternProperties", "dependentSchemas", "dependencies"})
_REFERENCES = frozenset({"$ref", "$dynamicRef", "$recursiveRef"})
_NAMES = ("$anchor", "$dynamicAnchor", "$id", "id")
_BACKTRACKS = re.compile(r"\(\?[=!<]|\\[1-9k]")
_BACKTRACKING = 100  # visits that a pattern with look-around or back-references counts for


@dataclass(frozen=True, slots=True)
class _Place:
    """A subschema, the document that it is in, the value that it applies to, and the references that led there."""

    schema: Any
    root: Any
    value: Any
    trail: tuple[tuple[int, int], ...] = ()


class Effort:
    """Counts the subschema visits that checking a value takes, rather too many than too few.

    Where a reference could mean several places (dynamic anchors, documents of the same name), all of them count.
    """

    def __init__(self, schema: Any, resources: Mapping[str, Any]) -> None:
        self._schema = schema
        self._documents: dict[str, list[Any]] = {}
        self._anchors: dict[str, list[tuple[Any, Any]]] = {}
        for name, document in resources.items():
            self._documents.setdefault(_tail(name), []).append(document)
        waiting = [(document, document) for document in (schema, *resources.values())]
        while waiting:
            node, root = waiting.pop()
            for key in _NAMES if isinstance(node, dict) else ():
                name = node.get(key)
                if isinstance(name, str) and key.endswith("id") and not name.startswith("#"):
                    root = node
                    self._documents.setdefault(_tail(name), []).append(node)
                elif isinstance(name, str):
                    self._anchors.setdefault(name.removeprefix("#"), []).append((node, root))
            waiting.extend((part, root) for part in _parts(node))

    def count(self, value: Any, limit: int) -> int:
        """The visits that ``value`` takes, or a number above ``limit`` if there are more."""
        steps = 0
        waiting = [_Place(self._schema, self._schema, value)]
        while waiting and steps <= limit:
            place = waiting.pop()
            steps += 1
            if not isinstance(place.schema, dict):
                continue
            # To know what is unevaluated, a validator goes through everything that applies here again.
            again = 3 if "unevaluatedProperties" in place.schema or "unevaluatedItems" in place.schema else 1
            for keyword, inner in place.schema.items():
                steps += _weight(keyword, inner, place.value)
                found = list(islice(self._next(keyword, inner, place), limit + 1))
                waiting.extend(found if keyword in _BELOW else found * again)
        return steps + len(waiting)

    def _next(self, keyword: str, inner: Any, place: _Place) -> Iterator[_Place]:
        root = place.schema if isinstance(place.schema.get("$id"), str) else place.root
        if keyword in _HERE:
            yield from (_Place(schema, root, place.value, place.trail) for schema in _schemas(keyword, inner))
        elif keyword in _BELOW:
            for schema, child in _below(keyword, inner, place.value):
                yield _Place(schema, root, child, place.trail)
        elif keyword in _REFERENCES and isinstance(inner, str):
            for schema, home in self._targets(inner, root):
                mark = (id(schema), id(place.value))
                if mark not in place.trail:  # a reference back to itself at the same value ends there
                    yield _Place(schema, home, place.value, (*place.trail, mark))

    def _targets(self, reference: str, root: Any) -> Iterable[tuple[Any, Any]]:
        document, _, fragment = reference.partition("#")
        fragment = unquote(fragment)
        if fragment and not fragment.startswith("/"):
            return self._anchors.get(fragment, [])
        homes = self._documents.get(_tail(document), []) if document else [root]
        return ((_at(home, fragment), home) for home in homes)


def _tail(uri: str) -> str:
    """The last step of a URI's path, by which it is found however it is written."""
    tail = unquote(uri.partition("#")[0].rpartition("/")[2])
    return "" if tail in (".", "..") else tail


def _parts(node: Any) -> Iterable[Any]:
    return node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()


def _weight(keyword: str, inner: Any, value: Any) -> int:
    if keyword == "required":
        return len(inner)
    patterns = [inner] if keyword == "pattern" else inner if keyword == "patternProperties" else ()
    times = len(value) if keyword == "patternProperties" and isinstance(value, dict) else 1
    return times * sum(_BACKTRACKING for pattern in patterns if _BACKTRACKS.search(pattern))


def _schemas(keyword: str, inner: Any) -> Iterable[Any]:
    return _parts(inner) if keyword in _MAPS or isinstance(inner, list) else (inner,)


def _below(keyword: str, inner: Any, value: Any) -> Iterator[tuple[Any, Any]]:
    if keyword == "properties" and isinstance(value, dict):
        return ((inner[name], child) for name, child in value.items() if name in inner)
    children = (ANY,) if value is ANY else _parts(value)
    return ((schema, child) for child in children for schema in _schemas(keyword, inner))


def _at(root: Any, pointer: str) -> Any:
    """What a JSON Pointer (RFC 6901) names, or ``None``."""
    for step in pointer.split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        if isinstance(root, dict):
            root = root.get(step)
        else:
            root = root[int(step)] if isinstance(root, list) and step.isdecimal() and int(step) < len(root) else None
    return root
