"""An HTTP/1.1 client: keep-alive pool, proxies, TLS, streamed answers (RFC 9110, RFC 9112)."""

from __future__ import annotations

import os
import ssl
from asyncio import get_running_loop
from base64 import b64encode
from collections.abc import Mapping, Sequence
from time import monotonic
from types import TracebackType
from typing import Self
from urllib.parse import SplitResult, unquote, urlsplit

from anyio import move_on_after
from anyio.lowlevel import checkpoint

from agentrt.engines.http1_parse import Body, Head, body_of, parse_head
from agentrt.engines.proxy import proxy_from
from agentrt.engines.tcp import Stream
from agentrt.engines.transport import TLS, BadResponse, CannotConnect, ConnectionLost, TimedOut
from agentrt.errors import ConfigError

MAX_HEAD_BYTES = 65_536
MAX_IDLE = 1000
IDLE_SECONDS = 60.0
_PROXY = "the proxy's URL"
_PORTS = {"http": 80, "https": 443}


class _Connection:
    """An open connection, with what was read from it but not used yet."""

    __slots__ = ("idle_since", "rest", "stream")

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.rest = b""
        self.idle_since = 0.0

    def serves(self) -> bool:
        """Whether it can take another request: open, not too old, of this event loop, and with nothing left over."""
        stream = self.stream
        return stream.quiet and monotonic() - self.idle_since < IDLE_SECONDS and stream.loop is get_running_loop()

    def discard(self) -> None:
        """Close it, unless its event loop is gone and closed it."""
        if not self.stream.loop.is_closed():
            self.stream.abort()


class Http1:
    """A pool of connections to one endpoint; :class:`agentrt.engines.transport.Transport` describes its use.

    ``url`` is the endpoint's base, e.g. ``https://host/v1``; a query in it goes with every request. ``headers``
    go with every request too. ``proxy`` is a URL (``http`` or ``https``, with credentials if need be), ``""`` for
    none, or ``None`` to let the environment say. The pool has no upper limit and belongs to the event loop.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        connect_seconds: float = 10.0,
        tls: TLS | None = None,
        proxy: str | None = None,
    ) -> None:
        """Nothing is connected yet.

        :raises ConfigError: if the URL, a header or the proxy can't be used.
        """
        parts = _split(url, "the endpoint's URL")
        self.scheme, self.host, self.port = parts.scheme, str(parts.hostname), _port(parts)
        self.connect_seconds = connect_seconds
        self._tls = tls or TLS()
        self._context: ssl.SSLContext | None = None
        name = self.host if ":" not in self.host else f"[{self.host}]"
        self._authority = name if self.port == _PORTS[self.scheme] else f"{name}:{self.port}"
        if proxy is None:
            proxy = proxy_from(os.environ, self.scheme, self.host, self.port)
        self._proxy = _split(proxy if "://" in proxy else f"http://{proxy}", _PROXY) if proxy else None
        self._path, self._query = parts.path.rstrip("/"), f"?{parts.query}" if parts.query else ""
        fields = {"accept-encoding": "identity", "content-type": "application/json", **_lower(headers or {})}
        if self._proxy is not None and self.scheme == "http":
            self._path = f"http://{self._authority}{self._path}"
            fields |= _credentials(self._proxy)
        self._head = _encode_fields({"host": self._authority, **fields})
        self.idle: list[_Connection] = []

    def request(
        self, method: str, target: str, body: Sequence[bytes | bytearray] = (), *, seconds: float
    ) -> Http1Exchange:
        """Ask ``target``, a path below the base URL, e.g. ``/models``."""
        start = f"{method} {self._path}{target}{self._query} HTTP/1.1\r\n".encode("ascii")
        length = b"content-length: %d\r\n\r\n" % sum(map(len, body)) if body else b"\r\n"
        return Http1Exchange(self, b"".join((start, self._head, length, *body)), seconds)

    async def aclose(self) -> None:
        """Close the idle connections."""
        while self.idle:
            self.idle.pop().discard()
        await checkpoint()  # the event loop lets go of a connection in its next round

    async def connect(self) -> _Connection:
        """A new connection.

        :raises CannotConnect: if it does not come about within ``connect_seconds``.
        """
        via = f" through the proxy {self._proxy.hostname}" if self._proxy else ""
        where = f"{self.scheme}://{self._authority}{via}"
        with move_on_after(self.connect_seconds):
            try:
                return await self._connect()
            except ssl.SSLCertVerificationError as error:
                why = f"the certificate of {where} is not trusted ({error.verify_message}); name its CA with ca_file"
                raise CannotConnect(why, lasting=True) from error
            except (OSError, ConnectionLost, BadResponse) as error:
                raise CannotConnect(f"can't connect to {where}: {_why(error)}") from error
        raise CannotConnect(f"no connection to {where} within {self.connect_seconds:g} s")

    async def _connect(self) -> _Connection:
        context = self._context
        if context is None and "https" in (self.scheme, self._proxy and self._proxy.scheme):
            context = self._context = _context(self._tls)
        proxy = self._proxy
        if proxy is None:
            return _Connection(await Stream.connect(self.host, self.port, context))
        stream = await Stream.connect(str(proxy.hostname), _port(proxy), context if proxy.scheme == "https" else None)
        try:
            if self.scheme == "https":
                await self._tunnel(stream, proxy)
                assert context is not None, "made above"
                await stream.secure(self.host, context)
        except BaseException:
            stream.abort()
            raise
        return _Connection(stream)

    async def _tunnel(self, stream: Stream, proxy: SplitResult) -> None:
        """Ask the proxy for a tunnel (RFC 9110 section 9.3.6)."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        target = f"{name}:{self.port}"
        fields = _encode_fields({"host": target, **_credentials(proxy)})
        request = f"CONNECT {target} HTTP/1.1\r\n".encode("ascii") + fields + b"\r\n"
        await stream.send(request, self.connect_seconds)
        head, rest = await _read_head(stream, self.connect_seconds)
        if head.status != 200 or rest:
            raise BadResponse(f"the proxy answered {head.status} to CONNECT")


