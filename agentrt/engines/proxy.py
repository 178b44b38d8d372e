"""Which proxy, if any, stands between us and an endpoint, as the environment variables say."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address, ip_network


def proxy_from(environ: Mapping[str, str], scheme: str, host: str, port: int) -> str:
    """The proxy's URL, or ``""`` to go directly.

    ``HTTPS_PROXY`` or ``HTTP_PROXY`` by ``scheme``, else ``ALL_PROXY``, in either case. ``NO_PROXY`` lists hosts,
    domains (with all hosts below them), addresses and networks, each with an optional port; ``*`` is everything.
    Loopback addresses are always asked directly.
    """
    if is_loopback(host) or _excepted(_read(environ, "no_proxy"), host.lower(), port):
        return ""
    return _read(environ, f"{scheme}_proxy") or _read(environ, "all_proxy")


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine by name or address."""
    if host.lower() == "localhost" or host.lower().endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _read(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name, "") or environ.get(name.upper(), "")


def _excepted(listed: str, host: str, port: int) -> bool:
    return any(_matches(item.strip().lower(), host, port) for item in listed.split(","))


def _matches(item: str, host: str, port: int) -> bool:
    if not item or item == "*":
        return bool(item)
    try:
        return ip_address(host) in ip_network(item.strip("[]"), strict=False)
    except ValueError:
        pass  # a name on either side
    name, colon, number = item.rpartition(":")
    if colon and number.isdigit():
        if int(number) != port:
            return False
        item = name.strip("[]")
    domain = item.removeprefix("*").removeprefix(".")
    return host == domain or host.endswith(f".{domain}")
