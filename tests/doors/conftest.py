"""Accounts that the tests of the HTTP doors share."""

from collections.abc import Iterator

import httpx
import pytest

from tests.conftest import Server
from tests.doors.rest import Account, client_of, register


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
