"""Finding packages: query objects, full text, regular expressions, paging."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial
from itertools import chain, count
from types import MappingProxyType
from typing import Any, Literal
from uuid import UUID

import psycopg
from sqlalchemy import (
    REAL,
    ColumnElement,
    Integer,
    Row,
    Select,
    Text,
    and_,
    bindparam,
    cast,
    desc,
    exc,
    false,
    func,
    literal,
    or_,
    select,
    text,
    true,
    tuple_,
    union_all,
)
from sqlalchemy.orm import InstrumentedAttribute

from weighhouse.app import App
from weighhouse.registry.paging import open_cursor, seal_cursor
from weighhouse.registry.totals import SNAPSHOT, totals_of, versions_now, versions_of
from weighhouse.registry.visible import is_listed
from weighhouse.rules.errors import Invalid, Malformed
from weighhouse.rules.permissions import Caller, Permission
from weighhouse.rules.versions import parse_range
from weighhouse.store.database import PLANNED_ANEW
from weighhouse.store.tables import DownloadCount, ListedName, ListingChange, Package, PackageText, User

MAX_REGEX_CHARACTERS = 512
REGEX_MILLISECONDS = 1000
MAX_OFFSET = 1_000_000_000

# `-word` and `-"some words"` leave out; within quotes a hyphen is one.
_EXCLUDED = re.compile(r'"[^"]*"|(?<!\S)-(?P<excluded>"[^"]*"?|[^\s"]+)')

# Classes that leave out, groups that look or that set options, and a pattern's own options.
_CASE_READERS = re.compile(r"\[\^|\(\?(?!:)|\*\*\*")

_WILDCARDS = re.compile(r"[\\%_]")
_ESCAPED = r"\\\g<0>"

# As the index takes names apart; see `PackageText.document`.
_NAME_SEPARATORS = str.maketrans("/._-", "    ")

SortKey = Literal["relevance", "name", "upload_date", "net_score", "downloads"]


class InvalidRegex(Malformed):
    """The regular expression cannot be used."""


class InvalidQuery(Invalid):
    """The search cannot be run as it was asked."""


@dataclass(frozen=True)
class PackageQuery:
    """Conditions that all have to hold; `None` asks nothing.

    Args:
        name: Part of the name, whatever its letter case; `*` is every name.
        version: One version, or a SemVer range.
        regex: A PostgreSQL regular expression on the name or the model card.
    """

    name: str | None = None
    version: str | None = None
    regex: str | None = None


@dataclass(frozen=True)
class Filters:
    """Conditions of a listing, all of which have to hold; `None` asks nothing."""

    q: str | None = None
    name: str | None = None
    version: str | None = None
    regex: str | None = None
    license: str | None = None
    min_net_score: float | None = None
    verdict: str | None = None
    uploader: str | None = None


@dataclass(frozen=True)
class Found:
    """A package as a search shows it."""

    id: UUID
    name: str
    version: str
    description: str | None
    license: str | None
    net_score: float | None
    upload_date: datetime


@dataclass(frozen=True)
class FoundPage:
    """Some of the packages found, and how many there are in all."""

    packages: Sequence[Found]
    total: int
    next_cursor: str | None = None


@dataclass(frozen=True)
class _Shape:
    """Which conditions a query has."""

    has_name: bool
    has_version: bool
    intervals: tuple[bool, ...] | None
    """For each interval of versions, whether it holds pre-releases."""
    has_regex: bool
    reads_case: bool

    @property
    def is_by_name(self) -> bool:
        """Whether it asks for nothing but a part of the name."""
        return not self.has_version and self.intervals is None and not self.has_regex


_COLUMNS = (
    Package.id,
    Package.name,
    Package.version,
    Package.description,
    Package.license,
    Package.net_score,
    Package.uploaded_at,
)


def search_packages(
    app: App, caller: Caller, queries: Sequence[PackageQuery], *, offset: int = 0, limit: int = 50
) -> FoundPage:
    """Packages that match any of the queries, each once, by name and then newest version first.

    Raises:
        PermissionMissing: The caller may not search.
        InvalidRange: A version is neither a version nor a range.
        InvalidRegex: A regular expression is wrong, or takes too long.
    """
    caller.require(Permission.SEARCH)
    pattern, totals = _sole_pattern(queries), totals_of(app.db)
    known = totals.find(pattern) if pattern is not None else None
    page, total = _statements(tuple(map(_shape, queries)), is_known=known is not None)
    values: dict[str, Any] = {f"v{n}": value for n, value in enumerate(chain.from_iterable(map(_values, queries)))}
    values |= known.values if known is not None else {}
    timed = any(query.regex is not None for query in queries)
    rows = _run(app, page, timed=timed, values=values | {"offset": offset, "limit": limit})
    if rows and pattern is not None:
        totals.keep(pattern, rows[0].total, rows[0].snapshot, known)
    if rows or not offset:
        return FoundPage([_found(row) for row in rows], rows[0].total if rows else 0)
    # A page beyond the end has no row that could carry the total.
    return FoundPage([], _run(app, total, timed=True, values=values)[0][0])


def list_packages(
    app: App, caller: Caller, filters: Filters, *, sort: str | None = None, cursor: str | None = None, limit: int = 50
) -> FoundPage:
    """A page of the packages that pass all filters. A page costs the same at any depth.

    Args:
        sort: A sort key, `-` in front for descending; by relevance with `q`, else newest first, when left out.
        cursor: Where the page before ended.

    Raises:
        PermissionMissing: The caller may not search.
        InvalidQuery: The sort key is unknown, or asks for relevance without `q`.
        InvalidCursor: The cursor belongs to another listing.
        InvalidRange, InvalidRegex: As in `search_packages`.
    """
    caller.require(Permission.SEARCH)
    order = _order(sort, filters)
    listing = f"{caller.user_id} {order.name} {filters}"
    where = and_(
        is_listed(), _literal_condition(PackageQuery(filters.name, filters.version, filters.regex)), *_more(filters)
    )
    page = select(*_COLUMNS, *order.columns).select_from(Package).where(where)
    if order.joins_counts:
        page = page.join(DownloadCount, DownloadCount.package_id == Package.id)
    if filters.q is not None:
        page = page.join(PackageText, PackageText.package_id == Package.id)
    count = None
    if cursor is not None:
        count, *position = open_cursor(app.signing_key, listing, cursor)
        page = page.where(order.after(position))
    page, timed = page.order_by(*order.by).limit(limit + 1), filters.regex is not None or filters.q is not None
    if count is None:
        rows, count = _first_rows(app, page, filters, where, timed=timed)
    else:
        rows = _run(app, page, timed=timed)
    following = None
    if len(rows) > limit:
        last = rows[limit - 1][len(_COLUMNS) :][: len(order.columns)]
        following = seal_cursor(app.signing_key, listing, [count, *map(_plain, last)])
    return FoundPage([_found(row) for row in rows[:limit]], count, following)


def _first_rows(
    app: App, page: Select[Any], filters: Filters, where: ColumnElement[bool], *, timed: bool
) -> tuple[Sequence[Row[Any]], int]:
    """The rows of a first page, and how many packages pass all filters; `where` says so of one package."""
    query, known = PackageQuery(filters.name), None
    total: Select[Any]
    pattern, totals = _sole_pattern([query]) if filters == Filters(name=filters.name) else None, totals_of(app.db)
    if pattern is None:
        total = select(func.count()).select_from(Package).where(where)
        total = total.join(PackageText, PackageText.package_id == Package.id) if filters.q is not None else total
    elif (known := totals.find(pattern)) is not None:
        total = versions_now(_literal_condition(query, ListingChange.name_key))
    else:
        total = versions_of(_literal_condition(query, ListedName.name_key))
    page = page.add_columns(SNAPSHOT, total.scalar_subquery().label("total"))
    rows = _run(app, page, timed=timed, values=known.values if known is not None else {})
    if rows and pattern is not None:
        totals.keep(pattern, rows[0].total, rows[0].snapshot, known)
    return rows, rows[0].total if rows else 0


@dataclass(frozen=True)
class _Order:
    """How a listing is ordered, and how to go on after a row."""

    name: str
    columns: tuple[ColumnElement[Any] | InstrumentedAttribute[Any], ...]
    """What a cursor has to remember of a row, most significant first."""
    is_descending: tuple[bool, ...]
    joins_counts: bool = False

    @property
    def by(self) -> list[Any]:
        return [desc(column) if down else column for column, down in zip(self.columns, self.is_descending, strict=True)]

    def after(self, position: Sequence[Any]) -> ColumnElement[bool]:
        """Rows that follow the one at `position`."""
        values = [cast(value, column.type) for value, column in zip(position, self.columns, strict=True)]
        if len(set(self.is_descending)) == 1:  # One direction: an index finds the place by one comparison.
            left, right = tuple_(*self.columns), tuple_(*values)
            return left < right if self.is_descending[0] else left > right
        (first, second), (one, other) = self.columns, values
        beyond_first = first < one if self.is_descending[0] else first > one
        beyond_second = second < other if self.is_descending[1] else second > other
        # The first line is implied by the second; it is what the index can use.
        reachable = first <= one if self.is_descending[0] else first >= one
        return and_(reachable, or_(beyond_first, beyond_second))


def _order(sort: str | None, filters: Filters) -> _Order:
    if sort is None:
        sort = "relevance" if filters.q is not None else "-upload_date"
    down = sort.startswith("-")
    match sort.removeprefix("-"):
        case "relevance":
            if filters.q is None:
                raise InvalidQuery("Sorting by relevance needs words to search for: add q=….", field="sort")
            rank = func.ts_rank_cd(PackageText.document, _words(filters.q)).cast(REAL)
            return _Order(sort, (rank, Package.id), (True, True))
        case "name":
            return _Order(sort, (Package.name_key, Package.version_key), (down, True))
        case "upload_date":
            return _Order(sort, (Package.uploaded_at, Package.id), (down, down))
        case "net_score":
            return _Order(sort, (_score(), Package.id), (down, down))
        case "downloads":
            return _Order(sort, (DownloadCount.downloads, DownloadCount.package_id), (down, down), joins_counts=True)
    raise InvalidQuery(
        "Sort by relevance, name, upload_date, net_score or downloads, with - in front to turn it.", field="sort"
    )


def _shape(query: PackageQuery) -> _Shape:
    """What has to be asked for a query, without what it is asked for.

    Raises:
        InvalidRange: Its version is neither a version nor a range.
        InvalidRegex: Its regular expression is too long.
    """
    if query.regex is not None and len(query.regex) > MAX_REGEX_CHARACTERS:
        raise InvalidRegex(f"A regular expression has at most {MAX_REGEX_CHARACTERS} characters. Use a shorter one.")
    intervals = None
    if query.version is not None:
        wanted = parse_range(query.version)
        intervals = None if wanted.exact is not None else tuple(one.prereleases for one in wanted.intervals)
    return _Shape(
        has_name=query.name not in (None, "*"),
        has_version=query.version is not None and intervals is None,
        intervals=intervals,
        has_regex=query.regex is not None,
        reads_case=query.regex is not None and _reads_case(query.regex),
    )


def _values(query: PackageQuery) -> Iterator[str]:
    """What a query asks for, in the order of its shape."""
    if query.name is not None and query.name != "*":
        yield f"%{_WILDCARDS.sub(_ESCAPED, query.name.lower())}%"
    if query.version is not None:
        wanted = parse_range(query.version)
        if wanted.exact is not None:
            yield wanted.exact
        else:
            yield from chain.from_iterable((one.lower, one.upper) for one in wanted.intervals)
    if query.regex is not None:
        yield query.regex


def _condition(
    shape: _Shape, value: Callable[[], ColumnElement[str]], name_key: InstrumentedAttribute[str] = Package.name_key
) -> ColumnElement[bool]:
    """A query's condition; `value` gives its values one by one."""
    parts: list[ColumnElement[bool]] = []
    if shape.has_name:
        # The key, not the name: it is what the index has, and it is compared as it stands.
        parts.append(name_key.like(value()))
    if shape.has_version:
        parts.append(Package.version == value())
    if shape.intervals is not None:
        parts.append(or_(false(), *(_interval_condition(value(), value(), one) for one in shape.intervals)))
    if shape.has_regex:
        parts.append(Package.id.in_(_matching(value(), reads_case=shape.reads_case)))
    return and_(true(), *parts)


