import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from agentrt.engines.http1 import Http1
from agentrt.engines.transport import BadResponse, CannotConnect, ConnectionLost
from agentrt.errors import ConfigError
from tests.engines.http_tools import OK, always, ask, pieces, raw_server
from tests.model_server import ModelServer, Reply, answer

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]


async def test_a_connection_is_used_again() -> None:
    async with ModelServer(always(b"hello")) as server:
        client = Http1(server.url)
        assert [await ask(client) for _ in range(5)] == [b"hello"] * 5
        assert server.opened == 1
        await client.aclose()
        await server.until(lambda server: server.closed == 1)
        await client.aclose()


async def test_requests_at_once_use_connections_of_their_own_and_keep_them() -> None:
    async with ModelServer(always(b"hello")) as server:
        client = Http1(server.url)
        for _ in range(2):
            async with anyio.create_task_group() as group:
                for _ in range(20):
                    group.start_soon(ask, client)
        assert server.opened == 20
        await client.aclose()


async def test_the_request_arrives_whole() -> None:
    async with ModelServer(always(b"hello")) as server:
        client = Http1(f"{server.url}/?version=3", headers={"Authorization": "Bearer k", "X-Team": "a"})
        await ask(client, body=b'{"a":' + b" " * 300_000 + b"1}")
        await client.aclose()
    (asked,) = server.asks
    assert (asked.method, asked.path) == ("POST", "/v1/chat/completions?version=3")
    assert asked.json == {"a": 1}
    assert asked.headers == {
        "host": f"127.0.0.1:{server.port}",
        "accept-encoding": "identity",
        "content-type": "application/json",
        "authorization": "Bearer k",
        "x-team": "a",
        "content-length": "300007",
    }


async def test_leaving_before_the_end_closes_the_connection() -> None:
    async with ModelServer(always(b"one", end="hang")) as server:
        client = Http1(server.url)
        async with client.request("POST", "/x", [b"{}"], seconds=5) as exchange:
            assert await exchange.read(5) == b"one"
            assert not exchange.whole
        await server.until(lambda server: server.closed == 1)


@pytest.mark.parametrize("before_head", [True, False])
async def test_cancelling_closes_the_connection(before_head: bool) -> None:
    never = anyio.Event()
    reply = Reply([b"one"], end="hang", before_head=never if before_head else None)
    async with ModelServer(lambda ask: reply) as server:
        client = Http1(server.url)
        async with anyio.create_task_group() as group:
            group.start_soon(ask, client)
            await server.until(lambda server: len(server.asks) == 1)
            group.cancel_scope.cancel()
        await server.until(lambda server: server.closed == 1)


async def test_a_native_cancel_closes_the_connection_too() -> None:
    async with ModelServer(always(b"one", end="hang")) as server:
        task = asyncio.ensure_future(ask(Http1(server.url)))
        await server.until(lambda server: len(server.asks) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.until(lambda server: server.closed == 1)


async def test_a_connection_that_the_server_closed_meanwhile_is_replaced() -> None:
    async with raw_server(OK) as (url, seen):
        client = Http1(url)
        assert [await ask(client) for _ in range(3)] == [b"ok"] * 3
        assert len(seen) == 3
        await client.aclose()


async def test_a_connection_with_bytes_left_over_is_not_used_again() -> None:
    async with raw_server(OK + b"HTTP/1.1 200 OK\r\n", OK, close=False) as (url, seen):
        client = Http1(url)
        assert [await ask(client), await ask(client)] == [b"ok", b"ok"]
        await client.aclose()


async def test_provisional_answers_are_skipped() -> None:
    async with raw_server(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\na: b\r\n\r\n" + OK) as (url, _):
        assert await ask(Http1(url)) == b"ok"


async def test_a_body_without_length_ends_with_the_connection() -> None:
    async with raw_server(b"HTTP/1.1 200 OK\r\n\r\nall of it") as (url, _):
        assert await ask(Http1(url)) == b"all of it"


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", ConnectionLost),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", ConnectionLost),
        (b"HTTP/1.1 200", ConnectionLost),
        (b"SSH-2.0-x\r\n\r\n", BadResponse),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000, BadResponse),
    ],
)
async def test_an_answer_that_breaks_off_or_is_none_is_an_error(reply: bytes, error: type[Exception]) -> None:
    async with raw_server(reply) as (url, _):
        with pytest.raises(error):
            await ask(Http1(url))