_NO_HEAD = Head(0, {}, keep_alive=False)
_NO_BODY = body_of(_NO_HEAD)


class Http1Exchange:
    """One request and its answer; :class:`agentrt.engines.transport.Exchange` describes its use."""

    __slots__ = ("_body", "_client", "_connection", "_head", "_request", "_seconds")

    def __init__(self, client: Http1, request: bytes, seconds: float) -> None:
        self._client = client
        self._request = request
        self._seconds = seconds
        self._connection: _Connection | None = None
        self._head = _NO_HEAD
        self._body: Body = _NO_BODY

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._head.status

    @property
    def headers(self) -> Mapping[str, str]:
        """The header fields, names in lower case, repeated ones joined with commas."""
        return self._head.headers

    @property
    def whole(self) -> bool:
        """Whether the body was read to its end."""
        return self._body.done

    async def __aenter__(self) -> Self:
        idle = self._client.idle
        while idle:
            connection = idle.pop()
            if not connection.serves():
                connection.discard()
                continue
            try:
                return await self._start(connection)
            except ConnectionLost:
                break  # closed by the server while it lay idle: nothing was answered, so a new one is asked
        return await self._start(await self._client.connect())

    async def _start(self, connection: _Connection) -> Self:
        stream = connection.stream
        try:
            await stream.send(self._request, self._seconds)
            self._head, connection.rest = await _read_head(stream, self._seconds)
            self._body = body_of(self._head)
        except TimeoutError as error:
            stream.abort()
            raise TimedOut(f"no answer within {self._seconds:g} s") from error
        except BaseException:
            stream.abort()
            raise
        self._connection = connection
        return self

    def at_hand(self) -> bytes | None:
        """The next bytes of the body if they are here, ``b""`` at its end, ``None`` if they must be waited for."""
        connection = self._connection
        assert connection is not None, "read only inside the block"
        while connection.rest and not self._body.done:
            piece, connection.rest = self._body.feed(connection.rest)
            if piece:
                return piece
        return b"" if self._body.done else None

    async def read(self, seconds: float) -> bytes:
        """The next bytes of the body, ``b""`` at its end."""
        connection = self._connection
        assert connection is not None, "read only inside the block"
        while (data := self.at_hand()) is None:
            try:
                connection.rest = await connection.stream.receive(seconds)
            except TimeoutError as error:
                raise TimedOut(f"nothing came within {seconds:g} s") from error
            if not connection.rest:
                if self._body.ends_here() and not connection.stream.broken:
                    return b""
                raise ConnectionLost("the connection ended before the answer did")
        return data

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        idle = self._client.idle
        if self._body.done and self._head.keep_alive and not connection.rest and len(idle) < MAX_IDLE:
            connection.idle_since = monotonic()
            idle.append(connection)
        else:
            connection.stream.abort()


async def _read_head(stream: Stream, seconds: float) -> tuple[Head, bytes]:
    """Read up to the end of the final answer's head; return it and the bytes after it."""
    data = b""
    deadline = monotonic() + seconds
    while True:
        end = data.find(b"\r\n\r\n")
        if end >= 0:
            head, data = parse_head(data[:end]), data[end + 4 :]
            if head.status >= 200:
                return head, data
            continue
        if len(data) > MAX_HEAD_BYTES:
            raise BadResponse(f"the head of the answer is longer than {MAX_HEAD_BYTES} bytes")
        more = await stream.receive(deadline - monotonic())
        if not more:
            raise ConnectionLost("the connection was closed without an answer")
        data += more


def _split(url: str, what: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        plain = url.isascii() and url.isprintable() and " " not in url
        usable = plain and parts.scheme in _PORTS and parts.hostname and _port(parts)
    except ValueError:
        usable = None
    if not usable:
        quoted = "" if what == _PROXY else f" {url!r}"  # a proxy's may hold a password
        raise ConfigError(f"{what}{quoted} can't be used; it must look like http://HOST:PORT or https://HOST")
    if what != _PROXY and parts.username is not None:
        raise ConfigError(f"{what} must not carry credentials; give the key in its variable or in a header")
    return parts


def _why(error: Exception) -> str:
    """What went wrong, in a few words."""
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) and error.errno and error.errno > 0:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__


def _port(parts: SplitResult) -> int:
    return parts.port or _PORTS[parts.scheme]


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _credentials(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()
    return {"proxy-authorization": f"Basic {b64encode(pair).decode()}"}


def _encode_fields(fields: Mapping[str, str]) -> bytes:
    for name, value in fields.items():
        whole = name.isascii() and name.isprintable() and not set(name) & set(' ":;,()<>@[]{}/?=\\')
        if not name or not whole or any(mark in value for mark in "\r\n\0") or not value.isascii():
            raise ConfigError(f"the header {name!r} has a name or a value that HTTP can't carry")
    return "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode("ascii")


def _context(tls: TLS) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        if tls.cert_file is not None:
            context.load_cert_chain(tls.cert_file, tls.key_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"the TLS files can't be used ({error}): {tls}") from error
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context
