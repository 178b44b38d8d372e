"""The events of a run as an async iterator."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from anyio import create_memory_object_stream
from anyio.streams.memory import MemoryObjectReceiveStream

from agentrt.errors import lone_errors
from agentrt.events import Emit, Event
from agentrt.loop import Result


class Stream:
    """The events of a run, as an async iterator; ``result`` is there when it is exhausted."""

    def __init__(self, events: MemoryObjectReceiveStream[Event]) -> None:
        self._events = events
        self.result: Result | None = None

    def __aiter__(self) -> AsyncIterator[Event]:
        return self._events.__aiter__()


@asynccontextmanager
async def streamed(run: Callable[[Emit], Awaitable[Result]]) -> AsyncIterator[Stream]:
    """Run and hand out the events. A slow reader slows the run; leaving the block cancels it."""
    send, receive = create_memory_object_stream[Event](0)
    async with receive, lone_errors() as group:
        stream = Stream(receive)

        async def drive() -> None:
            async with send:
                stream.result = await run(send.send)

        group.start_soon(drive)
        yield stream
        group.cancel_scope.cancel()
