"""gpt-oss (harmony): messages of reasoning, and then one for the user or one call."""

from __future__ import annotations

from collections.abc import Sequence

from agentrt.engines.grammar.parts import Element, Parts, any_number, either, sequence, text
from agentrt.types import ToolSpec


class HarmonyShape:
    """Writes messages. The prompt ends after ``<|start|>assistant``, and a call ends the answer: at most one."""

    closing = "<|call|>"

    def first(self, parts: Parts, specs: Sequence[ToolSpec], number: int) -> int:
        """Calls have no ids."""
        return 0

    def calls(self, parts: Parts, specs: Sequence[ToolSpec], first: int) -> Element:
        """Messages that say nothing final, and the last one."""
        thought = sequence(_said(parts, ("analysis", "commentary")), parts.mark("<|end|>"), *_next(parts))
        last = [_call(parts, spec) for spec in specs]
        if not parts.required:
            last.append(_said(parts, ("final",)))
        return sequence(any_number(thought), either(last))


def _said(parts: Parts, channels: Sequence[str]) -> Element:
    channel = either([text(channel) for channel in channels])
    return sequence(parts.mark("<|channel|>"), channel, parts.mark("<|message|>"), parts.words())


def _next(parts: Parts) -> list[Element]:
    return [parts.mark("<|start|>"), text("assistant")]


def _call(parts: Parts, spec: ToolSpec) -> Element:
    """The recipient stands before the channel or after it; the models write both."""
    to = f"to=functions.{spec.name}"
    channel = parts.mark("<|channel|>")
    header = either(
        [
            sequence(channel, text(f"commentary {to} ")),
            sequence(text(f" {to}"), channel, text("commentary ")),
        ]
    )
    return sequence(header, parts.mark("<|constrain|>"), text("json"), parts.mark("<|message|>"), parts.arguments(spec))
