"""POST and GET /packages."""

import json
import secrets
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.doors.rest import Account, problem, publish

_KEYS = {"id", "name", "version", "description", "license", "net_score", "upload_date"}


@pytest.fixture(scope="module")
def word() -> str:
    """A word that only this module's packages have in their names."""
    return "w" + secrets.token_hex(5)


@pytest.fixture(scope="module")
def shelf(uploader: Account, other: Account, word: str) -> dict[str, str]:
    """Some packages: name and version to id."""
    card = "---\nlicense: {}\n---\n# Model\n\nIt {} quickly.\n"
    made = {}
    for client, name, version, license_name, does in (
        (uploader.client, f"{word}-alpha", "1.0.0", "mit", "translates"),
        (uploader.client, f"{word}-alpha", "1.10.0", "mit", "translates"),
        (uploader.client, f"{word}-alpha", "1.9.0", "mit", "translates"),
        (uploader.client, f"{word}-alpha", "2.0.0-rc.1", "mit", "translates"),
        (other.client, f"{word}_beta", "1.0.0", "apache-2.0", "summarises zebras"),
        (other.client, f"{word}.gamma", "0.1.0", "gpl-3.0", "paints"),
    ):
        files = {"README.md": card.format(license_name, does)}
        made[f"{name} {version}"] = publish(client, name, version, files, fields={"description": f"Describes {word}"})
    return made


@pytest.fixture(scope="module")
def ask(reader: Account, shelf: dict[str, str], word: str) -> "Ask":
    return Ask(reader.client, word)


class Ask:
    """Asks, and gives names and versions without the module's word."""

    def __init__(self, client: httpx.Client, word: str) -> None:
        self.client = client
        self.word = word

    def post(self, *queries: dict[str, str], **params: int) -> list[str]:
        answer = self.client.post("/packages", json=list(queries), params=params)
        assert answer.status_code == 200, answer.text
        assert answer.json().keys() == {"packages", "total", "offset", "limit"}
        return self._short(answer)

    def get(self, **params: object) -> list[str]:
        answer = self.client.get("/packages", params=params)  # type: ignore[arg-type]  # numbers and texts
        assert answer.status_code == 200, answer.text
        return self._short(answer)

    def _short(self, answer: httpx.Response) -> list[str]:
        packages = answer.json()["packages"]
        assert all(package.keys() == _KEYS for package in packages)
        assert all(package["upload_date"].endswith("Z") for package in packages)
        return [f"{package['name'].removeprefix(self.word)} {package['version']}" for package in packages]


def test_a_query_finds_by_part_of_the_name_in_order_of_name_and_then_newest(ask: Ask) -> None:
    assert ask.post({"name": ask.word.upper()}) == [
        "-alpha 2.0.0-rc.1",
        "-alpha 1.10.0",
        "-alpha 1.9.0",
        "-alpha 1.0.0",
        ".gamma 0.1.0",
        "_beta 1.0.0",
    ]


def test_conditions_hold_together_and_queries_add_up(ask: Ask) -> None:
    word = ask.word
    assert ask.post({"name": word, "version": "1.0.0"}) == ["-alpha 1.0.0", "_beta 1.0.0"]
    assert ask.post({"name": word, "version": "1.0.0", "regex": "zebras"}) == ["_beta 1.0.0"]
    assert ask.post({"name": f"{word}.g"}, {"name": f"{word}_b"}, {"name": f"{word}_"}) == [
        ".gamma 0.1.0",
        "_beta 1.0.0",
    ]
    assert ask.post({"name": word, "version": "9.9.9"}) == []
    assert ask.post({"name": word, "version": "9.9.9"}, {"regex": f"^{word}_"}) == ["_beta 1.0.0"]


@pytest.mark.parametrize(
    ("version", "found"),
    [
        ("^1.0.0", ["1.10.0", "1.9.0", "1.0.0"]),
        ("~1.9.0", ["1.9.0"]),
        ("1.0.0 - 1.9.0", ["1.9.0", "1.0.0"]),
        (">=1 <2", ["1.10.0", "1.9.0", "1.0.0"]),
        (">1.9.0 || 1.0.0 - 1.0.0", ["1.10.0", "1.0.0"]),
        ("2.0.0-rc.1", ["2.0.0-rc.1"]),
        (">=2.0.0-rc.0", ["2.0.0-rc.1"]),
        ("*", ["1.10.0", "1.9.0", "1.0.0"]),
        ("<1", []),
    ],
)
def test_a_version_may_be_a_range(ask: Ask, version: str, found: list[str]) -> None:
    assert ask.post({"name": f"{ask.word}-alpha", "version": version}) == [f"-alpha {one}" for one in found]


