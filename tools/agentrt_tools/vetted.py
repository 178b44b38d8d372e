"""A network backend that checks every address at the moment of the connection, and dials the one it checked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from socket import SOCK_STREAM, gaierror

from anyio import getaddrinfo
from httpcore2 import SOCKET_OPTION, AnyIOBackend, AsyncNetworkBackend, AsyncNetworkStream, ConnectError, ConnectTimeout

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""From a host name and a port to addresses as text, e.g. ``("example.org", 443)`` to ``["93.184.215.14"]``."""

MAX_ADDRESSES = 4

# IANA special-purpose registries (RFC 6890 and what came after), whatever Python's is_global says of them, with
# multicast, and with the addresses at which clouds serve credentials: 168.63.129.16 is Azure's, 169.254.0.0/16
# is most others', 100.100.100.200 and 192.0.0.192 lie in ranges that are not global anyway.
_NOT_PUBLIC_4 = """
    0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 168.63.129.16/32 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24
    192.0.2.0/24 192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15
    198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4
"""
# Only 2000::/3 is global unicast at all, which leaves out ::1, ::/96, ::ffff:0:0/96, 64:ff9b::/96, fc00::/7 and
# fe80::/10. Within it: protocol assignments with Teredo, documentation, 6to4 (an IPv4 address inside), AS112.
_PUBLIC_6 = IPv6Network("2000::/3")
_NOT_PUBLIC_6 = "2001::/23 2001:db8::/32 2002::/16 2620:4f:8000::/48 3fff::/20"
_ISATAP = (0x00005EFE, 0x02005EFE)  # RFC 5214: an interface identifier with an IPv4 address in its last 32 bits


@lru_cache(maxsize=1)
def _not_public() -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(text) for text in (*_NOT_PUBLIC_4.split(), *_NOT_PUBLIC_6.split()))


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is a global unicast one, with no IPv4 address embedded that a gateway would reach."""
    if isinstance(address, IPv6Address):
        embedded = (int(address) >> 32) & 0xFFFFFFFF in _ISATAP
        if address.scope_id is not None or address not in _PUBLIC_6 or embedded:
            return False
    return not any(address.version == network.version and address in network for network in _not_public())


async def system_resolver(host: str, port: int) -> Sequence[str]:
    """The addresses that the machine's resolver gives, which also reads ``0x7f.1`` and ``2130706433``."""
    return [str(found[4][0]) for found in await getaddrinfo(host, port, type=SOCK_STREAM)]


class VettedNetwork(AsyncNetworkBackend):
    """Resolves a name once, refuses addresses that are not public, and dials one of the rest by number.

    TLS and the Host header still see the name. ``allowed`` are networks that may be dialled all the same.
    """

    def __init__(self, allowed: Sequence[IPv4Network | IPv6Network], resolve: Resolve) -> None:
        self._allowed = allowed
        self._resolve = resolve
        self._inner = AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        """Connect to the first of the host's vetted addresses that answers.

        :raises PermissionError: if none of its addresses may be dialled.
        :raises ConnectError: if the name has no address, or none answers.
        """
        failed: Exception = ConnectError(f"{host!r} has no address")
        for address in await self._vetted(host, port):
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (ConnectError, ConnectTimeout) as error:
                failed = error
        raise failed

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        """Refuse: a socket in the file system is never public."""
        raise PermissionError("sockets in the file system are not dialled")

    async def _vetted(self, host: str, port: int) -> list[str]:
        try:
            found = dict.fromkeys(await self._resolve(host.rstrip(".") or host, port))
        except (gaierror, UnicodeError) as error:
            raise ConnectError(f"the name {host!r} can't be resolved") from error
        good = [address for address in found if self._may_dial(ip_address(address))]
        if found and not good:
            raise PermissionError(
                f"{host!r} is {' and '.join(found)}, which is not on the public internet, and this tool may only "
                "fetch from there"
            )
        return good[:MAX_ADDRESSES]

    def _may_dial(self, address: IPv4Address | IPv6Address) -> bool:
        listed = any(address.version == network.version and address in network for network in self._allowed)
        return listed or is_public(address)
