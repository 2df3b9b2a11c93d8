"""Users, permissions, tokens and the calls they may make."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import ADMIN_PASSWORD
from weighhouse.app import App
from weighhouse.registry.accounts import (
    BudgetUsedUp,
    DefaultAdminProtected,
    LoginRefused,
    TokenRefused,
    UsernameTaken,
    authenticate,
    delete_user,
    register_user,
    set_password,
    set_permissions,
    take_call,
)
from weighhouse.registry.throttle import TooManyFailures
from weighhouse.rules.permissions import Caller, Permission


def admin_of(registry: App) -> Caller:
    return take_call(registry, authenticate(registry, "admin", ADMIN_PASSWORD, address="127.0.0.1").secret)


def test_a_token_serves_exactly_its_calls_under_concurrency(registry: App) -> None:
    registry.settings.token_calls = 100
    secret = authenticate(registry, "admin", ADMIN_PASSWORD, address="127.0.0.1").secret
    barrier = threading.Barrier(8)

    def spend() -> int:
        barrier.wait()
        served = 0
        for _ in range(20):
            try:
                take_call(registry, secret)
                served += 1
            except BudgetUsedUp:
                continue
        return served

    with ThreadPoolExecutor(8) as pool:
        assert sum(future.result() for future in [pool.submit(spend) for _ in range(8)]) == 100


def test_passwords_that_differ_only_after_72_bytes_are_different(registry: App) -> None:
    caller = admin_of(registry)
    register_user(registry, caller, "long", "x" * 80 + "a", ["search"])
    with pytest.raises(LoginRefused):
        authenticate(registry, "long", "x" * 80 + "b", address="127.0.0.1")
    assert authenticate(registry, "LONG", "x" * 80 + "a", address="127.0.0.1").secret
