"""What is kept of a repository is what was read, whatever it holds."""

import zlib
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighhouse.rules.evidence import Change, Commit, Missing, Reason, Source
from weighhouse.sources import repository_facts
from weighhouse.sources.git_reading import FirstParentCommit
from weighhouse.sources.repository_facts import RepositoryFacts, pack, unpack

AWAY = Missing(Reason.TOO_LARGE, "It is too large")

paths = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
instants = st.integers(0, 10**11).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
changes = st.one_of(
    st.builds(Change, paths, st.sampled_from(["created", "changed", "deleted"])),
    st.builds(Change, paths, st.just("renamed"), paths),
)
facts = st.builds(
    RepositoryFacts,
    head=st.text("0123456789abcdef", min_size=40, max_size=40),
    commits=st.lists(st.builds(Commit, paths, paths, instants, st.lists(changes, max_size=4)), max_size=4),
    changesets=st.lists(st.builds(FirstParentCommit, paths, paths, paths, st.integers(0, 10**6)), max_size=4),
    sizes=st.dictionaries(paths, st.integers(0, 10**9), max_size=4),
    texts=st.dictionaries(paths, paths, max_size=4),
    lines_known=st.booleans(),
)


@settings(deadline=None)
@given(facts)
def test_facts_come_back_as_they_were(one: RepositoryFacts) -> None:
    packed = pack(one)
    assert packed is not None
    assert unpack(packed) == one


def test_facts_that_are_not_whole_or_too_large_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    for one in (
        RepositoryFacts("a", commits=AWAY),
        RepositoryFacts("a", changesets=AWAY),
        RepositoryFacts("a", tree_missing=AWAY),
    ):
        assert pack(one) is None
    monkeypatch.setattr(repository_facts, "KEPT_BYTES", 10)
    assert pack(RepositoryFacts("a")) is None


@pytest.mark.parametrize(
    "kept", [b"", b"x", zlib.compress(b"{}"), zlib.compress(b'{"layout": 0}'), zlib.compress(b"[]")]
)
def test_what_another_release_kept_is_read_again(kept: bytes) -> None:
    assert unpack(kept) is None


def test_a_tree_that_could_not_be_read_is_missing_and_not_empty() -> None:
    with pytest.raises(Missing) as caught:
        RepositoryFacts("a", tree_missing=AWAY).tree(Source("git", "a/b@c"))
    assert caught.value.reason is Reason.TOO_LARGE
