"""Where this server may connect to: public addresses, and the operator's own hosts by exact host and port."""

import contextlib
import ipaddress
import socket
import threading
import urllib.request
from collections.abc import Collection, Sequence
from urllib.parse import urlsplit

from weighhouse.rules.evidence import Missing, Reason

RESOLVE_SECONDS = 5.0

_DEFAULT_PORTS = {"http": 80, "https": 443}
# These carry an IPv4 address inside; the one inside is where the packets go.
_NAT64 = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))


def place_of(url: str) -> tuple[str, int]:
    """Host, lower case, and port of an http or https address.

    Raises:
        ValueError: It has none.

    >>> place_of("https://Example.org/a")
    ('example.org', 443)
    """
    parts = urlsplit(url)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ValueError(f"{url!r} is no http or https address")
    return parts.hostname, parts.port or _DEFAULT_PORTS[parts.scheme]


def checked_addresses(host: str, port: int, *, own: Collection[tuple[str, int]]) -> Sequence[str]:
    """The addresses of a host, resolved once and every one of them allowed; connect to these and to no others.

    Args:
        own: The operator's hosts and ports, which may have any address.

    Raises:
        Missing: The name does not resolve (`unreachable`), or one of its addresses is not public (`forbidden`).
    """
    addresses = _resolved(host, port)
    if not addresses:
        raise Missing(Reason.UNREACHABLE, f"The name {host[:80]} does not resolve; evaluate again later")
    if (host, port) not in own and not all(map(is_public, addresses)):
        raise Missing(Reason.FORBIDDEN, f"{host[:80]} has an address that this server may not connect to")
    return addresses


def is_proxied(url: str) -> bool:
    """Whether the environment sends requests for this address through a proxy, which then resolves the name and decides."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    with contextlib.suppress(ValueError):
        # No proxy elsewhere can reach this machine's own loopback.
        if ipaddress.ip_address(host).is_loopback:
            return False
    proxies = urllib.request.getproxies()
    named = parts.scheme in proxies or "all" in proxies
    return host != "localhost" and named and not urllib.request.proxy_bypass(host)


def is_public(address: str) -> bool:
    """Whether an address belongs to the internet at large, in whatever form it is wrapped.

    >>> [is_public(one) for one in ("140.82.121.4", "127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe", "fe80::1%eth0")]
    [True, False, False, False, False]
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if inner is None and any(found in network for network in _NAT64):
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        # `::a.b.c.d` and site-local addresses are withdrawn, and Python calls them global.
        if found.is_site_local or int(found) < 1 << 32:
            return False
    return found.is_global and not found.is_multicast


def _resolved(host: str, port: int) -> Sequence[str]:
    """The addresses of a name; none when it has none, or when nobody said so in time."""
    found: list[str] = []

    def look() -> None:
        with contextlib.suppress(OSError, UnicodeError):
            entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.extend(dict.fromkeys(str(entry[4][0]) for entry in entries))

    # A resolver that does not answer would hold up a whole evaluation; one that is late is left to itself.
    thread = threading.Thread(target=look, name="resolve", daemon=True)
    thread.start()
    thread.join(RESOLVE_SECONDS)
    return list(found)
