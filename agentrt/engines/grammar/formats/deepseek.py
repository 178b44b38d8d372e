"""DeepSeek: a section of calls, as V3 and R1 write them (in a code fence) or as V3.1 does (bare)."""

from __future__ import annotations

from collections.abc import Sequence

from agentrt.engines.grammar.parts import NEWLINE, Element, Parts, either, repeated, sequence, text
from agentrt.engines.toolparse.deepseek import CALL, CALL_END, SECTION, SECTION_END, SEPARATOR
from agentrt.types import ToolSpec

KIND = "function"
"""What V3 writes where V3.1 writes the tool's name."""

_FENCE_END: Element = {"type": "regex", "pattern": "(\n```)?"}


class DeepSeekShape:
    """Writes sections; both ways of writing a call are open, since the markers don't tell the models apart."""

    closing = ""

    def first(self, parts: Parts, specs: Sequence[ToolSpec], number: int) -> int:
        """Calls have no ids."""
        return 0

    def calls(self, parts: Parts, specs: Sequence[ToolSpec], first: int) -> Element:
        """Words, and then a section."""
        # with a tool of that name on offer the word is the name, and no other tool can be meant
        fenced = all(spec.name != KIND for spec in specs)
        call = either([_call(parts, spec, fenced=fenced) for spec in specs])
        return parts.among_words(SECTION, repeated(sequence(NEWLINE, call), parts.parallel), SECTION_END)


def _call(parts: Parts, spec: ToolSpec, *, fenced: bool) -> Element:
    heads = [sequence(text(spec.name), parts.mark(SEPARATOR))]
    if fenced:
        heads.append(sequence(text(KIND), parts.mark(SEPARATOR), text(f"{spec.name}\n```json\n")))
    tail = [_FENCE_END] if fenced else []  # whatever follows the object is dropped when it is read
    return sequence(parts.mark(CALL), either(heads), parts.arguments(spec), *tail, parts.mark(CALL_END))
