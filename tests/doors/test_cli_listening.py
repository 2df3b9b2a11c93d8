"""The listening socket and its addresses."""

import socket

import pytest

from weighhouse.doors.cli.listening import BadAddress, PortInUse, listen, web_address


def test_port_0_takes_a_free_one() -> None:
    with listen("127.0.0.1", 0) as listener:
        assert listener.getsockname()[1] > 0
        assert listener.get_inheritable()


def test_a_port_in_use_is_told_with_the_option_that_helps() -> None:
    with listen("127.0.0.1", 0) as first, pytest.raises(PortInUse, match="--port"):
        listen("127.0.0.1", first.getsockname()[1])


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host", "x" * 64 + ".example"])
def test_an_address_of_another_machine_is_refused(host: str) -> None:
    with pytest.raises(BadAddress, match="--host") as refused:
        listen(host, 0)
    assert refused.value.field == "host"


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_the_ipv6_wildcard_serves_both_families() -> None:
    with listen("::", 0) as listener:
        port = listener.getsockname()[1]
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        socket.create_connection(("::1", port), timeout=5).close()


def test_the_printed_address_can_be_opened() -> None:
    assert web_address("0.0.0.0", 8000) == "http://127.0.0.1:8000"
    assert web_address("::1", 8000) == "http://[::1]:8000"
