"""A scripted OpenAI-compatible model server over real HTTP, in a test's own event loop or as a process of its own.

In a test::

    async with ModelServer([answer("hello")]) as server:
        engine = OpenAIChat(server.url, "m")

As a process, ``python tests/model_server.py [--port N]`` prints its base URL and serves until its standard input
ends. The model's name then says what it does: ``tools-N`` makes N turns with one tool call each and answers in
the next (the turn is the number of tool results in the request), ``paced-N`` does so with every event in a packet
of its own; any key of ``MODES`` misbehaves like that.
"""

import asyncio
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Literal, Self

import anyio
from anyio.abc import TaskGroup

Step = bytes | anyio.Event
"""Bytes to send, or something to wait for before the next ones."""

KEEP_ALIVE = b": keep-alive\n\n"
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Ask:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Reply:
    """What to answer. ``end``: the body ends well, the connection is cut, or nothing more comes (for ever).

    ``pieces`` sends every step in pieces of so many bytes, each in an HTTP chunk of its own. ``forever`` is sent
    again and again after the steps, until the client goes.
    """

    steps: Sequence[Step] = ()
    status: int = 200
    headers: Sequence[tuple[str, str]] = (("content-type", "text/event-stream; charset=utf-8"),)
    end: Literal["whole", "cut", "hang"] = "whole"
    pieces: int | None = None
    forever: bytes = b""
    before_head: anyio.Event | None = None