async def test_nobody_there_is_said_with_the_address() -> None:
    async with ModelServer([]) as server:
        port = server.port
    with pytest.raises(CannotConnect, match=rf"http://127\.0\.0\.1:{port}: .*") as caught:
        await ask(Http1(f"http://127.0.0.1:{port}"))
    assert not caught.value.lasting


async def test_a_connection_that_does_not_come_about_is_given_up() -> None:
    async with raw_server(b"", close=False) as (url, _):
        client = Http1(url.replace("http", "https"), connect_seconds=0.05)
        with pytest.raises(CannotConnect, match="within 0.05 s"):
            await ask(client)


async def test_a_slow_reader_slows_the_server_down() -> None:
    block = b"x" * 65_536
    sent = 0

    async def serve(stream: Any) -> None:
        nonlocal sent
        await stream.receive()
        await stream.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (len(block) * 1000))
        for _ in range(1000):
            await stream.send(block)
            sent += 1
        await stream.aclose()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with anyio.create_task_group() as group:
        group.start_soon(listener.serve, serve)
        async with Http1(f"http://127.0.0.1:{port}").request("POST", "/", [b"{}"], seconds=5) as exchange:
            await exchange.read(5)
            before = -1
            while before != sent:
                before = sent
                for _ in range(50):
                    await anyio.lowlevel.checkpoint()
            assert sent < 1000
            size = sum([len(piece) async for piece in pieces(exchange)])
            assert exchange.whole
        assert size > len(block) * 900
        group.cancel_scope.cancel()
    await listener.aclose()


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://x", "http://", "http://x:99999", "http://ü", "http://a b", "http://u:p@x/v1"]
)
def test_an_address_that_can_not_be_used_is_a_mistake_of_the_operator(url: str) -> None:
    with pytest.raises(ConfigError):
        Http1(url)


@pytest.mark.parametrize("headers", [{"a b": "c"}, {"a": "b\r\nc: d"}, {"": "x"}, {"a": "ü"}])
def test_a_header_that_can_not_be_sent_is_a_mistake_of_the_operator(headers: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        Http1("http://x", headers=headers)


UNCLEAN = """
import anyio, gc
from agentrt.engines.http1 import Http1
from tests.model_server import ModelServer, Reply

async def use(client, url):
    async with client.request("POST", "/x", [b"{}"], seconds=5) as exchange:
        await exchange.read(5)

async def main():
    async with ModelServer(lambda ask: Reply([b"one"], end="hang" if ask.path == "/v1/x" else "whole")) as server:
        client = Http1(server.url)
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(use, client, server.url)
            async with client.request("POST", "/y", [b"{}"], seconds=5) as exchange:
                while await exchange.read(5):
                    pass
            group.cancel_scope.cancel()
        await client.aclose()

for _ in range(2):
    anyio.run(main)
gc.collect()
"""


def test_nothing_is_left_behind_when_the_event_loop_ends() -> None:
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", UNCLEAN]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_client_can_be_used_in_one_event_loop_after_another() -> None:
    async def once(client: Http1, reply: str) -> bytes:
        async with ModelServer([answer(reply), answer(reply)], port=port) as server:
            if not port:
                ports.append(server.port)
                client = clients[0] = Http1(server.url)
            got = await ask(client)
            await client.aclose()
            return got

    ports: list[int] = []
    clients: list[Any] = [None]
    port = 0
    first = anyio.run(once, None, "one")
    port = ports[0]
    assert anyio.run(once, clients[0], "two") == first.replace(b"one", b"two")
