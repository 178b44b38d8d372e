"""Keeps the context small: of results that are too long the model gets the ends, and a handle to read on."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Protocol

from agentrt.combine import Wrapper
from agentrt.errors import ToolsetError
from agentrt.toolset import Outcome, Progress, Toolset
from agentrt.types import CheckedCall, ToolResult, ToolSpec

PAGE_CHARS = 8_000
KEPT_AS = "whole result kept as "
"""What :attr:`agentrt.ToolResult.details` begin with where a result was cut; its handle follows."""

READ_RESULT = ToolSpec(
    name="read_result",
    description="Read on in a long tool result that was cut; the result's text names its handle.",
    input_schema={
        "type": "object",
        "properties": {
            "handle": {"type": "string", "description": "The handle that the cut result names."},
            "offset": {"type": "integer", "minimum": 0, "description": "First character to read, from 0."},
            "length": {"type": "integer", "minimum": 1, "maximum": PAGE_CHARS, "description": "Characters to read."},
        },
        "required": ["handle", "offset"],
        "additionalProperties": False,
    },
    read_only=True,
    idempotent=True,
    source="agentrt",
)


class Shelf(Protocol):
    """Where whole results are kept: a :class:`agentrt.conversation.Conversation`, so that they live as long as it."""

    @property
    def handles(self) -> Collection[str]:
        """What is kept."""
        ...

    async def keep(self, handle: str, text: str) -> None:
        """Keep a text; it is durable with the call's result."""
        ...

    async def kept(self, handle: str) -> str:
        """One of the texts that are kept."""
        ...


def handle_of(text: str) -> str:
    """Names a text by its content: the same in a replay, and no other conversation can guess it."""
    return f"result-{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:12]}"


class Spill(Wrapper):
    """Puts results longer than ``limit_chars`` on a shelf and passes on the head, the tail and a handle.

    ``read_result`` joins the offered tools with the first spill and stays; until then the prompt is as it was.
    """

    def __init__(self, inner: Toolset, limit_chars: int, shelf: Shelf) -> None:
        super().__init__(inner)
        self.limit_chars = limit_chars
        self.shelf = shelf
        self._shelved = False

    async def specs(self) -> Sequence[ToolSpec]:
        """The inner tools; the first thing on the shelf, whoever put it there, changes them."""
        if self._shelved != bool(self.shelf.handles):
            self._shelved, self._seen = True, None
        return await super().specs()

    def change(self, specs: Sequence[ToolSpec]) -> Sequence[ToolSpec]:
        """The inner tools, and ``read_result`` once there is something to read.

        :raises ToolsetError: if an inner tool has that name.
        """
        ours = [spec for spec in specs if spec.name == READ_RESULT.name]
        if ours == [READ_RESULT]:
            return specs  # they were cut where they arose, and are read on there
        if ours:
            raise ToolsetError(f"{READ_RESULT.name!r} is agentrt's own; give the source of that tool a prefix")
        return (*specs, READ_RESULT) if self.shelf.handles else specs

    async def call(self, call: CheckedCall, progress: Progress) -> ToolResult:
        """Run the call; spill its result if that is too long."""
        if call.spec is READ_RESULT:
            return await self._read(call)
        result = await self.inner.call(call, progress)
        return result if len(result.text) <= self.limit_chars else await self._spill(result)

    async def outcome(self, call: CheckedCall) -> Outcome:
        """Ask the inner toolset what came of the call; spill that if it is too long."""
        found = await super().outcome(call)
        if isinstance(found, ToolResult) and len(found.text) > self.limit_chars:
            return await self._spill(found)
        return found

    async def _spill(self, result: ToolResult) -> ToolResult:
        head = self.limit_chars - self.limit_chars // 4
        tail = len(result.text) - self.limit_chars // 4
        handle = handle_of(result.text)
        await self.shelf.keep(handle, result.text)
        cut = f"{tail - head} of {len(result.text)} characters are left out here"
        note = f"{cut}. Read on with read_result(handle={handle!r}, offset={head})"
        text = f"{result.text[:head]}\n\n[{note}.]\n\n{result.text[tail:]}"
        return replace(result, text=text, details=f"{KEPT_AS}{handle}")

    async def _read(self, call: CheckedCall) -> ToolResult:
        handle, offset = call.arguments["handle"], int(call.arguments["offset"])
        if handle not in self.shelf.handles:
            known = sorted(self.shelf.handles)
            return ToolResult(call.id, call.name, f"no handle {handle!r}; known: {known}", error=True)
        text = await self.shelf.kept(handle)
        page = text[offset : offset + int(call.arguments.get("length", PAGE_CHARS))]
        end = offset + len(page)
        more = f"\n[characters {offset} to {end} of {len(text)}" + (
            "]" if end >= len(text) else f"; next offset {end}]"
        )
        return ToolResult(call.id, call.name, page + more)
