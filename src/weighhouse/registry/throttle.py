"""Failed logins slow down the next ones, by account and by address, on every server alike."""

from dataclasses import dataclass

from sqlalchemy import delete, func, select, text
from sqlalchemy.orm import Session

from weighhouse.rules.errors import Exhausted
from weighhouse.store.tables import LoginFailure

WINDOW_SECONDS = 60
ADDRESS_FACTOR = 3
"""Many people may stand behind one address: it may fail three times as often as one account."""

_WINDOW = text(f"interval '{WINDOW_SECONDS} seconds'")


class TooManyFailures(Exhausted):
    """Too many failed logins in a short time."""


@dataclass(frozen=True)
class Throttle:
    """The failures that bear on one attempt to sign in.

    Args:
        attempts: Failures in a minute after which an account has to wait.
    """

    username: str
    address: str
    attempts: int

    def check(self, tx: Session) -> None:
        """Nothing, while there were few failures lately.

        Raises:
            TooManyFailures: The account or the address has to wait.
        """
        recent = (LoginFailure.subject.in_(self._limits), LoginFailure.failed_at > func.now() - _WINDOW)
        age = func.extract("epoch", func.now() - func.min(LoginFailure.failed_at))
        query = select(LoginFailure.subject, func.count(), age).where(*recent).group_by(LoginFailure.subject)
        waits = [
            WINDOW_SECONDS - int(oldest)
            for subject, count, oldest in tx.execute(query)
            if count >= self._limits[subject]
        ]
        if waits:
            seconds = max(1, *waits, 1)
            raise TooManyFailures(
                f"Too many failed logins. Wait {seconds} seconds, then try again.", retry_after_seconds=seconds
            )

    def count(self, tx: Session) -> None:
        """Records a failure."""
        tx.add_all(LoginFailure(subject=subject) for subject in self._limits)

    def forget(self, tx: Session) -> None:
        """Clears the account's failures, and everybody's that no longer count."""
        stale = LoginFailure.failed_at < func.now() - _WINDOW
        tx.execute(delete(LoginFailure).where((LoginFailure.subject == self._account) | stale))

    @property
    def _account(self) -> str:
        return f"user:{self.username.lower()[:64]}"

    @property
    def _limits(self) -> dict[str, int]:
        return {self._account: self.attempts, f"address:{self.address}": self.attempts * ADDRESS_FACTOR}