def _literal_condition(
    query: PackageQuery, name_key: InstrumentedAttribute[str] = Package.name_key
) -> ColumnElement[bool]:
    values = _values(query)
    return _condition(_shape(query), lambda: literal(next(values), Text()), name_key)


def _sole_pattern(queries: Sequence[PackageQuery]) -> str | None:
    """What the names have to match where nothing else is asked, by one query or by none; else `None`."""
    if len(queries) > 1 or not all(_shape(query).is_by_name for query in queries):
        return None
    return next(chain.from_iterable(map(_values, queries)), "%")


@lru_cache(maxsize=256)
def _statements(shapes: tuple[_Shape, ...], *, is_known: bool) -> tuple[Select[Any], Select[Any]]:
    """The page of a search, and its total; to put them together costs more than to run them.

    Args:
        is_known: Start from a total that is remembered.
    """

    def matches(name_key: InstrumentedAttribute[str]) -> ColumnElement[bool]:
        numbers = count()
        conditions = [_condition(shape, partial(_numbered, numbers), name_key) for shape in shapes]
        return or_(*conditions) if conditions else true()

    offset, limit = bindparam("offset", type_=Integer()), bindparam("limit", type_=Integer())
    if all(shape.is_by_name for shape in shapes):
        total = versions_now(matches(ListingChange.name_key)) if is_known else versions_of(matches(ListedName.name_key))
        # Each of these names has a version at least, so the rows of the page are among theirs.
        first = select(ListedName.name_key).where(matches(ListedName.name_key), ListedName.versions > 0)
        names = first.order_by(ListedName.name_key).limit(offset + limit).subquery("names")
        page = _rows_with(total).join(names, names.c.name_key == Package.name_key)
    else:
        matching = matches(Package.name_key)  # The same for both: a regular expression's matches are found once.
        total = select(func.count()).select_from(Package).where(is_listed(), matching)
        page = _rows_with(total).where(matching)
    order = (Package.name_key, Package.version_key.desc())
    return page.where(is_listed()).order_by(*order).offset(offset).limit(limit), total


