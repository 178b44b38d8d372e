"""Hermes and Qwen: ``<tool_call>`` around an object with the name and the arguments."""

from __future__ import annotations

import json
from collections.abc import Sequence

from agentrt.engines.grammar.parts import Element, Parts, either, sequence, text
from agentrt.types import ToolSpec


class HermesShape:
    """Writes any number of calls among the words."""

    closing = ""

    def first(self, parts: Parts, specs: Sequence[ToolSpec], number: int) -> int:
        """Calls have no ids."""
        return 0

    def calls(self, parts: Parts, specs: Sequence[ToolSpec], first: int) -> Element:
        """Words and calls."""
        return parts.among_words(
            "<tool_call>", either([_call(parts, spec) for spec in specs]), "</tool_call>", once=False
        )


def _call(parts: Parts, spec: ToolSpec) -> Element:
    head = f'\n{{"name": {json.dumps(spec.name, ensure_ascii=False)}, "arguments": '
    return sequence(text(head), parts.arguments(spec), text("}\n"))
