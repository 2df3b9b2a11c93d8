"""Versions, their order, and ranges of them.

Every acceptable version has a key, and the order of the keys, byte by byte, is the order of the versions. A database
with byte-wise collation can therefore sort versions and answer ranges from an index.

The order: all versions that are not SemVer come first, among themselves in natural order (runs of digits by number),
equal ones by their text. Then those that are SemVer 2.0.0, by its precedence (clause 11), equal ones by build metadata.
"""

import re
from dataclasses import dataclass

from weighhouse.rules.errors import Invalid

MAX_VERSION_LENGTH = 50
MAX_RANGE_LENGTH = 256
MAX_COMPARATORS = 32

# Classes are spelled out: \d takes the digits of every script.
_VERSION = re.compile(r"[0-9A-Za-z.+_-]+")
_DIGITS = re.compile(r"[0-9]+")
_NUMBER = r"(?:0|[1-9][0-9]*)"
_IDENTIFIER = rf"(?:{_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_SUFFIXES = rf"(?:-({_IDENTIFIER}(?:\.{_IDENTIFIER})*))?(?:\+([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?"
_SEMVER = re.compile(rf"({_NUMBER})\.({_NUMBER})\.({_NUMBER}){_SUFFIXES}")

_PLACE = rf"({_NUMBER}|[xX*])"
_PARTIAL = re.compile(rf"v?{_PLACE}(?:\.{_PLACE}(?:\.{_PLACE}{_SUFFIXES})?)?")
_HYPHEN_RANGE = re.compile(r"(\S+)\s+-\s+(\S+)", re.ASCII)
_COMPARATOR = re.compile(r"(<=|>=|<|>|=|~>|~|\^)?\s*([0-9A-Za-z.*+-]+)(?:\s+|\Z)", re.ASCII)
_SPACES_AND_COMMAS = re.compile(r"[\s,]+", re.ASCII)

_FIRST = "1"  # at or below the key of every SemVer, above the key of every other version
_LAST = "2"  # above every key
_RELEASE = "~"  # after the numbers where a prerelease has "-": a release comes after its prereleases
# The key of a version without build metadata, and this mark, is above the key of the same version with any build
# metadata ("+" follows there) and below every other key that is above it.
_PAST_BUILDS = ","


class InvalidVersion(Invalid):
    """This is not a version that a package can have."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, field="version")


class InvalidRange(Invalid):
    """This is neither a version nor a range of versions."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, field="version")


def check_version(version: str) -> str:
    """The same version, known to be one that a package can have.

    Raises:
        InvalidVersion: It is empty, over 50 characters, or has a character other than ASCII letters, digits and `.+_-`.
    """
    if not version:
        raise InvalidVersion("A package needs a version, for example 1.0.0.")
    if len(version) > MAX_VERSION_LENGTH:
        raise InvalidVersion(f"A version has at most {MAX_VERSION_LENGTH} characters; this one has {len(version)}.")
    if not _VERSION.fullmatch(version):
        raise InvalidVersion(
            f"{version!a} is not a version. Use letters A to Z, digits, '.', '+', '_' and '-', for example 1.0.0."
        )
    return version


def is_prerelease(version: str) -> bool:
    """Whether this is a SemVer prerelease. A version that is not SemVer is none.

    >>> is_prerelease("1.0.0-rc.1"), is_prerelease("1.0.0+x-y"), is_prerelease("v1-rc")
    (True, False, False)
    """
    semver = _SEMVER.fullmatch(version)
    return semver is not None and semver[4] is not None


def version_key(version: str) -> str:
    """A text of its own for each version, under 200 printable ASCII characters, that sorts byte by byte as versions do.

    Raises:
        InvalidVersion: The version is not acceptable.

    >>> sorted(["1.10.0", "1.9.0", "1.9.0-rc.1", "v2"], key=version_key)
    ['v2', '1.9.0-rc.1', '1.9.0', '1.10.0']
    """
    check_version(version)
    if semver := _SEMVER.fullmatch(version):
        key = _precedence_key((int(semver[1]), int(semver[2]), int(semver[3])), semver[4])
        return key if semver[5] is None else f"{key}+{semver[5]}"
    # A run of digits begins with "0", which stands where digits stand among the other characters. The text behind
    # "!", lower than all of them, keeps 1.0 and 1.00 apart.
    return "0" + _DIGITS.sub(lambda run: "0" + _number_key(run[0].lstrip("0") or "0"), version) + "!" + version


@dataclass(frozen=True)
class Interval:
    """Keys from `lower` to just below `upper`; prereleases among them only where `prereleases` is true."""

    lower: str
    upper: str
    prereleases: bool

    def contains(self, key: str, *, prerelease: bool) -> bool:
        """Whether the version with this key is inside."""
        return self.lower <= key < self.upper and (self.prereleases or not prerelease)


@dataclass(frozen=True)
class VersionRange:
    """What a text selects: one version by its very text (`exact`), or else any version in one of the `intervals`.

    In a database: `version = exact`, or for any interval `version_key >= lower AND version_key < upper AND
    (prereleases OR NOT is_prerelease)`. Neither one nor the other selects nothing.
    """

    exact: str | None
    intervals: tuple[Interval, ...]

    def matches(self, version: str) -> bool:
        """Whether this version is selected.

        Raises:
            InvalidVersion: The version is not acceptable.
        """
        if self.exact is not None:
            return check_version(version) == self.exact
        key, prerelease = version_key(version), is_prerelease(version)
        return any(interval.contains(key, prerelease=prerelease) for interval in self.intervals)


def parse_range(text: str) -> VersionRange:
    """What a version or an npm-style range selects.

    A text that could be a version is that version, so `1.0.0`, `v1` and `1` select what is called exactly so; `1.x`
    and `x` are ranges. A range selects SemVer versions only and looks past build metadata. As in npm it selects a
    prerelease only when one of the comparators joined by AND names a prerelease of the same three numbers; so `*` is
    every release.

    Args:
        text: Comparators (`>=1.2`, `<2`, `=1.0.0`, `^1.2`, `~1.2.0`, `1.x`, `*`) joined by spaces or commas for AND,
            or `1.0.0 - 2.0.0`; alternatives separated by `||`.

    Raises:
        InvalidRange: It cannot be read, has over 256 characters or over 32 comparators.
        InvalidVersion: It has only characters of a version, but too many of them.

    >>> [v for v in ("1.1.9", "1.2.0", "1.9.0-rc.1", "1.9.0", "2.0.0") if parse_range("^1.2").matches(v)]
    ['1.2.0', '1.9.0']
    """
    if len(text) > MAX_RANGE_LENGTH:
        raise InvalidRange(f"A version range has at most {MAX_RANGE_LENGTH} characters; this one has {len(text)}.")
    text = text.strip(" \t\r\n")
    if _VERSION.fullmatch(text) and not _is_wildcard(text):
        return VersionRange(check_version(text), ())
    alternatives = [_comparators(alternative) for alternative in text.split("||")]
    if sum(map(len, alternatives)) > MAX_COMPARATORS:
        raise InvalidRange(f"A version range has at most {MAX_COMPARATORS} comparators. Write it more shortly.")
    intervals = [interval for comparators in alternatives for interval in _intersection(comparators)]
    return VersionRange(None, tuple(dict.fromkeys(intervals)))


@dataclass(frozen=True)
class _Partial:
    """A version as a comparator writes it: up to three numbers, a prerelease only behind three."""

    numbers: tuple[int, ...]
    prerelease: str | None

    @property
    def start(self) -> str:
        """Key of the version with zeros for what is left open."""
        return _precedence_key(self._padded(self.numbers), self.prerelease)

    @property
    def core(self) -> str:
        """A key below the first prerelease of `start`."""
        return _core_key(self._padded(self.numbers))

    def core_after(self, places: int) -> str:
        """A key above every version that agrees in the first `places` numbers, below all prereleases of the next."""
        return _core_key(self._padded((*self.numbers[: places - 1], self.numbers[places - 1] + 1)))

    @staticmethod
    def _padded(numbers: tuple[int, ...]) -> tuple[int, ...]:
        return (*numbers, 0, 0, 0)[:3]


@dataclass(frozen=True)
class _Comparator:
    """Keys from `lower` to just below `upper`; `core` where it names a prerelease, so that others of it are let in."""

    lower: str = _FIRST
    upper: str = _LAST
    core: str | None = None


def _comparators(alternative: str) -> list[_Comparator]:
    """The comparators that one alternative joins by AND."""
    text = _SPACES_AND_COMMAS.sub(" ", alternative).strip(" ")
    if not text:
        raise _unreadable(alternative)
    if hyphen := _HYPHEN_RANGE.fullmatch(text):
        return [_comparator(">=", hyphen[1]), _comparator("<=", hyphen[2])]
    found, position = [], 0
    while position < len(text):
        match = _COMPARATOR.match(text, position)
        if match is None:
            raise _unreadable(text[position:])
        found.append(_comparator(match[1] or "=", match[2]))
        position = match.end()
    return found


def _comparator(operator: str, version: str) -> _Comparator:
    """What `operator` makes of `version`, as the grammar of npm's ranges has it."""
    partial = _parse_partial(version)
    places = len(partial.numbers)
    if not places:
        return _Comparator(upper=_FIRST) if operator in ("<", ">") else _Comparator()
    full = places == 3
    start = partial.start
    past = start + _PAST_BUILDS if full else partial.core_after(places)
    core = partial.core if partial.prerelease is not None else None
    match operator:
        case ">=":
            return _Comparator(lower=start, core=core)
        case ">":
            # Past 1.2 comes the release 1.3.0, not its prereleases.
            return _Comparator(lower=past if full else past + _RELEASE, core=core)
        case "<=":
            return _Comparator(upper=past, core=core)
        case "<":
            return _Comparator(upper=start if full else partial.core, core=core)
        case "=":
            return _Comparator(start, past, core)
        case "^":
            # Nothing may change at or left of the first number that is not zero.
            fixed = next((place for place, number in enumerate(partial.numbers, 1) if number), places)
            return _Comparator(start, partial.core_after(fixed), core)
        case _:
            return _Comparator(start, partial.core_after(min(places, 2)), core)


def _parse_partial(text: str) -> _Partial:
    """`1`, `1.2`, `v1.2.3-rc.1` or `1.x`, read."""
    if len(text) > MAX_VERSION_LENGTH:
        raise InvalidRange(f"No version is longer than {MAX_VERSION_LENGTH} characters. Shorten {text[:20]!a}….")
    match = _PARTIAL.fullmatch(text)
    if match is None:
        raise _unreadable(text)
    places = [place for place in match.group(1, 2, 3) if place is not None]
    numbers = tuple(int(place) for place in places if place not in "xX*")
    wild = len(numbers) < len(places)
    if wild and (any(place in "xX*" for place in places[: len(numbers)]) or match[4] or match[5]):
        raise InvalidRange(f"'{text}' goes on after a wildcard. Write nothing but wildcards behind the first.")
    return _Partial(numbers, match[4])


def _intersection(comparators: list[_Comparator]) -> list[Interval]:
    """Where all comparators hold: releases, then the prereleases of each version that one of them names."""
    lower = max(comparator.lower for comparator in comparators)
    upper = min(comparator.upper for comparator in comparators)
    intervals = [Interval(lower, upper, prereleases=False)]
    for core in sorted({comparator.core for comparator in comparators if comparator.core is not None}):
        intervals.append(Interval(max(lower, core), min(upper, core + _RELEASE), prereleases=True))
    return [interval for interval in intervals if interval.lower < interval.upper]


def _is_wildcard(text: str) -> bool:
    match = _PARTIAL.fullmatch(text)
    return match is not None and any(place is not None and place in "xX*" for place in match.group(1, 2, 3))


def _number_key(digits: str) -> str:
    """Sorts as the number does: how many digits, then the digits. No leading zeros, under 100 digits."""
    return f"{len(digits):02d}{digits}"


def _core_key(numbers: tuple[int, ...]) -> str:
    return _FIRST + "".join(_number_key(str(number)) for number in numbers)


def _precedence_key(numbers: tuple[int, ...], prerelease: str | None) -> str:
    """Sorts as SemVer precedence: an identifier of digits before others, fewer identifiers before more."""
    if prerelease is None:
        return _core_key(numbers) + _RELEASE
    # "!" is below every character of an identifier, and behind the last one below the "0" or "1" of a further one.
    identifiers = (
        f"0{_number_key(identifier)}" if _DIGITS.fullmatch(identifier) else f"1{identifier}!"
        for identifier in prerelease.split(".")
    )
    return _core_key(numbers) + "-" + "".join(identifiers) + "!"


def _unreadable(text: str) -> InvalidRange:
    return InvalidRange(
        f"{text[:60]!a} cannot be read as versions. Write a version such as 1.2.0, or a range such as ^1.2, ~1.2.0, "
        "1.x, >=1 <2, 1.0.0 - 2.0.0, or several with || between."
    )
