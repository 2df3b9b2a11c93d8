"""The stack and the memo of a pickle, as its loader has them.

A machine with the loader's stack and memo, so that names that are put together over both are found as the loader finds
them. Values are numbers, eight bytes each, whatever they stand for: the memory of a walk does not depend on what a length
in the pickle claims. The low three bits say what a value is:

    0 anything   1 a mark   2 text, by the position of its opcode   3 an import   4 what a call of an import gave
    5 a whole number   6 a tuple of such values, or a numpy dtype, in a side table
"""

from array import array
from collections.abc import Sequence

from weighhouse.rules.scan.source import Broken, LimitReached

ANYTHING, MARK, TEXT, IMPORT, INSTANCE, INT, ENTRY = range(7)
_MAX_STACK = 2_000_000
_MAX_MEMO = 4_000_000
_MAX_SPARSE = 10_000
_MAX_ENTRIES = 100_000


class Values:
    """A machine without instructions: those are in `PickleWalk`."""

    def __init__(self) -> None:
        self._start = 0
        self._stack = array("q")
        self._memo = array("q")
        self._sparse: dict[int, int] = {}
        self._memoized = 0
        self._entries: list[tuple[int, ...] | str] = []

    def _push(self, value: int) -> None:
        if len(self._stack) >= _MAX_STACK:
            raise LimitReached("The pickle keeps too many values at once.")
        self._stack.append(value)

    def _pop(self) -> int:
        if not self._stack or self._stack[-1] & 7 == MARK:
            raise Broken("The pickle takes more from its stack than is there.", self._start)
        return self._stack.pop()

    def _top(self) -> int:
        if not self._stack or self._stack[-1] & 7 == MARK:
            raise Broken("The pickle takes more from its stack than is there.", self._start)
        return self._stack[-1]

    def _pop_to_mark(self) -> Sequence[int]:
        stack, index = self._stack, len(self._stack) - 1
        while index >= 0 and stack[index] & 7 != MARK:
            index -= 1
        if index < 0:
            raise Broken("The pickle goes back to a mark that it never set.", self._start)
        items = stack[index + 1 :]
        del stack[index:]
        return items

    def _remember(self, index: int) -> None:
        value, memo = self._top(), self._memo
        if index < 0:
            raise Broken("A place in the pickle's memo is negative.", self._start)
        # MEMOIZE counts what is there, so a place that is filled anew must not count twice.
        self._memoized += self._at(index) == -1
        self._sparse.pop(index, None)
        if index < len(memo):
            memo[index] = value
        elif index <= 2 * len(memo) + 1_024 and index < _MAX_MEMO:
            memo.extend(array("q", [-1]) * (index - len(memo)))
            memo.append(value)
        elif len(self._sparse) < _MAX_SPARSE:
            self._sparse[index] = value
        else:
            raise LimitReached("The pickle remembers too many values.")

    def _at(self, index: int) -> int:
        value = self._memo[index] if 0 <= index < len(self._memo) else -1
        return self._sparse.get(index, -1) if value == -1 else value

    def _recall(self, index: int) -> None:
        value = self._at(index)
        if value == -1:
            raise Broken("The pickle recalls what it never remembered.", self._start)
        self._push(value)

    def _push_tuple(self, items: tuple[int, ...] | None) -> None:
        self._push(ANYTHING if items is None else self._entry(items))

    def _entry(self, entry: tuple[int, ...] | str) -> int:
        if len(self._entries) >= _MAX_ENTRIES:
            return ANYTHING
        self._entries.append(entry)
        return ENTRY | (len(self._entries) - 1) << 3