def _rows_with(total: Select[Any]) -> Select[Any]:
    return select(*_COLUMNS, SNAPSHOT, total.scalar_subquery().label("total"))


def _numbered(numbers: Iterator[int]) -> ColumnElement[str]:
    return bindparam(f"v{next(numbers)}", type_=Text())


def _interval_condition(lower: ColumnElement[str], upper: ColumnElement[str], prereleases: bool) -> ColumnElement[bool]:
    inside = and_(Package.version_key >= lower, Package.version_key < upper)
    return inside if prereleases else and_(inside, Package.is_prerelease.is_(False))


def _reads_case(regex: str) -> bool:
    """Whether a text may match that would not if letter case did not count: only what is negated can do that."""
    return _CASE_READERS.search(regex) is not None


def _matching(regex: ColumnElement[str], *, reads_case: bool) -> Select[tuple[UUID]]:
    by_name = select(Package.id).where(Package.name.regexp_match(regex))
    if not reads_case:
        # Says no more than the line above, and the index of the keys can answer it.
        by_name = by_name.where(Package.name_key.regexp_match(regex, flags="i"))
    by_card = select(PackageText.package_id).where(PackageText.card.regexp_match(regex))
    # Page and total look at the same matches: a card is read once.
    matches = union_all(by_name, by_card).cte()
    return select(matches.c[0])


