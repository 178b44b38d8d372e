"""A byte stream over TCP or TLS on asyncio's own transports: one write and one wait a turn, and no task."""

from __future__ import annotations

import asyncio
import ssl
from typing import cast

MAX_UNREAD_BYTES = 262_144


class Stream(asyncio.Protocol):
    """One connection, read and written by one task at a time.

    anyio's stream does the same on any backend; here its extra trip through the loop for each write, and its
    stopping and starting of the reading for each read, would be a fifth of what a whole turn costs.
    """

    __slots__ = (
        "_blocked",
        "_deadline",
        "_pieces",
        "_timer",
        "_transport",
        "_unread",
        "_waiter",
        "broken",
        "ended",
        "loop",
    )

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.ended = False
        self.broken = False
        self._transport: asyncio.Transport | None = None
        self._pieces: list[bytes] = []
        self._unread = 0
        self._blocked = False
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0

    @classmethod
    async def connect(cls, host: str, port: int, context: ssl.SSLContext | None = None) -> Stream:
        """Connect, securely if ``context`` is given.

        :raises OSError: if no connection comes about (``ssl.SSLError`` is one). No timeout: the caller has one.
        """
        loop = asyncio.get_running_loop()
        _, stream = await loop.create_connection(
            cls, host, port, ssl=context, server_hostname=host if context else None, happy_eyeballs_delay=0.25
        )
        return stream

    async def secure(self, host: str, context: ssl.SSLContext) -> None:
        """Go on in TLS, inside what there is.

        :raises OSError: if the handshake fails.
        """
        assert self._transport is not None, "secure only what is connected"
        transport = await self.loop.start_tls(self._transport, self, context, server_hostname=host)
        if transport is None:
            raise ConnectionResetError("the connection ended during the TLS handshake")
        self._transport = transport

    @property
    def quiet(self) -> bool:
        """Whether it is open and nothing came that was not read."""
        return not self.ended and not self._pieces

    async def send(self, data: bytes, seconds: float) -> None:
        """Send, and wait while the other side does not take it. On a connection that ended this does nothing.

        :raises TimeoutError: if it takes longer than ``seconds``.
        """
        assert self._transport is not None, "send only what is connected"
        self._transport.write(data)
        deadline = self.loop.time() + seconds
        while self._blocked and not self.ended:
            await self._wait(deadline)

    async def receive(self, seconds: float) -> bytes:
        """The next bytes, ``b""`` if the connection ended; ``broken`` says whether that was no proper end.

        :raises TimeoutError: if nothing comes within ``seconds``.
        """
        if not self._pieces and not self.ended:
            deadline = self.loop.time() + seconds
            while not self._pieces and not self.ended:
                await self._wait(deadline)
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        if self._unread > MAX_UNREAD_BYTES and self._transport is not None and not self.ended:
            self._transport.resume_reading()
        self._unread = 0
        return data

    async def _wait(self, deadline: float) -> None:
        """Wait for a change. One timer serves many waits: it is set anew only for an earlier deadline."""
        self._deadline = deadline
        if self._timer is None or self._timer.when() > deadline:
            self._stop_timer()
            self._timer = self.loop.call_at(deadline, self._tick)
        self._waiter = self.loop.create_future()
        await self._waiter

    def _tick(self) -> None:
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return
        if self.loop.time() < self._deadline:
            self._timer = self.loop.call_at(self._deadline, self._tick)
        else:
            self._waiter.set_exception(TimeoutError())

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def abort(self) -> None:
        """End the connection now. May be called twice."""
        self._end()
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio calls this (and again once it is secure)."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Asyncio calls this. A slow reader makes it stop, and TCP slows the sender down."""
        self._pieces.append(data)
        before, self._unread = self._unread, self._unread + len(data)
        if before <= MAX_UNREAD_BYTES < self._unread and self._transport is not None:
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        """Asyncio calls this; the connection is closed then."""
        self._end()

    def connection_lost(self, error: Exception | None) -> None:
        """Asyncio calls this when the connection is gone, for whatever reason."""
        self.broken = error is not None
        self._end()

    def pause_writing(self) -> None:
        """Asyncio calls this when too much waits to be sent."""
        self._blocked = True

    def resume_writing(self) -> None:
        """Asyncio calls this when enough of it was sent."""
        self._blocked = False
        self._wake()

    def _end(self) -> None:
        self.ended = True
        self._stop_timer()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
