"""Keeps the context small: results that are too long go to a file, and the model gets a handle to read on."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from anyio import Path as AsyncPath

from agentrt.combine import Wrapper
from agentrt.errors import ToolsetError
from agentrt.toolset import Outcome, Progress, Toolset
from agentrt.types import CheckedCall, ToolResult, ToolSpec

PAGE_CHARS = 8_000

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


class Spill(Wrapper):
    """Writes results longer than ``limit_chars`` to a file and passes on the head, the tail and a handle.

    ``read_result`` joins the offered tools with the first spill and stays; until then the prompt is as it was.
    ``folder`` is kept; without one a temporary folder lives until the toolset is closed.
    """

    def __init__(self, inner: Toolset, limit_chars: int, folder: Path | None = None) -> None:
        super().__init__(inner)
        self.limit_chars = limit_chars
        self._folder = folder
        self._temporary: Path | None = None
        self._handles: dict[str, Path] = {}

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.inner.__aexit__(kind, error, trace)
        finally:
            if self._temporary is not None:
                shutil.rmtree(self._temporary, ignore_errors=True)
                self._temporary, self._seen = None, None
                self._handles.clear()

    def change(self, specs: Sequence[ToolSpec]) -> Sequence[ToolSpec]:
        """The inner tools, and ``read_result`` once there is something to read.

        :raises ToolsetError: if an inner tool has that name.
        """
        if any(spec.name == READ_RESULT.name for spec in specs):
            raise ToolsetError(f"{READ_RESULT.name!r} is agentrt's own; give the source of that tool a prefix")
        return (*specs, READ_RESULT) if self._handles else specs

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
        cut = f"{tail - head} of {len(result.text)} characters are left out here"
        # named by its content: the same in a replay, and no other conversation can guess it
        handle = f"result-{hashlib.sha256(result.text.encode('utf-8', 'replace')).hexdigest()[:12]}"
        try:
            path = self._home() / f"{handle}.txt"
            await AsyncPath(path).write_bytes(result.text.encode("utf-8", "backslashreplace"))
        except OSError as error:  # the call itself went well, and the model must know that
            note, details = f"{cut} and could not be kept", f"the whole result could not be written: {error}"
        else:
            if not self._handles:
                self._seen = None
            self._handles[handle] = path
            note = f"{cut}. Read on with read_result(handle={handle!r}, offset={head})"
            details = f"whole result in {path}"
        text = f"{result.text[:head]}\n\n[{note}.]\n\n{result.text[tail:]}"
        return replace(result, text=text, details=details)

    def _home(self) -> Path:
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            return self._folder
        if self._temporary is None:
            self._temporary = Path(tempfile.mkdtemp(prefix="agentrt-"))
        return self._temporary

    async def _read(self, call: CheckedCall) -> ToolResult:
        handle, offset = call.arguments["handle"], int(call.arguments["offset"])
        path = self._handles.get(handle)
        if path is None:
            return ToolResult(call.id, call.name, f"no handle {handle!r}; known: {sorted(self._handles)}", error=True)
        text = (await AsyncPath(path).read_bytes()).decode()
        page = text[offset : offset + int(call.arguments.get("length", PAGE_CHARS))]
        end = offset + len(page)
        more = f"\n[characters {offset} to {end} of {len(text)}" + (
            "]" if end >= len(text) else f"; next offset {end}]"
        )
        return ToolResult(call.id, call.name, page + more)
