"""Where this server may connect to, in every form an address can be written."""

import socket
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighhouse.rules.evidence import Missing, Reason
from weighhouse.sources import addresses
from weighhouse.sources.addresses import checked_addresses, is_proxied, is_public, place_of


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.9.9.9",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "240.0.0.1",
        "192.0.2.1",
        "::",
        "::1",
        "::10.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "64:ff9b:1::a00:1",
        "2002:7f00:1::",
        "fc00::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
    ],
)
def test_an_address_that_is_not_the_internets_is_refused(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["140.82.121.4", "1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
)
def test_an_address_of_the_internet_is_let_through(address: str) -> None:
    assert is_public(address)


@given(st.ip_addresses(v=4))
def test_a_wrapped_address_is_judged_as_the_one_inside(address: object) -> None:
    inner = int(address)  # type: ignore[call-overload]  # an IPv4 address is an integer
    for wrapped in (f"::ffff:{address}", f"64:ff9b::{inner >> 16:x}:{inner & 0xFFFF:x}"):
        assert is_public(wrapped) == is_public(str(address))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "0177.0.0.1", "127.1"])
def test_a_host_inside_is_refused_unless_it_is_the_operators_own(host: str) -> None:
    for own in (set(), {(host, 81)}, {("example.org", 80)}):
        with pytest.raises(Missing) as caught:
            checked_addresses(host, 80, own=own)
        assert caught.value.reason is Reason.FORBIDDEN
    assert "127.0.0.1" in checked_addresses(host, 80, own={(host, 80)})


def test_one_address_inside_refuses_them_all(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [(2, 1, 6, "", (address, 443)) for address in ("140.82.121.4", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: entries)
    with pytest.raises(Missing) as caught:
        checked_addresses("rebinding.example", 443, own=())
    assert caught.value.reason is Reason.FORBIDDEN
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: entries[:1] * 2)
    assert checked_addresses("fine.example", 443, own=()) == ["140.82.121.4"]


def test_a_name_that_nobody_resolves_in_time_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "RESOLVE_SECONDS", 0.05)
    released = threading.Event()

    def wait(*_: object, **__: object) -> list[object]:
        released.wait(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", wait)
    started = time.monotonic()
    with pytest.raises(Missing) as caught:
        checked_addresses("slow.example", 443, own=())
    assert caught.value.reason is Reason.UNREACHABLE
    assert time.monotonic() - started < 20
    released.set()


@pytest.mark.parametrize("host", ["a.invalid", "a" * 64 + ".example", ""])
def test_a_name_that_is_none_is_unreachable(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not host:
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [])
    with pytest.raises(Missing) as caught:
        checked_addresses(host, 443, own=())
    assert caught.value.reason is Reason.UNREACHABLE


def test_a_place_is_host_and_port() -> None:
    assert place_of("http://A.example:8080/x") == ("a.example", 8080)
    assert place_of("http://[::1]/x") == ("::1", 80)
    for url in ("ftp://a.example", "https://", "x", "file:///etc"):
        with pytest.raises(ValueError, match="is no http or https address"):
            place_of(url)


def test_loopback_is_never_proxied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "inside.example")
    assert is_proxied("https://github.com/a")
    for url in ("http://127.0.0.1:80/a", "http://localhost/a", "http://[::1]/a", "https://inside.example/a"):
        assert not is_proxied(url)
