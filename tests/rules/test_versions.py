import functools
import itertools
import re
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from weighhouse.rules.errors import Invalid
from weighhouse.rules.versions import (
    InvalidRange,
    InvalidVersion,
    VersionRange,
    check_version,
    is_prerelease,
    parse_range,
    version_key,
)

# The pattern that semver.org gives for SemVer 2.0.0, question 2 of its FAQ.
SEMVER_ORG = re.compile(
    r"^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)"
    r"(?:-((?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*))*))?"
    r"(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?\Z"
)

VERSION_TEXT = st.text("0123456789abxzAZ.+_-", min_size=1, max_size=50)
SMALL = st.integers(0, 3)
NUMBER = SMALL | st.integers(0, 10**12)
IDENTIFIER = st.integers(0, 20).map(str) | st.sampled_from(["a", "b", "A", "rc", "-", "0a", "1-", "alpha", "--", "a-b"])
PRERELEASE = st.lists(IDENTIFIER, min_size=1, max_size=3).map(".".join)
BUILD = st.lists(st.sampled_from(["0", "00", "7", "a", "-", "Z9"]), min_size=1, max_size=2).map(".".join)


@st.composite
def semvers(draw: st.DrawFn, number: st.SearchStrategy[int] = NUMBER) -> str:
    text = ".".join(str(draw(number)) for _ in range(3))
    if prerelease := draw(st.none() | PRERELEASE):
        text += f"-{prerelease}"
    if build := draw(st.none() | BUILD):
        text += f"+{build}"
    return text[:50] if SEMVER_ORG.match(text[:50]) else text[:5]


ANY_VERSION = semvers() | semvers(SMALL) | VERSION_TEXT | st.text("0123.v-", min_size=1, max_size=6)


def compare_identifiers(one: str, other: str) -> int:
    """Clause 11.4 of SemVer 2.0.0."""
    if one.isdigit() and other.isdigit():
        return (int(one) > int(other)) - (int(one) < int(other))
    if one.isdigit() != other.isdigit():
        return -1 if one.isdigit() else 1
    return (one > other) - (one < other)


def compare_precedence(one: "re.Match[str]", other: "re.Match[str]") -> int:
    """Clause 11 of SemVer 2.0.0."""
    for place in (1, 2, 3):
        if int(one[place]) != int(other[place]):
            return -1 if int(one[place]) < int(other[place]) else 1
    if one[4] is None or other[4] is None:
        return (one[4] is None) - (other[4] is None)
    mine, theirs = one[4].split("."), other[4].split(".")
    for pair in zip(mine, theirs, strict=False):
        if order := compare_identifiers(*pair):
            return order
    return (len(mine) > len(theirs)) - (len(mine) < len(theirs))


def natural_pieces(text: str) -> list[tuple[int, int]]:
    """A run of digits stands where "0" stands among the characters and counts by its number."""
    return [(48, int(piece)) if piece.isdigit() else (ord(piece), 0) for piece in re.findall("[0-9]+|[^0-9]", text)]


def compare_versions(one: str, other: str) -> int:
    mine, theirs = SEMVER_ORG.match(one), SEMVER_ORG.match(other)
    if mine and theirs:
        builds = (mine[5] or "", theirs[5] or "")
        return compare_precedence(mine, theirs) or (builds[0] > builds[1]) - (builds[0] < builds[1])
    if mine or theirs:
        return 1 if mine else -1
    keys = [(natural_pieces(version), version) for version in (one, other)]
    return (keys[0] > keys[1]) - (keys[0] < keys[1])


@given(ANY_VERSION, ANY_VERSION)
@example("1.0.0-1", "1.0.0--")
@example("1.0.0-a", "1.0.0-a.0")
@example("1.0.0-a", "1.0.0-a+b")
@example("1.0.0-a-", "1.0.0-a.b")
@example("1.0.0+a", "1.0.0+a.b")
@example("1.0", "01.0")
@example("1.00", "01.0")
@example("1.0.0", "1.0.0-01")
@example("9" * 50, "1" + "0" * 49)
@example("9" * 46 + ".0.0", "10.0.0")
def test_keys_order_as_the_standard_orders(one: str, other: str) -> None:
    keys = [version_key(version).encode("ascii") for version in (one, other)]
    assert (keys[0] > keys[1]) - (keys[0] < keys[1]) == compare_versions(one, other)
    assert (keys[0] == keys[1]) == (one == other)


