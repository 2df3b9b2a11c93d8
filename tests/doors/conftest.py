"""Accounts that the tests of the HTTP doors share."""

import contextlib
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from tests.conftest import Server, new_place, server_at
from tests.doors.rest import Account, client_of, register
from tests.fault_proxy import FaultProxy

STRICT = {
    "WEIGHHOUSE_WORKERS": "1",
    "WEIGHHOUSE_PUBLIC_URL": "https://models.example/",
    "WEIGHHOUSE_DOWNLOAD_URL_SECONDS": "4",
    "WEIGHHOUSE_MAX_UPLOAD_BYTES": "200000",
    "WEIGHHOUSE_MAX_UNPACKED_BYTES": "300000",
    "WEIGHHOUSE_TOKEN_CALLS": "40",
    "WEIGHHOUSE_LOGIN_ATTEMPTS": "3",
    "WEIGHHOUSE_ALLOW_RESET": "false",
}


# Nothing listens on that port: whatever is made up here, nobody else is asked.
EXPENDABLE = {
    "WEIGHHOUSE_WORKERS": "1",
    "WEIGHHOUSE_LOGIN_ATTEMPTS": "100000",
    "WEIGHHOUSE_HF_ENDPOINT": "http://127.0.0.1:9",
    "WEIGHHOUSE_GITHUB_API_URL": "http://127.0.0.1:9",
}


@pytest.fixture(scope="session")
def strict(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose every limit is near. A token of it makes 40 calls: get one for each test."""
    with contextlib.ExitStack() as stack:
        place, way = new_place(request), None
        if place is not None:
            parts = urlsplit(place.endpoint)
            way = stack.enter_context(FaultProxy(parts.hostname or "", parts.port or 0))
        yield stack.enter_context(server_at(place, tmp_path_factory.mktemp("strict") / "data", way, **STRICT))


@pytest.fixture(scope="session")
def expendable(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that may be reset at any time: nothing on it lasts from test to test."""
    with server_at(new_place(request), tmp_path_factory.mktemp("expendable") / "data", **EXPENDABLE) as running:
        yield running


@pytest.fixture(scope="session")
def admin(server: Server) -> Iterator[httpx.Client]:
    """A client with the default admin's token."""
    with client_of(server, server.admin_token) as client:
        yield client


@pytest.fixture(scope="session")
def anonymous(server: Server) -> Iterator[httpx.Client]:
    """A client without a token."""
    with client_of(server) as client:
        yield client


@pytest.fixture(scope="session")
def uploader(server: Server) -> Iterator[Account]:
    """A user who may do everything but administer."""
    yield from _account(server, "search", "download", "upload")


@pytest.fixture(scope="session")
def other(server: Server) -> Iterator[Account]:
    """Another user who may do the same."""
    yield from _account(server, "search", "download", "upload")


@pytest.fixture(scope="session")
def reader(server: Server) -> Iterator[Account]:
    """A user who may search and download."""
    yield from _account(server, "search", "download")


@pytest.fixture(scope="session")
def powerless(server: Server) -> Iterator[Account]:
    """A user who may only sign in."""
    yield from _account(server)


def _account(server: Server, *permissions: str) -> Iterator[Account]:
    account = register(server, *permissions)
    with account.client:
        yield account
