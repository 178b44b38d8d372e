"""Kimi K2: a section of calls, each with the exact id that it is to have."""

from __future__ import annotations

from collections.abc import Sequence

from agentrt.engines.grammar.parts import Element, Parts, either, optional, repeated, sequence, text
from agentrt.engines.toolparse.kimi import ARGUMENTS, CALL, CALL_END, SECTION, SECTION_END
from agentrt.types import ToolSpec

EXACT_IDS = 64
"""Tools times parallel calls up to which every call's id is fixed; above it only its digits are, to keep it small."""


class KimiShape:
    """Writes sections."""

    closing = ""

    def first(self, parts: Parts, specs: Sequence[ToolSpec], number: int) -> int:
        """Ids count the calls of a conversation."""
        return number if _exact(parts, specs) else 0

    def calls(self, parts: Parts, specs: Sequence[ToolSpec], first: int) -> Element:
        """Words, and then a section."""
        return parts.among_words(SECTION, _calls(parts, specs, first, parts.parallel), SECTION_END)


def rest(parts: Parts, specs: Sequence[ToolSpec], first: int, left: int) -> Element:
    """What may follow a call inside its section: at most ``left`` more calls, and its end."""
    more = [optional(_calls(parts, specs, first, left))] if left > 0 else []
    return sequence(*more, parts.mark(SECTION_END))


def _exact(parts: Parts, specs: Sequence[ToolSpec]) -> bool:
    return len(specs) * parts.parallel <= EXACT_IDS


def _calls(parts: Parts, specs: Sequence[ToolSpec], first: int, count: int) -> Element:
    """From one to ``count`` calls, the first with the number ``first``."""
    if not _exact(parts, specs):
        return repeated(_any(parts, specs, None), count)
    calls: Element = {}
    for number in reversed(range(first, first + count)):
        more = [optional(calls)] if calls else []
        calls = sequence(_any(parts, specs, number), *more)
    return calls


def _any(parts: Parts, specs: Sequence[ToolSpec], number: int | None) -> Element:
    return either([_call(parts, spec, number) for spec in specs])


def _call(parts: Parts, spec: ToolSpec, number: int | None) -> Element:
    written = f"functions.{spec.name}:"
    header = [text(f"{written}{number}")]
    if number is None:
        header = [text(written), {"type": "regex", "pattern": "[0-9]{1,4}"}]
    return sequence(parts.mark(CALL), *header, parts.mark(ARGUMENTS), parts.arguments(spec), parts.mark(CALL_END))
