"""What tests of sources ask with: a cache of their own, and why an answer is missing."""

from collections.abc import Callable

import pytest

from weighhouse.rules.evidence import Missing, Reason


class Memory:
    """A cache that lasts as long as a test."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[str | None, bytes]] = {}

    def get(self, key: str) -> tuple[str | None, bytes] | None:
        """What was put."""
        return self.kept.get(key)

    def put(self, key: str, validator: str | None, value: bytes) -> None:
        """Keeps a value."""
        self.kept[key] = (validator, value)


def reason_of(ask: Callable[[], object]) -> Reason:
    """Why there is no answer, told in a sentence that fits a table."""
    with pytest.raises(Missing) as missing:
        ask()
    assert 0 < len(missing.value.advice) <= 160
    return missing.value.reason
