"""The elements of xgrammar's structural tags that formats build their calls from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from agentrt.types import ToolSpec

Element = dict[str, Any]
"""One element of a structural tag, as JSON."""

WHITESPACE = 2
"""White space characters in a row that arguments may have between values; without a bound a model may never end it."""

NEWLINE: Element = {"type": "regex", "pattern": "\n?"}
"""Where the templates of one format differ, some write a newline."""


def text(value: str) -> Element:
    """These characters."""
    return {"type": "const_string", "value": value}


def sequence(*elements: Element) -> Element:
    """One after the other."""
    return {"type": "sequence", "elements": list(elements)}


def either(elements: Sequence[Element]) -> Element:
    """One of these."""
    return {"type": "or", "elements": list(elements)} if len(elements) > 1 else elements[0]


def optional(element: Element) -> Element:
    """The element, or nothing."""
    return {"type": "optional", "content": element}


def repeated(element: Element, most: int) -> Element:
    """The element, from once to ``most`` times."""
    return {"type": "repeat", "min": 1, "max": most, "content": element}


def any_number(element: Element) -> Element:
    """The element as often as the model likes, or never."""
    return {"type": "star", "content": element}


@dataclass(frozen=True, slots=True)
class Parts:
    """What is the same for all calls of an answer.

    ``ids`` are the markers' ids, ``parallel`` how many calls there may be, ``required`` whether there must be one.
    ``schema`` gives a tool's arguments as a schema that a grammar can hold.
    """

    ids: Mapping[str, int]
    parallel: int
    required: bool
    schema: Callable[[ToolSpec], Mapping[str, Any]]

    def mark(self, mark: str) -> Element:
        """The marker's own token; its characters spelled out are not the marker."""
        return {"type": "token", "token": self.ids[mark]}

    def words(self) -> Element:
        """Any tokens but markers."""
        return {"type": "any_tokens", "exclude_tokens": sorted(self.ids.values())}

    def json(self, schema: Mapping[str, Any]) -> Element:
        """A JSON value of this schema, with no marker inside a string."""
        return {
            "type": "json_schema",
            "json_schema": dict(schema),
            "max_whitespace_cnt": WHITESPACE,
            "excludes": sorted(self.ids),
        }

    def arguments(self, spec: ToolSpec) -> Element:
        """The tool's arguments as one JSON object."""
        return self.json(self.schema(spec))

    def among_words(self, begin: str, content: Element, end: str, *, once: bool = True) -> Element:
        """Words and reasoning, among which ``begin`` starts calls; nothing comes after them if they come ``once``."""
        allowed = ("<think>", "</think>", begin)
        return {
            "type": "token_triggered_tags",
            "trigger_tokens": [self.ids[begin]],
            "tags": [{"type": "tag", "begin": self.mark(begin), "content": content, "end": self.mark(end)}],
            "exclude_tokens": sorted(token for spelled, token in self.ids.items() if spelled not in allowed),
            "at_least_one": self.required,
            "stop_after_first": once,
        }


class Shape(Protocol):
    """How one format writes calls."""

    closing: str
    """The marker that ends a call where it ends the answer too, so that no grammar can have it; else empty."""

    def first(self, parts: Parts, specs: Sequence[ToolSpec], number: int) -> int:
        """What of the next call's number is in the tag; 0 if nothing, so that the tag is the same every time."""
        ...

    def calls(self, parts: Parts, specs: Sequence[ToolSpec], first: int) -> Element:
        """An answer with words or calls of these tools."""
        ...