def event(value: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> bytes:
    """One chunk of a Chat Completions stream."""
    choice = {"index": 0, "delta": delta or {}, "logprobs": None, "finish_reason": finish}
    frame = {"id": "chatcmpl-1234567890abcdef", "object": "chat.completion.chunk", "created": 1790000000, "model": "m"}
    return event({**frame, "choices": [choice], **more})


def call_chunk(index: int | None, arguments: Any = "", *, call_id: str = "", name: str = "") -> bytes:
    """A chunk with one fragment of a call; ``index=None`` leaves it out, as some servers do."""
    function: dict[str, Any] = {"arguments": arguments, **({"name": name} if name else {})}
    call: dict[str, Any] = {"function": function}
    if index is not None:
        call["index"] = index
    if call_id:
        call |= {"id": call_id, "type": "function"}
    return chunk({"tool_calls": [call]})


def usage(prompt: int = 100, completion: int = 20, cached: int = 0) -> bytes:
    """The last chunk, which only reports what was used."""
    spent = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return event({"choices": [], "usage": {**spent, "prompt_tokens_details": {"cached_tokens": cached}}})


def words(text: str) -> list[bytes]:
    """A chunk for every word."""
    return [chunk({"content": word}) for word in re.findall(r"\S+\s*|\s+", text)]


def call(index: int, call_id: str, name: str, arguments: str, size: int = 8) -> list[bytes]:
    """A whole call in chunks of ``size`` characters of its arguments."""
    first = call_chunk(index, call_id=call_id, name=name)
    return [first, *(call_chunk(index, arguments[at : at + size]) for at in range(0, len(arguments), size))]


def answer(text: str, finish: str = "stop", **more: Any) -> Reply:
    """A whole answer in words."""
    return Reply(
        [chunk({"role": "assistant", "content": ""}), *words(text), chunk(finish=finish), usage(), DONE], **more
    )


def calling(*calls: Iterable[bytes], text: str = "", finish: str = "tool_calls", **more: Any) -> Reply:
    """A whole answer that makes these calls, in order."""
    start = chunk({"role": "assistant", "content": None})
    made = [step for steps in calls for step in steps]
    return Reply([start, *words(text), *made, chunk(finish=finish), usage(), DONE], **more)


def failing(status: int, message: str = "", **headers: str) -> Reply:
    """An error, with ``headers`` whose underscores are hyphens."""
    body = json.dumps({"error": {"message": message, "type": "error", "code": status}}).encode()
    fields = [("content-type", "application/json"), *((k.replace("_", "-"), v) for k, v in headers.items())]
    return Reply([body], status=status, headers=fields)


def models(*names: str) -> Reply:
    """The answer to ``GET /models``."""
    listed = [{"id": name, "object": "model", "created": 1, "owned_by": "test"} for name in names]
    return whole_json({"object": "list", "data": listed})


def whole_json(value: Any, status: int = 200) -> Reply:
    """A JSON body at once."""
    return Reply([json.dumps(value).encode()], status=status, headers=[("content-type", "application/json")])


_WEATHER = '{"city":"Oslo","days":3}'


def _many_calls(count: int) -> Reply:
    return calling(*([call_chunk(at, _WEATHER, call_id=f"call_{at}", name="weather")] for at in range(count)))


MODES: dict[str, Callable[[], Reply]] = {
    "words": lambda: answer("It is sunny in Oslo."),
    "bytes": lambda: calling(call(0, "call_1", "weather", _WEATHER), text="Let me look. Ünïcödé 🌤", pieces=1),
    "cut": lambda: Reply([*words("Let me"), *call(0, "call_1", "weather", '{"city": "Os')], end="cut"),
    "no-finish": lambda: Reply([*words("It is"), DONE]),
    "no-done": lambda: Reply([*words("It is sunny."), chunk(finish="stop"), usage()]),
    "keep-alive": lambda: Reply(forever=KEEP_ALIVE),
    "keep-alive-later": lambda: Reply(words("It is"), forever=KEEP_ALIVE),
    "empty-deltas": lambda: Reply(words("It is"), forever=chunk({"content": ""})),
    "bad-utf8": lambda: Reply([*words("It is"), b'data: {"choices":[{"delta":{"content":"\xff\xfe"}}]}\n\n', DONE]),
    "bad-json": lambda: Reply([*words("It is"), b'data: {"choices":[{"delta":{"con\n\n', DONE]),
    "busy": lambda: failing(429, "slow down", retry_after="0"),
    "broken": lambda: failing(500, "out of memory"),
    "locked": lambda: failing(401, "invalid key"),
    "same-ids": lambda: calling(call(0, "call_1", "weather", _WEATHER), call(1, "call_1", "weather", _WEATHER)),
    "index-zero": lambda: calling(
        [call_chunk(0, _WEATHER, call_id="a", name="weather")], [call_chunk(0, "{}", call_id="b", name="clock")]
    ),
    "many-calls": lambda: _many_calls(10_000),
    "error-event": lambda: Reply([*words("It is"), event({"error": {"message": "CUDA error", "code": 500}}), DONE]),
}


@cache
def tool_turn(turn: int, turns: int) -> Reply:
    """Turn ``turn`` of a conversation that calls ``forecast`` in each of ``turns`` turns and then answers."""
    if turn >= turns:
        return answer("It will be sunny in Oslo on all of these days.")
    arguments = json.dumps({"city": "Oslo", "days": turn + 1, "unit": "celsius"})
    return calling(call(0, f"call_{turn}", "forecast", arguments), text="Let me look that up for you.")


def by_model(ask: Ask) -> Reply:
    """The behaviour that the model's name in the request asks for."""
    if ask.method == "GET":
        return models("words")
    name = re.search(rb'"model":\s*"([^"]*)"', ask.body)
    model = name[1].decode() if name else ""
    manner, _, turns = model.partition("-")
    if manner in ("tools", "paced"):
        reply = tool_turn(ask.body.count(b'"role":"tool"'), int(turns))
        return reply if manner == "tools" else replace(reply, pieces=1_000_000)
    return MODES[model]()


Script = Iterable[Reply] | Callable[[Ask], Reply]


@dataclass
class ModelServer:
    """The server. ``asks`` are the requests so far; ``opened`` and ``closed`` count connections.

    ``script`` gives the replies one by one, or makes one for each request. ``GET /models`` is answered with
    ``models`` if they are given.
    """

    script: Script
    models: Sequence[str] | None = None
    port: int = 0
    ssl: Any = None
    asks: list[Ask] = field(default_factory=list)
    opened: int = 0
    closed: int = 0
    _changed: anyio.Event = field(default_factory=anyio.Event)

    async def __aenter__(self) -> Self:
        self._replies: Iterator[Reply] | None = None if callable(self.script) else iter(self.script)
        self._transports: set[asyncio.Transport] = set()
        self._group: TaskGroup = await anyio.create_task_group().__aenter__()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self), "127.0.0.1", self.port, backlog=1024, ssl=self.ssl
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: Any) -> None:
        self._server.close()
        for transport in list(self._transports):
            transport.abort()
        self._group.cancel_scope.cancel()
        await self._group.__aexit__(None, None, None)
        await self._server.wait_closed()
        await asyncio.sleep(0)

    @property
    def url(self) -> str:
        return f"{'https' if self.ssl else 'http'}://127.0.0.1:{self.port}/v1"

    async def until(self, condition: Callable[[Self], bool]) -> None:
        """Wait until something that the server counts is so; fail after five seconds."""
        with anyio.fail_after(5):
            while not condition(self):
                await self._changed.wait()

    def changed(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    def reply(self, ask: Ask) -> Reply:
        self.asks.append(ask)
        self.changed()
        if ask.method == "GET" and self.models is not None:
            return models(*self.models)
        if self._replies is None:
            return self.script(ask)  # type: ignore[operator]
        found = next(self._replies, None)
        return failing(418, "the script is at its end") if found is None else found


class _Connection(asyncio.Protocol):
    def __init__(self, server: ModelServer) -> None:
        self.server = server
        self.data = b""
        self.alive = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.server._transports.add(self.transport)
        self.server.opened += 1
        self.server.changed()

    def connection_lost(self, error: Exception | None) -> None:
        self.alive = False
        self.server._transports.discard(self.transport)
        self.server.closed += 1
        self.server.changed()

    def data_received(self, data: bytes) -> None:
        self.data += data
        while (ask := self._take()) is not None:
            reply = self.server.reply(ask)
            sent = _at_once(reply)
            if sent is None:
                self.server._group.start_soon(self._send, reply)
            else:
                self.transport.write(sent)

    def _take(self) -> Ask | None:
        end = self.data.find(b"\r\n\r\n")
        if end < 0:
            return None
        start, *lines = self.data[:end].decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        size = end + 4 + int(headers.get("content-length", 0))
        if len(self.data) < size:
            return None
        method, path, _ = start.split(" ")
        body, self.data = self.data[end + 4 : size], self.data[size:]
        return Ask(method, path, headers, body)

    async def _send(self, reply: Reply) -> None:
        if reply.before_head is not None:
            await reply.before_head.wait()
        self._write(_head(reply))
        for step in reply.steps:
            if isinstance(step, anyio.Event):
                await step.wait()
                continue
            for at in range(0, len(step), reply.pieces or len(step)):
                self._write(_frame(step[at : at + (reply.pieces or len(step))]))
                if reply.pieces:
                    await asyncio.sleep(0)
        while reply.forever and self.alive:
            self._write(_frame(reply.forever))
            await asyncio.sleep(0.002)
        if reply.end == "whole":
            self._write(b"0\r\n\r\n")
        elif reply.end == "cut" and self.alive:
            self.transport.close()

    def _write(self, data: bytes) -> None:
        if self.alive:
            self.transport.write(data)


def _head(reply: Reply) -> bytes:
    fields = [*reply.headers, ("transfer-encoding", "chunked")]
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return f"HTTP/1.1 {reply.status} Whatever\r\n{lines}\r\n".encode("latin-1")


def _frame(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


_SENT: dict[int, tuple[Reply, bytes]] = {}


def _at_once(reply: Reply) -> bytes | None:
    """All bytes of a reply that waits for nothing; kept, so that a benchmark measures its clients and not us."""
    known = _SENT.get(id(reply))
    if known is not None and known[0] is reply:
        return known[1]
    plain = reply.end == "whole" and not reply.pieces and not reply.forever and reply.before_head is None
    if not plain or not all(isinstance(step, bytes) for step in reply.steps):
        return None
    sent = b"".join([_head(reply), *(_frame(step) for step in reply.steps if isinstance(step, bytes)), b"0\r\n\r\n"])
    if len(_SENT) > 1000:
        _SENT.clear()
    _SENT[id(reply)] = (reply, sent)
    return sent


async def _serve(port: int) -> None:
    async with ModelServer(by_model, port=port) as server:
        print(server.url, flush=True)
        server.asks = _Forgotten()
        await anyio.to_thread.run_sync(sys.stdin.buffer.read, abandon_on_cancel=True)


class _Forgotten(list[Ask]):
    def append(self, ask: Ask) -> None:
        pass


if __name__ == "__main__":
    anyio.run(_serve, int(sys.argv[sys.argv.index("--port") + 1]) if "--port" in sys.argv else 0)
