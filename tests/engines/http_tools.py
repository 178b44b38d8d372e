"""A client's request in one line, and a server that says the very bytes it is told to."""

from contextlib import asynccontextmanager
from typing import Any

import anyio

from agentrt.engines.http1 import Http1
from tests.model_server import Reply


async def ask(client: Http1, target: str = "/chat/completions", body: bytes = b"{}") -> bytes:
    async with client.request("POST", target, [body], seconds=5) as exchange:
        assert exchange.status == 200
        return b"".join([piece async for piece in pieces(exchange)])


async def pieces(exchange: Any) -> Any:
    while piece := await exchange.read(5):
        yield piece


def always(*steps: Any, **more: Any) -> Any:
    return lambda ask: Reply(steps, **more)


@asynccontextmanager
async def raw_server(*replies: bytes, close: bool = True) -> Any:
    """Answers each request on a connection with the next reply, then closes it."""
    seen: list[bytes] = []

    async def serve(stream: Any) -> None:
        async with stream:
            for reply in replies:
                try:
                    seen.append(await stream.receive())
                except anyio.EndOfStream:
                    return
                await stream.send(reply)
            if not close:
                await anyio.sleep_forever()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with anyio.create_task_group() as group:
        group.start_soon(listener.serve, serve)
        yield f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}", seen
        group.cancel_scope.cancel()
    await listener.aclose()


OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