def test_percent_underscore_and_backslash_mean_themselves(ask: Ask) -> None:
    word = ask.word
    assert ask.post({"name": f"{word}_"}) == ["_beta 1.0.0"]
    for text in ("%", f"{word}%", "_%", "\\", f"{word}\\_beta", "' OR 1=1 --", '";--'):
        assert ask.post({"name": text}) == [], text
    assert ask.get(name=f"{word}_") == ["_beta 1.0.0"]
    assert ask.get(name=f"{word}%") == []


def test_every_name_is_a_star_and_no_query_is_every_package(ask: Ask, reader: Account) -> None:
    bodies: tuple[list[dict[str, str]], ...] = ([], [{}], [{"name": "*"}])
    totals = [reader.client.post("/packages", json=body).json()["total"] for body in bodies]
    assert totals[0] == totals[1] == totals[2] > 5
    assert ask.post({"name": "*", "regex": f"^{ask.word}[.]"}) == [".gamma 0.1.0"]


def test_a_regular_expression_looks_at_name_and_card(ask: Ask) -> None:
    word = ask.word
    assert ask.post({"regex": f"^{word}.(beta|gamma)$"}) == [".gamma 0.1.0", "_beta 1.0.0"]
    assert ask.post({"regex": "summarises +zeb[r]as", "name": word}) == ["_beta 1.0.0"]
    assert ask.get(regex="summarises +zeb[r]as", name=word) == ["_beta 1.0.0"]
    assert len(ask.post({"regex": "", "name": word})) == 6


@pytest.mark.parametrize("regex", ["(", "a{256}", "*", "[z-a]", "(?<x", "\\", "x" * 513, "(a){2,1}", "x" * 60_000])
def test_a_bad_regular_expression_is_malformed(ask: Ask, regex: str) -> None:
    problem(ask.client.post("/packages", json=[{"regex": regex}]), 400, "invalid-regex")
    problem(ask.client.get("/packages", params={"regex": regex[:1000]}), 400, "invalid-regex")


@pytest.mark.parametrize(
    "body",
    [
        None,
        {},
        "x",
        [1],
        [None],
        [[]],
        [{"name": 1}],
        [{"version": ["1"]}],
        [{"name": "a\x00"}],
        [{"regex": "\ud800"}],
        [{"version": ">=1 <"}],
        [{"version": "not a version!"}],
        [{"version": ""}],
        [{"name": "x" * 2000}],
        [{}] * 101,
    ],
)
def test_a_query_of_another_shape_is_invalid(ask: Ask, body: object) -> None:
    headers = {"Content-Type": "application/json"}
    problem(ask.client.post("/packages", content=json.dumps(body), headers=headers), 422)


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "limit=-1", "limit=1e18", "limit=x", "limit=1.5", "limit=", "offset=-1", "offset=x"],
)
def test_a_page_that_cannot_be_is_refused(ask: Ask, query: str) -> None:
    problem(ask.client.post(f"/packages?{query}", json=[]), 422)
    if query.startswith("limit"):
        problem(ask.client.get(f"/packages?{query}"), 422)


def test_pages_by_offset_join_to_the_whole(ask: Ask) -> None:
    whole = ask.post({"name": ask.word})
    assert [one for start in range(0, 6, 4) for one in ask.post({"name": ask.word}, offset=start, limit=4)] == whole
    answer = ask.client.post("/packages?offset=100&limit=7", json=[{"name": ask.word}]).json()
    assert answer == {"packages": [], "total": 6, "offset": 100, "limit": 7}


