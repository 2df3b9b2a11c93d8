"""What a search means, what it costs, and what it does not fall for."""

import time
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from tests.registry.shelf import admin, caller, publish
from weighhouse.app import App
from weighhouse.registry.packages import delete_package
from weighhouse.registry.paging import InvalidCursor
from weighhouse.registry.search import (
    Filters,
    InvalidQuery,
    InvalidRegex,
    PackageQuery,
    list_packages,
    search_packages,
)
from weighhouse.rules.permissions import Caller, Permission, PermissionMissing
from weighhouse.rules.versions import parse_range, version_key


def found(registry: App, who: Caller, *queries: PackageQuery) -> list[str]:
    page = search_packages(registry, who, queries, limit=100)
    assert page.total == len(page.packages)
    return [f"{package.name} {package.version}" for package in page.packages]


def listed(registry: App, who: Caller, sort: str | None = None, limit: int = 100, **filters: object) -> list[str]:
    """All pages of a listing."""
    names: list[str] = []
    cursor = None
    while True:
        page = list_packages(registry, who, Filters(**filters), sort=sort, cursor=cursor, limit=limit)  # type: ignore[arg-type]  # filters by name
        names += [f"{package.name} {package.version}" for package in page.packages]
        cursor = page.next_cursor
        if cursor is None:
            return names


@pytest.fixture
def who(registry: App) -> Caller:
    return caller(registry, "ada")


def test_conditions_hold_together_queries_add_up_and_nothing_comes_twice(registry: App, who: Caller) -> None:
    for name, version in (("bert", "1.0.0"), ("bert", "2.0.0"), ("roberta", "1.0.0"), ("gpt", "1.0.0")):
        publish(registry, who, name, version)
    assert found(registry, who) == ["bert 2.0.0", "bert 1.0.0", "gpt 1.0.0", "roberta 1.0.0"]
    assert found(registry, who, PackageQuery("BERT", "1.0.0")) == ["bert 1.0.0", "roberta 1.0.0"]
    assert found(registry, who, PackageQuery("bert"), PackageQuery(None, "2.0.0"), PackageQuery("ber")) == [
        "bert 2.0.0",
        "bert 1.0.0",
        "roberta 1.0.0",
    ]
    assert found(registry, who, PackageQuery("bert", "2.0.0", "^rob")) == []
    assert len(found(registry, who, PackageQuery("bert", "9"), PackageQuery())) == 4


def test_every_character_of_a_name_means_itself(registry: App, who: Caller) -> None:
    for name in ("a_b", "a.b", "a-b", "axb", "ns/a_b"):
        publish(registry, who, name)
    assert found(registry, who, PackageQuery("a_b")) == ["a_b 1.0.0", "ns/a_b 1.0.0"]
    assert found(registry, who, PackageQuery("a.b")) == ["a.b 1.0.0"]
    assert found(registry, who, PackageQuery("s/a")) == ["ns/a_b 1.0.0"]
    for pattern in ("%", "a%b", "a\\_b", "a*b", "a?b", "[", "'", "a_b'--"):
        assert found(registry, who, PackageQuery(pattern)) == [], pattern
        assert listed(registry, who, name=pattern) == [], pattern


_VERSIONS = ["0.9.0", "1.0.0-rc.1", "1.0.0", "1.2.0", "1.10.0", "2.0.0-alpha", "2.0.0", "1.0", "v3", "1.0.0+build"]


def test_a_range_selects_what_its_rule_says(registry: App, who: Caller) -> None:
    for version in _VERSIONS:
        publish(registry, who, "bert", version)
    numbers = st.sampled_from(["0", "1", "1.0", "1.2.0", "1.0.0-rc.1", "2.0.0-0", "2", "x", "1.x"])
    comparators = st.tuples(st.sampled_from(["", "^", "~", ">=", "<", ">", "<=", "="]), numbers).map("".join)
    ranges = st.lists(st.lists(comparators, min_size=1, max_size=2).map(" ".join), min_size=1, max_size=2).map(
        " || ".join
    )

    @settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(ranges)
    def check(wanted: str) -> None:
        expected = [version for version in _VERSIONS if parse_range(wanted).matches(version)]
        expected.sort(key=version_key, reverse=True)
        assert found(registry, who, PackageQuery("bert", wanted)) == [f"bert {version}" for version in expected]

    check()


