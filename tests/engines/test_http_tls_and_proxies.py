import asyncio
import base64
import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agentrt.engines.http1 import Http1
from agentrt.engines.proxy import proxy_from
from agentrt.engines.transport import TLS, CannotConnect, ConnectionLost
from agentrt.errors import ConfigError
from tests.engines.http_tools import OK, always, ask, raw_server
from tests.model_server import ModelServer

pytestmark = pytest.mark.anyio


class Authority:
    """A certificate authority for a test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.cert = self.sign(self.name, self.key.public_key(), authority=True)
        self.file = folder / "ca.pem"
        self.file.write_bytes(self.cert.public_bytes(serialization.Encoding.PEM))

    def sign(self, name: x509.Name, key: Any, *, authority: bool = False) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(self.name, name, key, x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(1))
        builder = builder.add_extension(x509.BasicConstraints(authority, None), critical=True)
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        builder = builder.add_extension(names, critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def issue(self, name: str) -> Path:
        """A file with a certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        cert = self.sign(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key.public_key())
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path = self.folder / f"{name}.pem"
        path.write_bytes(cert.public_bytes(serialization.Encoding.PEM) + secret)
        return path

    def server(self, *, ask_client: bool = False) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.issue("server"))
        if ask_client:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.file)
        return context


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def test_tls_trusts_the_named_authority(authority: Authority) -> None:
    async with ModelServer(always(b"hello"), ssl=authority.server()) as server:
        client = Http1(server.url, tls=TLS(ca_file=str(authority.file)))
        assert [await ask(client), await ask(client)] == [b"hello", b"hello"]
        assert server.opened == 1
        await client.aclose()
        await server.until(lambda server: server.closed == 1)


async def test_tls_trusts_nobody_else_and_says_what_to_do(authority: Authority) -> None:
    async with ModelServer(always(b"hello"), ssl=authority.server()) as server:
        with pytest.raises(CannotConnect, match="ca_file") as caught:
            await ask(Http1(server.url))
        assert caught.value.lasting
        client = Http1(server.url, tls=TLS(verify=False))
        assert await ask(client) == b"hello"
        await client.aclose()


async def test_tls_checks_the_name(authority: Authority) -> None:
    async with ModelServer(always(b"hello"), ssl=authority.server()) as server:
        with pytest.raises(CannotConnect, match="not trusted"):
            await ask(Http1(f"https://localhost:{server.port}", tls=TLS(ca_file=str(authority.file))))


async def test_tls_shows_our_own_certificate(authority: Authority) -> None:
    async with ModelServer(always(b"hello"), ssl=authority.server(ask_client=True)) as server:
        trust = str(authority.file)
        client = Http1(server.url, tls=TLS(ca_file=trust, cert_file=str(authority.issue("me"))))
        assert await ask(client) == b"hello"
        await client.aclose()
        with pytest.raises((CannotConnect, ConnectionLost)):
            await ask(Http1(server.url, tls=TLS(ca_file=trust)))


async def test_tls_cancelled_in_mid_stream_closes_the_connection(authority: Authority) -> None:
    async with ModelServer(always(b"one", end="hang"), ssl=authority.server()) as server:
        client = Http1(server.url, tls=TLS(ca_file=str(authority.file)))
        async with client.request("POST", "/x", [b"{}"], seconds=5) as exchange:
            assert await exchange.read(5) == b"one"
        await server.until(lambda server: server.closed == 1)


async def test_tls_to_a_server_without_is_told() -> None:
    async with raw_server(OK) as (url, _):
        with pytest.raises(CannotConnect, match="can't connect to https://127.*: .*SSL"):
            await ask(Http1(url.replace("http", "https")))


async def test_tls_files_that_can_not_be_read_are_a_mistake_of_the_operator() -> None:
    with pytest.raises(ConfigError, match="ca_file='/nowhere'"):
        await ask(Http1("https://127.0.0.1:1", tls=TLS(ca_file="/nowhere")))


@asynccontextmanager
async def proxy_server(seen: list[bytes], context: ssl.SSLContext | None = None, *, refuse: bool = False) -> Any:
    """An HTTP proxy: forwards absolute requests and makes tunnels. Notes the heads of the requests that it got."""

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65_536):
                sink.write(data)
            sink.write_eof() if sink.can_write_eof() else sink.close()
        except OSError:
            pass

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        seen.append(head)
        method, target, _ = head.split(b" ", 2)
        tunnel = method == b"CONNECT"
        if refuse:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
            writer.close()
            return
        address = target if tunnel else target.split(b"/")[2]
        host, port = address.decode().rsplit(":", 1)
        there_reader, there = await asyncio.open_connection(host, int(port))
        if tunnel:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            there.write(head)
        await asyncio.gather(pump(reader, there), pump(there_reader, writer))
        there.close()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0)