def _more(filters: Filters) -> list[ColumnElement[bool]]:
    parts: list[ColumnElement[bool]] = []
    if filters.q is not None:
        parts.append(PackageText.document.op("@@")(_words(filters.q)))
    if filters.license is not None:
        parts.append(Package.license_key == filters.license.lower())
    if filters.min_net_score is not None:
        parts.append(_score() >= filters.min_net_score)
    if filters.verdict is not None:
        parts.append(Package.verdict == filters.verdict)
    if filters.uploader is not None:
        key = filters.uploader.lower()
        by_name = select(User.id).where(User.username_key == key).scalar_subquery()
        try:
            parts.append(or_(Package.uploader_id == UUID(filters.uploader), Package.uploader_id == by_name))
        except ValueError:
            parts.append(Package.uploader_id == by_name)
    return parts


def _score() -> ColumnElement[float]:
    """The net score as its index has it: below every score where there is none."""
    return func.coalesce(Package.net_score, text("'-1'::integer::double precision"))


def _words(q: str) -> ColumnElement[Any]:
    excluded: list[str] = []

    def take_out(found: re.Match[str]) -> str:
        if found["excluded"] is None:
            return found[0]
        excluded.append(found["excluded"])
        return " "

    wanted = _either_way(_EXCLUDED.sub(take_out, q))
    if not excluded:
        return wanted
    # Apart from the rest: joined by OR, "not its stem" would let in what has the word, and the other way round.
    return func.tsquery_and(wanted, func.tsquery_not(_either_way(" or ".join(excluded))))