def test_a_regular_expression_that_postgresql_refuses_is_the_callers_mistake(registry: App, who: Caller) -> None:
    publish(registry, who, "bert")
    for regex in ("(", "a{256}", "\\", "(?<name>x)", "x" * 513):
        with pytest.raises(InvalidRegex):
            search_packages(registry, who, [PackageQuery(regex=regex)])
        with pytest.raises(InvalidRegex):
            list_packages(registry, who, Filters(regex=regex))


def test_a_regular_expression_that_takes_too_long_is_stopped(registry: App, who: Caller) -> None:
    card = "# Card\n" + "".join(chr(97 + number * number % 26) for number in range(6000))
    publish(registry, who, "bert", files={"README.md": card})
    # What it refers back to is compared for every way of splitting the card.
    costly = r"^(.+)(.+)\1\2$"
    for run in (
        partial(search_packages, registry, who, [PackageQuery(regex=costly)]),
        partial(list_packages, registry, who, Filters(regex=costly)),
    ):
        began = time.monotonic()
        with pytest.raises(InvalidRegex, match="more than a second"):
            run()
        assert time.monotonic() - began < 20
    assert len(found(registry, who, PackageQuery(regex="^# Card"))) == 1


def test_patterns_that_break_other_engines_do_not_break_this_one(registry: App, who: Caller) -> None:
    publish(registry, who, "a" * 60, files={"README.md": "# " + "a" * 3000 + "!"})
    for regex in ("(a+)+$", "(a|aa)+$", "(.*a){20}", "(?=a)b", "a(?!b)", r"\d+\.\d+", "(a?){50}a{50}"):
        began = time.monotonic()
        search_packages(registry, who, [PackageQuery(regex=regex)])
        assert time.monotonic() - began < 10, regex


@pytest.mark.parametrize("key", ["name", "upload_date", "net_score", "downloads"])
def test_pages_join_to_the_whole_while_others_publish(registry: App, who: Caller, key: str) -> None:
    for word, sort in (("up", key), ("down", f"-{key}")):
        before = [f"{word}{number:02} 1.0.0" for number in range(9)]
        for line in before:
            publish(registry, who, line.split()[0])
        with registry.db.write() as tx:
            tx.execute(text("UPDATE packages SET net_score = 0.5 WHERE name LIKE '%0_' AND name < 'up05'"))
            tx.execute(text("UPDATE packages SET net_score = 0.25 WHERE name LIKE '%07'"))
            some = "SELECT id FROM packages ORDER BY id DESC LIMIT 4"
            tx.execute(text(f"UPDATE download_counts SET downloads = 3 WHERE package_id IN ({some})"))
        seen: list[str] = []
        cursor = None
        for number in range(100):
            page = list_packages(registry, who, Filters(name=word), sort=sort, cursor=cursor, limit=2)
            seen += [f"{package.name} {package.version}" for package in page.packages]
            cursor = page.next_cursor
            if cursor is None:
                break
            if number < 3:
                publish(registry, who, f"{word}{number}5-new")
        old = [line for line in seen if line in before]
        assert sorted(old) == before
        assert len(seen) == len(set(seen))
        assert old == [line for line in listed(registry, who, sort, name=word) if line in before]


def test_a_cursor_survives_the_deletion_of_the_row_it_names(registry: App, who: Caller) -> None:
    ids = [publish(registry, who, f"m{number}") for number in range(4)]
    first = list_packages(registry, who, Filters(), sort="name", limit=2)
    delete_package(registry, admin(registry), ids[1])
    rest = list_packages(registry, who, Filters(), sort="name", cursor=first.next_cursor, limit=2)
    assert [package.name for package in rest.packages] == ["m2", "m3"]


