"""The structural tags that constrain calls, built for one format from the markers' ids and the tools' contracts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from agentrt.engines.grammar.contract import Contract, contract_for
from agentrt.engines.grammar.formats import SHAPES
from agentrt.engines.grammar.formats.kimi import rest
from agentrt.engines.grammar.parts import Element, Parts
from agentrt.types import ToolSpec

MAX_KEPT = 64


def enforces(tool_format: str | None) -> bool:
    """Whether there is a grammar for this format."""
    return tool_format in SHAPES


class Tags:
    """Makes tags for one model. ``ids`` are its markers' ids, ``parallel`` how many calls an answer may have.

    ``required``: it must have one.
    """

    def __init__(self, tool_format: str, ids: Mapping[str, int], *, parallel: int = 4, required: bool = False) -> None:
        self._shape = SHAPES[tool_format]
        self._parts = Parts(ids, parallel, required, lambda spec: json.loads(self.contract(spec).schema))
        self.parallel = parallel
        self.closing = ids.get(self._shape.closing)
        """The id of the marker that ends a call, where the answer's end stands for it."""
        self._loose: set[str] = set()
        self._made: dict[tuple[int, int], tuple[Sequence[ToolSpec], str]] = {}

    def loosen(self, spec: ToolSpec) -> None:
        """The backend can't compile this tool's schema: let its arguments be any object from now on."""
        self._loose.add(spec.name)
        self._made.clear()

    def prove(self, specs: Sequence[ToolSpec]) -> None:
        """Loosen every tool whose grammar xgrammar can't make, if xgrammar is here to be asked."""
        try:
            from xgrammar import Grammar
        except ImportError:
            return
        for spec in specs:
            if spec.name in self._loose:
                continue
            try:
                Grammar.from_structural_tag(self.arguments(spec))
            except Exception:  # noqa: BLE001 - whatever a compiler in C++ raises
                self.loosen(spec)

    def contract(self, spec: ToolSpec) -> Contract:
        """What is enforced of this tool."""
        if spec.name in self._loose:
            return Contract("checked", '{"type": "object"}', ("the backend can't compile this schema",))
        contract = contract_for(spec.input_schema)
        return contract if contract.schema else Contract("checked", '{"type": "object"}', contract.notes)

    def calls(self, specs: Sequence[ToolSpec], first: int) -> str:
        """A tag that lets the model write words, or calls of these tools; the next call has the number ``first``."""
        number = self._shape.first(self._parts, specs, first)
        key = (id(specs), number)
        known = self._made.get(key)
        if known is not None:
            return known[1]
        if len(self._made) >= MAX_KEPT:
            self._made.pop(next(iter(self._made)))
        tag = _written(self._shape.calls(self._parts, specs, number))
        self._made[key] = (specs, tag)  # with the specs, so that no others can have their id
        return tag

    def arguments(self, spec: ToolSpec) -> str:
        """A tag for nothing but the arguments of a call of this tool; its end is to be the token that stops it."""
        return _written(self._parts.arguments(spec))

    def rest(self, specs: Sequence[ToolSpec], first: int, left: int) -> str:
        """A tag for what may follow a call inside its section: at most ``left`` more calls, and its end (Kimi)."""
        return _written(rest(self._parts, specs, first, left))


def _written(element: Element) -> str:
    return json.dumps({"type": "structural_tag", "format": element})