BASIC = b"proxy-authorization: Basic " + base64.b64encode(b"me:p@ss") + b"\r\n"


async def test_http_goes_through_a_proxy_with_the_whole_address() -> None:
    seen: list[bytes] = []
    async with ModelServer(always(b"hello")) as server, proxy_server(seen) as proxy:
        client = Http1(server.url, proxy=f"http://me:p%40ss@{proxy}")
        assert await ask(client) == b"hello"
        await client.aclose()
        await server.until(lambda server: server.closed == 1)
    assert seen[0].startswith(b"POST http://127.0.0.1:%d/v1/chat/completions HTTP/1.1\r\n" % server.port)
    assert BASIC in seen[0]


@pytest.mark.parametrize("secure", [False, True])
async def test_https_goes_through_a_tunnel(authority: Authority, secure: bool) -> None:
    seen: list[bytes] = []
    context = authority.server() if secure else None
    async with ModelServer(always(b"hello"), ssl=authority.server()) as server, proxy_server(seen, context) as proxy:
        address = f"{'https' if secure else 'http'}://me:p%40ss@{proxy}"
        client = Http1(server.url, proxy=address, tls=TLS(ca_file=str(authority.file)))
        assert [await ask(client), await ask(client)] == [b"hello", b"hello"]
        await client.aclose()
        await server.until(lambda server: server.closed == 1)
    assert len(seen) == 1
    assert seen[0].startswith(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n" % server.port)
    assert BASIC in seen[0]
    assert b"authorization" not in seen[0].replace(BASIC, b"")


async def test_a_proxy_that_refuses_is_named_without_its_password(authority: Authority) -> None:
    async with proxy_server([], refuse=True) as proxy:
        client = Http1("https://127.0.0.1:1", proxy=f"http://me:secret@{proxy}")
        with pytest.raises(CannotConnect, match="through the proxy 127.0.0.1: the proxy answered 407") as caught:
            await ask(client)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("proxy", ["socks5://x:1", "http://me:secret@x:99999"])
def test_a_proxy_that_can_not_be_used_is_a_mistake_of_the_operator(proxy: str) -> None:
    with pytest.raises(ConfigError, match="proxy") as caught:
        Http1("https://x", proxy=proxy)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "scheme", "host", "proxy"),
    [
        ({}, "https", "api.x.org", ""),
        ({"HTTPS_PROXY": "http://p"}, "https", "api.x.org", "http://p"),
        ({"https_proxy": "p:3128"}, "https", "api.x.org", "p:3128"),
        ({"HTTPS_PROXY": "http://p"}, "http", "api.x.org", ""),
        ({"HTTP_PROXY": "http://p"}, "http", "api.x.org", "http://p"),
        ({"ALL_PROXY": "http://p"}, "http", "api.x.org", "http://p"),
        ({"ALL_PROXY": "http://p"}, "http", "localhost", ""),
        ({"ALL_PROXY": "http://p"}, "http", "127.0.0.1", ""),
        ({"ALL_PROXY": "http://p"}, "http", "::1", ""),
        ({"ALL_PROXY": "http://p", "NO_PROXY": "*"}, "http", "api.x.org", ""),
        ({"ALL_PROXY": "http://p", "NO_PROXY": "y.org, x.org"}, "http", "api.X.org", ""),
        ({"ALL_PROXY": "http://p", "no_proxy": ".x.org"}, "http", "api.x.org", ""),
        ({"ALL_PROXY": "http://p", "no_proxy": ".x.org"}, "http", "x.org", ""),
        ({"ALL_PROXY": "http://p", "no_proxy": "*.x.org"}, "http", "api.x.org", ""),
        ({"ALL_PROXY": "http://p", "NO_PROXY": "x.org"}, "http", "ax.org", "http://p"),
        ({"ALL_PROXY": "http://p", "NO_PROXY": "api.x.org:443"}, "http", "api.x.org", ""),
        ({"ALL_PROXY": "http://p", "NO_PROXY": "api.x.org:80"}, "http", "api.x.org", "http://p"),
        ({"ALL_PROXY": "http://p", "NO_PROXY": "10.0.0.0/8"}, "http", "10.1.2.3", ""),
        ({"ALL_PROXY": "http://p", "NO_PROXY": "10.0.0.0/8"}, "http", "11.1.2.3", "http://p"),
        ({"ALL_PROXY": "http://p", "NO_PROXY": "[fd00::1]"}, "http", "fd00::1", ""),
    ],
)
def test_the_environment_says_which_proxy(environ: dict[str, str], scheme: str, host: str, proxy: str) -> None:
    assert proxy_from(environ, scheme, host, 443) == proxy


async def test_the_environment_is_heeded_and_can_be_overruled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.test:1")
    assert Http1("https://api.x.org")._proxy is not None
    assert Http1("https://api.x.org", proxy="")._proxy is None