@pytest.mark.parametrize(
    "sort", ["name", "-name", "upload_date", "-upload_date", "net_score", "-net_score", "downloads", "-downloads"]
)
def test_every_order_pages_through_all_and_turns_round(ask: Ask, sort: str) -> None:
    seen: list[str] = []
    address: str | None = f"/packages?name={ask.word}&sort={sort}&limit=1"
    while address:
        page = ask.client.get(address)
        body = page.json()
        assert body.keys() == {"packages", "total", "offset", "limit", "next_cursor"}
        assert body["total"] == 6
        seen += [package["id"] for package in body["packages"]]
        address = page.links["next"]["url"] if body["next_cursor"] else None
    assert len(set(seen)) == len(seen) == 6
    whole = ask.client.get("/packages", params={"name": ask.word, "sort": sort}).json()["packages"]
    assert [package["id"] for package in whole] == seen


def test_the_newest_come_first_unless_told_otherwise(ask: Ask) -> None:
    assert ask.get(name=ask.word)[0] == ".gamma 0.1.0"
    assert ask.get(name=ask.word, sort="upload_date")[0] == "-alpha 1.0.0"


def test_words_are_found_in_name_description_and_card_best_first(ask: Ask) -> None:
    assert ask.get(q=f"{ask.word} zebra") == ["_beta 1.0.0"]
    assert ask.get(q=f"{ask.word} translating") == [
        "-alpha 2.0.0-rc.1",
        "-alpha 1.9.0",
        "-alpha 1.10.0",
        "-alpha 1.0.0",
    ]
    assert ask.get(q=f'{ask.word} "paints quickly"') == [".gamma 0.1.0"]
    assert ask.get(q=f"{ask.word} -zebra -paints", limit=1) == ["-alpha 2.0.0-rc.1"]
    assert len(ask.get(q=ask.word)) == 6
    for odd in ("", "!!!", "'", "a & | b", "(" * 100, "%", "\\"):
        assert ask.client.get("/packages", params={"q": odd}).status_code == 200


def test_filters_hold_together(ask: Ask, uploader: Account, other: Account) -> None:
    word = ask.word
    assert ask.get(name=word, license="APACHE-2.0") == ["_beta 1.0.0"]
    assert set(ask.get(name=word, uploader=other.username.upper())) == {"_beta 1.0.0", ".gamma 0.1.0"}
    assert set(ask.get(name=word, uploader=other.user_id)) == {"_beta 1.0.0", ".gamma 0.1.0"}
    assert ask.get(name=word, uploader=other.username, license="mit") == []
    assert ask.get(name=word, uploader="nobody at all") == []
    assert ask.get(name=word, version="^1.10") == ["-alpha 1.10.0"]
    assert ask.get(name=word, verdict="unsafe") == []
    assert ask.get(name=word, min_net_score=1) == []
    assert len(ask.get(name=word, min_net_score=0)) <= 6


@pytest.mark.parametrize(
    "query",
    [
        "sort=size",
        "sort=",
        "sort=--name",
        "sort=relevance",
        "sort=id;drop",
        "verdict=good",
        "min_net_score=2",
        "min_net_score=nan",
        "min_net_score=x",
        "version=(",
        "cursor=x",
        "q=%00",
        "q=%ff",
    ],
)
def test_a_filter_that_cannot_be_is_named(ask: Ask, query: str) -> None:
    problem(ask.client.get(f"/packages?{query}"), 422)


def test_a_cursor_is_good_for_its_own_listing_only(ask: Ask, other: Account) -> None:
    page = ask.client.get("/packages", params={"name": ask.word, "limit": 2})
    cursor = page.json()["next_cursor"]
    again = parse_qs(urlsplit(page.links["next"]["url"]).query)
    assert again["cursor"] == [cursor]
    for changed in (
        {"name": "x"},
        {"sort": "name"},
        {"q": "x"},
        {"license": "mit"},
        {"cursor": cursor[:-2]},
        {"cursor": "é"},
        {"cursor": "A" * 40},
    ):
        params = {"name": ask.word, "limit": "2", "cursor": cursor} | changed
        problem(ask.client.get("/packages", params=params), 422, "invalid-cursor")
    problem(other.client.get("/packages", params={"name": ask.word, "cursor": cursor}), 422, "invalid-cursor")


def test_a_parameter_that_comes_twice_counts_once(ask: Ask) -> None:
    answer = ask.client.get(f"/packages?limit=1&limit=2&name={ask.word}")
    assert answer.status_code in {200, 422}