@given(st.lists(ANY_VERSION, max_size=12, unique=True))
def test_sorting_by_key_is_sorting_by_comparison(versions: list[str]) -> None:
    assert sorted(versions, key=version_key) == sorted(versions, key=functools.cmp_to_key(compare_versions))


@given(ANY_VERSION)
@example("1." * 25)
@example("1a" * 25)
@example("1.1.1-" + "1." * 21 + "11")
@example("1.1.1-" + "a." * 21 + "aa")
def test_a_key_is_short_and_printable(version: str) -> None:
    key = version_key(version)
    assert len(key) < 200
    assert re.fullmatch("[!-~]+", key)


def test_the_example_of_the_standard_is_in_its_order() -> None:
    ordered = [
        *("v1", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11"),
        *("1.0.0-rc.1", "1.0.0", "1.0.0+build", "2.0.0", "2.1.0", "2.1.1", "2.10.0", "10.0.0"),
    ]
    keys = [version_key(version) for version in ordered]
    assert keys == sorted(set(keys))


def test_versions_that_are_no_semver_are_in_natural_order_below_all_semver() -> None:
    ordered = ["1", "1.0", "01.0.0", "1.0.0-01", "2", "10", "20240101", "a", "v1.2", "v1.10", "0.0.0-0"]
    keys = [version_key(version) for version in ordered]
    assert keys == sorted(set(keys))


@pytest.mark.parametrize("version", ["1", "v1.0", "01.0.0", "1.0.0-01", "0" * 50, "abc123def456", "a+b_c-d", "-", "_"])
def test_a_version_need_not_be_semver(version: str) -> None:
    assert check_version(version) == version


@pytest.mark.parametrize(
    "version", ["", "1" * 51, "1 0", "1.0\n", "1/0", "1.0.٣", "1.0.²", "1.0.\uff10", "\x00", "\ud800", "1:0", "*", "^1"]
)
def test_a_bad_version_is_refused(version: str) -> None:
    for check in (check_version, version_key):
        with pytest.raises(InvalidVersion) as refusal:
            check(version)
        assert refusal.value.field == "version"
        refusal.value.detail.encode("ascii")


@given(ANY_VERSION)
def test_prereleases_are_those_of_the_standard(version: str) -> None:
    semver = SEMVER_ORG.match(version)
    assert is_prerelease(version) == (semver is not None and semver[4] is not None)


# --- ranges, against a second reading of npm's rules: https://github.com/npm/node-semver#ranges ---

Part = int | str
Primitive = tuple[str, tuple[int, int, int], str | None]


def primitives(operator: str, parts: Sequence[Part], prerelease: str | None) -> list[Primitive]:
    """A comparator as <, <=, >, >= with whole versions; "0" is the lowest prerelease."""
    numbers = [int(part) for part in itertools.takewhile(lambda part: part not in ("x", "X", "*"), parts)]
    if not numbers:
        return [("<", (0, 0, 0), "0")] if operator in ("<", ">") else []
    major, minor, patch = (*numbers, 0, 0)[:3]
    low = (major, minor, patch)
    bumps = {1: (major + 1, 0, 0), 2: (major, minor + 1, 0), 3: (major, minor, patch + 1)}
    places = len(numbers)
    if operator == "~":
        return [(">=", low, prerelease), ("<", bumps[min(places, 2)], "0")]
    if operator == "^":
        place = 1 if major or places == 1 else 2 if minor or places == 2 else 3
        return [(">=", low, prerelease), ("<", bumps[place], "0")]
    if places == 3:
        return [(">=", low, prerelease), ("<=", low, prerelease)] if operator == "=" else [(operator, low, prerelease)]
    partly: dict[str, list[Primitive]] = {
        "=": [(">=", low, None), ("<", bumps[places], "0")],
        ">=": [(">=", low, None)],
        ">": [(">=", bumps[places], None)],
        "<=": [("<", bumps[places], "0")],
        "<": [("<", low, "0")],
    }
    return partly[operator]


def holds(version: "re.Match[str]", primitive: Primitive) -> bool:
    operator, numbers, prerelease = primitive
    bound = SEMVER_ORG.match(".".join(map(str, numbers)) + (f"-{prerelease}" if prerelease is not None else ""))
    assert bound
    order = compare_precedence(version, bound)
    return {"<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0}[operator]


def npm_matches(alternatives: Sequence[Sequence[Primitive]], text: str) -> bool:
    version = SEMVER_ORG.match(text)
    if version is None:
        return False
    numbers = (int(version[1]), int(version[2]), int(version[3]))
    return any(
        all(holds(version, primitive) for primitive in joined)
        and (version[4] is None or any(pre is not None and at == numbers for _, at, pre in joined))
        for joined in alternatives
    )


@st.composite
def partials(draw: st.DrawFn) -> tuple[str, list[Part], str | None]:
    parts: list[Part] = list(draw(st.lists(SMALL, max_size=3)))
    wild = draw(st.integers(0 if parts else 1, 3 - len(parts))) if len(parts) < 3 else 0
    parts += draw(st.lists(st.sampled_from("xX*"), min_size=wild, max_size=wild))
    prerelease = draw(st.none() | PRERELEASE) if len(parts) == 3 and not wild else None
    text = draw(st.sampled_from(["", "", "v"])) + ".".join(map(str, parts)) + (f"-{prerelease}" if prerelease else "")
    return text, parts, prerelease


@st.composite
def alternatives_of_a_range(draw: st.DrawFn) -> tuple[str, list[Primitive]]:
    if draw(st.integers(0, 4)) == 0:
        (low, *_), (high, *_) = start, end = draw(partials()), draw(partials())
        return f"{low} - {high}", primitives(">=", *start[1:]) + primitives("<=", *end[1:])
    texts, joined = [], []
    for _ in range(draw(st.integers(1, 3))):
        operator = draw(st.sampled_from(["=", "", "<", "<=", ">", ">=", "~", "^", "~>"]))
        text, parts, prerelease = draw(partials())
        texts.append(operator + draw(st.sampled_from(["", " "])) + text)
        joined += primitives({"": "=", "~>": "~"}.get(operator, operator), parts, prerelease)
    return draw(st.sampled_from([" ", ", ", ",", "  "])).join(texts), joined


@st.composite
def ranges(draw: st.DrawFn) -> tuple[str, list[list[Primitive]]]:
    drawn = draw(st.lists(alternatives_of_a_range(), min_size=1, max_size=3))
    return draw(st.sampled_from(["||", " || "])).join(text for text, _ in drawn), [joined for _, joined in drawn]


def selected_as_sql_does(selection: VersionRange, version: str) -> bool:
    key, prerelease = version_key(version).encode(), is_prerelease(version)
    return any(
        interval.lower.encode() <= key < interval.upper.encode() and (interval.prereleases or not prerelease)
        for interval in selection.intervals
    )


@given(ranges(), st.lists(semvers(SMALL) | ANY_VERSION, min_size=1, max_size=8))
def test_a_range_selects_what_npm_selects(drawn: tuple[str, list[list[Primitive]]], versions: list[str]) -> None:
    text, alternatives = drawn
    selection = parse_range(text)
    for version in versions:
        if selection.exact is not None:
            assert selection.exact == text.strip()
            assert selection.matches(version) == (version == selection.exact)
        else:
            assert selection.matches(version) == npm_matches(alternatives, version)
            assert selection.matches(version) == selected_as_sql_does(selection, version)


# Rows of the fixtures that node-semver tests itself with, among them those it excludes.
@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("1.0.0 - 2.0.0", "1.0.0 1.2.3 2.0.0", "2.2.3 0.9.9 2.0.0-rc 1.5.0-rc"),
        ("1.2 - 3.4", "1.2.0 3.4.9", "3.5.0 1.1.9 1.2.0-a"),
        ("1.2.3-pre+asdf - 2.4.3-pre+asdf", "1.2.3 1.2.3-pre.2 2.4.3-alpha", "2.4.3 1.2.3-a 2.4.3-zz"),
        ("^1.2", "1.2.0 1.9.9 1.2.0+b", "2.0.0 1.1.9 2.0.0-rc 1.3.0-rc v1.2.5 1.2"),
        ("^1.2.3-alpha", "1.2.3-alpha 1.2.3-pre 1.2.3 1.9.0", "1.2.4-pre 2.0.0-alpha 1.2.2"),
        ("^0.1.2", "0.1.2 0.1.9", "0.2.0 1.0.0 0.1.3-a"),
        ("^0.0.1-alpha", "0.0.1-beta 0.0.1", "0.0.2 0.0.2-alpha"),
        ("^0", "0.9.9 0.0.0", "1.0.0 1.0.0-a"),
        ("^ 1", "1.2.3", "2.0.0"),
        ("~1.2.0", "1.2.0 1.2.9", "1.3.0 1.3.0-a"),
        ("~1", "1.9.0", "2.0.0"),
        ("~v0.5.4-pre", "0.5.5 0.5.4 0.5.4-q", "0.5.5-pre 0.6.0"),
        (">=1 <2", "1.0.0 1.99.0", "2.0.0 2.0.0-a 0.9.0 1.0.0-a"),
        (">=1,<2", "1.0.0", "2.0.0"),
        (">1.2", "1.3.0", "1.2.8 1.3.0-a 1.2.0"),
        ("<1.2", "1.1.9", "1.2.0 1.2.0-a"),
        ("<=2.x", "2.9.9", "3.0.0"),
        (">1.0.0", "1.0.1", "1.0.0 1.0.0+build 1.0.0-a"),
        ("<=1.0.0", "1.0.0+build 1.0.0", "1.0.1"),
        ("=1.0.0", "1.0.0 1.0.0+build", "1.0.0-a"),
        (">=1.0.0-rc <1.0.0", "1.0.0-rc 1.0.0-z", "1.0.0 0.9.0 1.0.0-a"),
        ("1.x", "1.0.0 1.5.2", "2.0.0 0.9.0"),
        ("1.2.*", "1.2.3", "1.3.0"),
        ("*", "0.0.0 99.0.0 1.0.0+b", "1.0.0-rc v1 1"),
        ("x", "1.0.0", "1.0.0-rc"),
        ("0.1.20 || 1.2.4", "1.2.4 0.1.20", "1.2.3"),
        ("1 || 3.x", "1.4.0 3.0.0", "2.0.0"),
        (">=2 <1", "", "1.0.0 2.0.0 1.5.0"),
        ("2.0.0 - 1.0.0", "", "1.0.0 2.0.0 1.5.0"),
        ("<*", "", "1.0.0 0.0.0 0.0.0-0"),
        (f">={'9' * 46}.0.0", f"{'9' * 46}.0.1", "1.0.0"),
        (f"^{'9' * 50}", "", "1.0.0"),
    ],
)
def test_known_ranges_select_what_is_known(text: str, inside: str, outside: str) -> None:
    selection = parse_range(text)
    assert selection.exact is None
    assert [version for version in inside.split() if not selection.matches(version)] == []
    assert [version for version in outside.split() if selection.matches(version)] == []


