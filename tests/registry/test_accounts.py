"""Users, permissions, tokens and the calls they may make."""

import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import func, select, text, update

from tests.conftest import ADMIN_PASSWORD
from tests.registry.shelf import at_once, caller
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
from weighhouse.store.tables import LoginFailure, Token, User


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


def sign_in(registry: App, username: str, password: str = "a password", address: str = "10.0.0.1") -> str:
    return authenticate(registry, username, password, address=address).secret


@pytest.fixture
def ada(registry: App) -> User:
    return register_user(registry, admin_of(registry), "Ada", "a password", ["search"])


def test_a_token_lives_thirty_days_by_the_clock_of_the_database(registry: App, ada: User) -> None:
    secret = sign_in(registry, "ada")
    with registry.db.read() as tx:
        token = tx.scalars(select(Token).where(Token.user_id == ada.id)).one()
        now = tx.scalar(select(func.now()))
    assert now is not None
    assert abs(token.expires_at - now - timedelta(days=30)) < timedelta(seconds=10)
    for seconds, lives in ((5, True), (-1, False)):
        with registry.db.write() as tx:
            tx.execute(update(Token).values(expires_at=func.now() + timedelta(seconds=seconds)))
        if lives:
            assert take_call(registry, secret).username == "Ada"
        else:
            with pytest.raises(TokenRefused):
                take_call(registry, secret)


def test_only_the_hash_of_a_secret_is_kept(registry: App, ada: User) -> None:
    secret = sign_in(registry, "ada")
    with registry.db.read() as tx:
        kept = tx.scalars(select(Token).where(Token.user_id == ada.id)).one()
    assert len(kept.token_sha256) == 32
    assert secret.encode() not in kept.token_sha256


def test_a_secret_that_nobody_gave_out_is_refused(registry: App) -> None:
    for secret in ("", "x", "x" * 100_000, "\x00", "\ud800", "é", "' OR 1=1"):
        with pytest.raises(TokenRefused):
            take_call(registry, secret)


def test_a_call_counts_once_and_says_what_is_left(registry: App, ada: User) -> None:
    registry.settings.token_calls = 3
    secret = sign_in(registry, "ada")
    assert [take_call(registry, secret).calls_remaining for _ in range(3)] == [2, 1, 0]
    with pytest.raises(BudgetUsedUp):
        take_call(registry, secret)
    with registry.db.write() as tx:
        tx.execute(update(Token).values(revoked_at=func.now()))
    # A token that is revoked is nothing, whatever it has left.
    with pytest.raises(TokenRefused):
        take_call(registry, secret)


def test_failures_hold_up_an_account_for_a_minute_and_others_not(registry: App, ada: User) -> None:
    registry.settings.login_attempts = 2
    for password in ("wrong", "wrong again"):
        with pytest.raises(LoginRefused):
            sign_in(registry, "ada", password)
    for name in ("ada", "ADA"):
        with pytest.raises(TooManyFailures) as refused:
            sign_in(registry, name)
        assert 0 < (refused.value.retry_after_seconds or 0) <= 60
    assert sign_in(registry, "admin", ADMIN_PASSWORD)
    with registry.db.write() as tx:
        tx.execute(update(LoginFailure).values(failed_at=func.now() - timedelta(seconds=61)))
    assert sign_in(registry, "ada")
    with registry.db.read() as tx:
        assert tx.scalar(select(func.count()).select_from(LoginFailure)) == 0


def test_failures_on_many_names_hold_up_the_address(registry: App) -> None:
    registry.settings.login_attempts = 2
    for number in range(6):
        with pytest.raises(LoginRefused):
            sign_in(registry, f"nobody{number}", address="10.9.9.9")
    with pytest.raises(TooManyFailures):
        sign_in(registry, "admin", ADMIN_PASSWORD, address="10.9.9.9")
    assert sign_in(registry, "admin", ADMIN_PASSWORD, address="10.9.9.8")


def test_success_forgets_the_failures_of_the_account(registry: App, ada: User) -> None:
    registry.settings.login_attempts = 2
    for _ in range(3):
        with pytest.raises(LoginRefused):
            sign_in(registry, "ada", "wrong")
        assert sign_in(registry, "ada")


def test_an_unknown_name_takes_as_long_as_a_wrong_password(registry: App, ada: User) -> None:
    registry.settings.login_attempts = 1000

    def seconds(username: str) -> float:
        began = time.perf_counter()
        with pytest.raises(LoginRefused):
            sign_in(registry, username, "wrong")
        return time.perf_counter() - began

    known, unknown = (statistics.median(seconds(name) for _ in range(5)) for name in ("ada", "nobody"))
    assert 0.4 < known / unknown < 2.5


def test_permissions_hold_at_once_for_tokens_given_out_before(registry: App, ada: User) -> None:
    root, secret = admin_of(registry), sign_in(registry, "ada")
    for permissions in (["upload", "download"], [], ["admin"]):
        with registry.db.write() as tx:
            set_permissions(tx, root, ada.id, permissions)
        assert take_call(registry, secret).permissions == frozenset(map(Permission, permissions))


def test_the_default_admin_is_protected_also_from_two_at_once(registry: App) -> None:
    root, deputy = admin_of(registry), caller(registry, "deputy", Permission.ADMIN)

    def demote(who: Caller, whom: Caller) -> object:
        with registry.db.write() as tx:
            return set_permissions(tx, who, whom.user_id, ["search"])

    outcomes = at_once([lambda: demote(deputy, root), lambda: demote(root, deputy)])
    assert isinstance(outcomes[0], DefaultAdminProtected)
    with registry.db.write() as tx, pytest.raises(DefaultAdminProtected):
        delete_user(tx, root, root.user_id)
    with registry.db.read() as tx:
        assert tx.scalar(text("SELECT count(*) FROM users WHERE 'admin' = ANY (permissions)")) == 1


def test_two_at_once_do_not_get_one_name(registry: App) -> None:
    root = admin_of(registry)
    names = ("Bob", "bob", "BOB")
    outcomes = at_once([partial(register_user, registry, root, name, "x", []) for name in names])
    assert sum(isinstance(outcome, User) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, UsernameTaken) for outcome in outcomes) == 2


def test_a_new_password_ends_every_session_of_that_user_and_no_other(registry: App, ada: User) -> None:
    root, secret = admin_of(registry), sign_in(registry, "ada")
    set_password(registry, root, ada.id, "another", None)
    with pytest.raises(TokenRefused):
        take_call(registry, secret)
    with pytest.raises(LoginRefused):
        sign_in(registry, "ada")
    assert sign_in(registry, "ada", "another")
    with registry.db.read() as tx:
        living = tx.scalar(select(func.count()).where(Token.user_id == root.user_id, Token.revoked_at.is_(None)))
    assert living == 2


def test_deleting_a_user_ends_their_tokens(registry: App, ada: User) -> None:
    secret = sign_in(registry, "ada")
    root = admin_of(registry)
    with registry.db.write() as tx:
        delete_user(tx, root, ada.id)
    with pytest.raises(TokenRefused):
        take_call(registry, secret)
