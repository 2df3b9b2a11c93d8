"""The socket that all API processes accept from, and the addresses it has."""

import errno
import os
import socket

from weighhouse.rules.errors import Conflict, Invalid

_BACKLOG = 2048
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - the names, not a binding


class PortInUse(Conflict):
    """Another program listens there."""


class BadAddress(Invalid):
    """The server cannot listen there."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on `host` and `port`; port 0 takes a free one.

    Raises:
        PortInUse: Another program listens there.
        BadAddress: The address is not this machine's, or the port needs more rights.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        raise BadAddress(
            f"{host} is no address to listen on. Set --host to one of this machine.", field="host"
        ) from error
    # A name such as localhost may have both; clients try the old family first.
    family, _, _, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
    try:
        listener = socket.create_server(
            address[:2], family=family, backlog=_BACKLOG, dualstack_ipv6=host == "::" and socket.has_dualstack_ipv6()
        )
    except OSError as error:
        raise _explained(error, host, port) from error
    listener.set_inheritable(True)
    return listener


def _explained(error: OSError, host: str, port: int) -> Conflict | Invalid:
    if error.errno == errno.EADDRINUSE:
        return PortInUse(
            f"Port {port} on {host} is in use by another program. Choose another with --port; 0 takes a free one."
        )
    if error.errno == errno.EACCES:
        return BadAddress(f"This user may not listen on port {port}. Choose one above 1023 with --port.", field="port")
    return BadAddress(
        f"The server cannot listen on {host}: {os.strerror(error.errno or 0)}. Set --host to an address of this machine.",
        field="host",
    )


def reachable_host(host: str) -> str:
    """A host under which this machine reaches a server that listens on `host`.

    >>> reachable_host("0.0.0.0"), reachable_host("10.1.2.3")
    ('127.0.0.1', '10.1.2.3')
    """
    return _WILDCARDS.get(host, host)


def web_address(host: str, port: int) -> str:
    """The address to type into a browser on this machine.

    >>> web_address("::", 8000), web_address("localhost", 80)
    ('http://[::1]:8000', 'http://localhost:80')
    """
    host = reachable_host(host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