@pytest.mark.parametrize(
    "text", ["1.0.0", "v1", "1", "1.2", "01.0.0", "latest", "a1b2c3d4e5f6", "1.0.0+b", "1.2.3.x", "-"]
)
def test_what_could_be_a_version_is_that_version(text: str) -> None:
    selection = parse_range(f" {text} ")
    assert (selection.exact, selection.intervals) == (text, ())
    assert selection.matches(text)
    assert not selection.matches(text + "0")


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            ",",
            "||",
            "1.x ||",
            "|| 1.x",
            "1 | 2",
            "a b",
            ">=",
            "^",
            "> = 1",
            ">=1<2",
            "==1",
            "!=1",
            "~=1.0",
            ">>1",
        ),
        *("1.x.5", "1.x.x-rc", "1.2.3 -", "- 1.2.3", "1.0.0 - 2.0.0 <3", "^01.0.0", "^1.0.0-01", ">latest", "^1.2.3.4"),
        *(
            "(1.x)",
            "^1_0",
            "^1.0.0\x00",
            "^\u0661",
            "^1\u00a0<2",
            "1" * 51,
            "^" + "1" * 51,
            "x" * 257,
            "\ud800",
            "1.x;",
        ),
        " ".join([">=1"] * 33),
        "||".join(["^1"] * 33),
        " " * 300,
    ],
)
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as refusal:
        parse_range(text)
    assert isinstance(refusal.value, InvalidRange | InvalidVersion)
    assert refusal.value.field == "version"
    refusal.value.detail.encode("utf-8")


def test_thirty_two_comparators_are_taken() -> None:
    assert parse_range("||".join(["^1"] * 32)).intervals == parse_range("^1").intervals


@given(st.text(max_size=300) | st.text("0123456789.xX*^~<>=|-+ v,ra", max_size=260), ANY_VERSION)
def test_any_text_is_a_selection_or_a_refusal(text: str, version: str) -> None:
    try:
        selection = parse_range(text)
    except (InvalidRange, InvalidVersion):
        return
    assert selection.matches(version) == (selected_as_sql_does(selection, version) or version == selection.exact)
