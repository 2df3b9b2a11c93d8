"""What the scanner says of a file: a level, and the findings that led to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How a file or a finding is judged. Each equals its text."""

    SAFE = "safe"
    UNSCANNED = "unscanned"
    SUSPICIOUS = "suspicious"
    UNSAFE = "unsafe"


_ORDER = tuple(Level)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    Args:
        level: What the file is at least, because of it. `safe` is a remark.
        kind: The rule, in few words that never change: `pickle-import`.
        message: What was found, for people. Text of the file in it is cut and escaped.
        position: Byte in the file, or in the member at `inner_path`.
        inner_path: The member of an archive, `outer.zip!inner.pkl` below the file itself.
    """

    level: Level
    kind: str
    message: str
    position: int | None = None
    inner_path: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The worst of the findings, and all of them in the order of the file."""

    level: Level
    findings: Sequence[Finding]


def worst(levels: Sequence[Level]) -> Level:
    """The worst of `levels`, `safe` when there is none.

    >>> worst([Level.SUSPICIOUS, Level.UNSCANNED])
    <Level.SUSPICIOUS: 'suspicious'>
    """
    return max(levels, key=_ORDER.index, default=Level.SAFE)


class Report:
    """Findings as they are made: each once, a bounded number, and the worst level of all."""

    MAX_FINDINGS = 200

    def __init__(self) -> None:
        self._findings: dict[tuple[str, str, str | None], Finding] = {}
        self._level = Level.SAFE

    def add(
        self, level: Level, kind: str, message: str, position: int | None = None, inner_path: str | None = None
    ) -> None:
        """Notes a finding, unless the same was made before. Beyond 200, only its level counts."""
        self._level = worst([self._level, level])
        key = (kind, message, inner_path)
        if key not in self._findings and (len(self._findings) < self.MAX_FINDINGS or self._make_room(level)):
            self._findings[key] = Finding(level, kind, message, position, inner_path)

    def verdict(self) -> Verdict:
        """What the findings come to."""
        return Verdict(self._level, tuple(self._findings.values()))

    def _make_room(self, level: Level) -> bool:
        # A flood of remarks must not hide the one reason that counts.
        for key, finding in self._findings.items():
            if _ORDER.index(finding.level) < _ORDER.index(level):
                del self._findings[key]
                return True
        return False


def shown(text: str, limit: int = 100) -> str:
    """Text of a file as a message may hold it: escaped, and at most `limit` characters of it.

    >>> shown("os\\nsystem")
    'os\\\\nsystem'
    """
    return ascii(text[:limit])[1:-1] + ("…" if len(text) > limit else "")
