"""Bytes to be scanned: random access in bounded memory, and the limits that one scan keeps to."""

from typing import Protocol

_BUFFER_BYTES = 64 << 10
MAX_READ_BYTES = 16 << 20


class Source(Protocol):
    """A file that can be read anywhere."""

    def read(self, start: int, length: int) -> bytes:
        """At most `length` bytes from `start`; fewer only at the end."""
        ...


class LimitReached(Exception):
    """The scan of one file took more than it may; what is unread stays unread."""


class Broken(Exception):
    """The content contradicts its own format."""

    def __init__(self, message: str, position: int | None = None) -> None:
        super().__init__(message)
        self.position = position


class Budget:
    """What one scan may still spend, whatever the file holds and however it is nested.

    Measured on one busy core: a million opcodes take about two seconds, a unit of unpacking is a byte of inflate.
    """

    MAX_DEPTH = 4

    def __init__(self) -> None:
        self.opcodes = 6_000_000
        self.members = 50_000
        self.unpacked = 4 << 30
        self.read = 32 << 30
        self.parsed = 128 << 20

    def spend(self, what: str, amount: int) -> None:
        """Takes `amount` from the budget named `what`.

        Raises:
            LimitReached: There is not as much left.
        """
        left: int = getattr(self, what) - amount
        setattr(self, what, left)
        if left < 0:
            raise LimitReached(f"The scan ended at its limit of {what}.")


class Bytes:
    """Content that is in memory."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def read(self, start: int, length: int) -> bytes:
        """At most `length` bytes from `start`."""
        return self._content[start : start + length]


class View:
    """A span of a source, read through one small buffer."""

    def __init__(self, source: Source, start: int, size: int, budget: Budget) -> None:
        self.size = max(0, size)
        self.budget = budget
        self._source = source
        self._start = start
        self._buffer = b""
        self._buffer_start = 0

    def read(self, position: int, length: int) -> bytes:
        """At most `length` bytes from `position`; fewer at the end, or beyond 16 MiB.

        Raises:
            LimitReached: The scan has read too much.
        """
        length = min(length, self.size - position, MAX_READ_BYTES)
        if length <= 0 or position < 0:
            return b""
        offset = position - self._buffer_start
        if offset < 0 or offset + length > len(self._buffer):
            self._fill(position, length)
            offset = 0
        return self._buffer[offset : offset + length]

    def part(self, start: int, size: int) -> "View":
        """The span of `size` bytes from `start`, cut to what is there."""
        start = max(0, min(start, self.size))
        return View(self._source, self._start + start, min(size, self.size - start), self.budget)

    def _fill(self, position: int, length: int) -> None:
        wanted = min(max(length, _BUFFER_BYTES), self.size - position)
        self.budget.spend("read", wanted)
        self._buffer = self._source.read(self._start + position, wanted)[:wanted]
        self._buffer_start = position


def need(view: View, position: int, length: int) -> bytes:
    """Exactly `length` bytes.

    Raises:
        Broken: The content ends before.
    """
    content = view.read(position, length)
    if len(content) < length:
        raise Broken("The content ends in the middle.", position)
    return content
