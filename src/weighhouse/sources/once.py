"""Answers that are computed once, however many threads ask."""

import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from weighhouse.rules.evidence import Missing

T = TypeVar("T")


class Once:
    """Remembers the answer to each key, and a `Missing` as well: evidence that could not be had is not asked for again.

    Each key has its own lock, so a slow answer holds up only those who wait for the same one.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[Hashable, threading.Lock] = {}
        self._answers: dict[Hashable, Any] = {}

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The answer to `key`, made by `make` when nobody asked before.

        Raises:
            Missing: `make` raised it, now or then.
        """
        with self._guard:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._answers:
                try:
                    self._answers[key] = make()
                except Missing as missing:
                    self._answers[key] = missing
            answer: T | Missing = self._answers[key]
        if isinstance(answer, Missing):
            # A new one each time: threads that raise the same exception would share its traceback.
            raise type(answer)(answer.reason, answer.advice)
        return answer