def test_a_cursor_of_another_listing_or_person_is_refused(registry: App, who: Caller) -> None:
    for number in range(3):
        publish(registry, who, f"m{number}")
    cursor = list_packages(registry, who, Filters(name="m"), sort="name", limit=1).next_cursor
    assert cursor
    bob = caller(registry, "bob")
    for person, filters, sort, given_cursor in (
        (bob, Filters(name="m"), "name", cursor),
        (who, Filters(name="m0"), "name", cursor),
        (who, Filters(name="m"), "-name", cursor),
        (who, Filters(), "name", cursor),
        (who, Filters(name="m"), "name", cursor[:-1]),
        (who, Filters(name="m"), "name", ("x" if cursor[0] != "x" else "y") + cursor[1:]),
        (who, Filters(name="m"), "name", ""),
        (who, Filters(name="m"), "name", "ü"),
    ):
        with pytest.raises(InvalidCursor):
            list_packages(registry, person, filters, sort=sort, cursor=given_cursor)


def test_an_order_that_does_not_exist_is_refused(registry: App, who: Caller) -> None:
    for sort in ("", "size", "--name", "name;", "relevance"):
        with pytest.raises(InvalidQuery):
            list_packages(registry, who, Filters(), sort=sort)


def test_words_left_out_are_left_out_in_every_form(registry: App, who: Caller) -> None:
    publish(registry, who, "one", files={"README.md": "It paints quickly."})
    publish(registry, who, "two", files={"README.md": "It sings quickly."})
    publish(registry, who, "three-paints", files={"README.md": "It is quick."})
    assert listed(registry, who, q="quickly -paints") == ["two 1.0.0"]
    assert listed(registry, who, q='quickly -"sings quickly"') == ["three-paints 1.0.0", "one 1.0.0"]
    assert set(listed(registry, who, q='"it - paints"')) <= {"one 1.0.0", "three-paints 1.0.0"}
    assert set(listed(registry, who, q="-paints")) == {"two 1.0.0"}
    assert set(listed(registry, who, q="paints or sings")) == {"one 1.0.0", "two 1.0.0", "three-paints 1.0.0"}


def test_a_name_is_found_as_it_is_written(registry: App, who: Caller) -> None:
    name = "acme-0/all-MiniLM_L6.v2"
    publish(registry, who, name, files={"README.md": "It paints sentences, v1.5 of acme/other-thing."})
    publish(registry, who, "other", files={"README.md": "It does not."})
    for words in (
        name,
        name.lower(),
        "all-minilm",
        "L6.v2",
        "v1.5",
        "acme/other-thing",
    ):
        assert listed(registry, who, q=words) == [f"{name} 1.0.0"], words
    assert listed(registry, who, q="minilm -L6.v2") == []


def test_full_text_pages_in_order_of_rank_without_loss(registry: App, who: Caller) -> None:
    for number in range(7):
        publish(registry, who, f"m{number}", files={"README.md": "zebra " * (1 + number % 3)})
    whole = listed(registry, who, q="zebra")
    assert len(whole) == 7
    assert listed(registry, who, q="zebra", limit=1) == whole
    assert {line.split()[0] for line in whole[:2]} == {"m2", "m5"}


def test_a_page_costs_one_statement(registry: App, who: Caller, statements: list[str]) -> None:
    for number in range(5):
        publish(registry, who, f"m{number}")
    first = list_packages(registry, who, Filters(), limit=2)
    for run in (
        partial(search_packages, registry, who, []),
        partial(search_packages, registry, who, [PackageQuery("m", "^1.0.0")], offset=1, limit=2),
        partial(list_packages, registry, who, Filters(name="m", license="mit", uploader="ada"), sort="-net_score"),
        partial(list_packages, registry, who, Filters(), sort="downloads"),
        partial(list_packages, registry, who, Filters(), cursor=first.next_cursor, limit=2),
    ):
        statements.clear()
        run()
        assert len(statements) == 1, statements


def test_searching_needs_the_permission(registry: App) -> None:
    uploader = caller(registry, "bob", Permission.UPLOAD, Permission.DOWNLOAD)
    with pytest.raises(PermissionMissing):
        search_packages(registry, uploader, [])
    with pytest.raises(PermissionMissing):
        list_packages(registry, uploader, Filters())