def _either_way(words: str) -> ColumnElement[Any]:
    # Names are indexed in parts and as they are written, prose by its stems: a word may match either way.
    parts = words.translate(_NAME_SEPARATORS)
    found = _query("english", words).op("||")(_query("simple", parts))
    return found if parts == words else found.op("||")(_query("english", parts))


def _query(configuration: Literal["english", "simple"], words: str) -> ColumnElement[Any]:
    return func.websearch_to_tsquery(text(f"'{configuration}'::regconfig"), words)


def _run(
    app: App, statement: Select[Any], *, timed: bool, values: Mapping[str, Any] = MappingProxyType({})
) -> Sequence[Row[Any]]:
    """The rows of a statement; with `timed`, one that a user's pattern could make long is stopped.

    Raises:
        InvalidRegex: PostgreSQL refuses the pattern, or it took too long.
    """
    if not timed:
        with app.db.read() as tx:
            return tx.connection().execute(statement, values, execution_options=PLANNED_ANEW).all()
    try:
        with app.db.read(snapshot=True) as tx:
            tx.execute(text(f"SET LOCAL statement_timeout = {REGEX_MILLISECONDS}"))
            return tx.connection().execute(statement, values, execution_options=PLANNED_ANEW).all()
    except exc.OperationalError as error:
        if isinstance(error.orig, psycopg.errors.QueryCanceled):
            raise InvalidRegex(
                "The search took more than a second. Use a longer literal or a simpler pattern."
            ) from error
        raise
    except exc.DBAPIError as error:
        if isinstance(error.orig, psycopg.errors.InvalidRegularExpression | psycopg.errors.ProgramLimitExceeded):
            reason = error.orig.diag.message_primary or "it is not valid"
            raise InvalidRegex(f"The regular expression cannot be used: {reason}.") from error
        raise


def _found(row: Row[Any]) -> Found:
    return Found(*tuple(row)[:7])


def _plain(value: object) -> object:
    return value if isinstance(value, int | float | str) else str(value)
