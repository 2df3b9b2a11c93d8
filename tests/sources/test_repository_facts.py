"""What is kept of a repository is what was read, whatever it holds."""

import zlib
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighhouse.registry.evidence_cache import MAX_VALUE_BYTES
from weighhouse.rules.evidence import Change, Commit, Missing, Reason, Source
from weighhouse.sources import repository_facts
from weighhouse.sources.git_reading import FirstParentCommit
from weighhouse.sources.repository_facts import RepositoryFacts, pack, unpack, unread

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


def parts_that_are(missing: Missing) -> Sequence[RepositoryFacts]:
    return (
        RepositoryFacts("a", commits=missing),
        RepositoryFacts("a", changesets=missing),
        RepositoryFacts("a", tree_missing=missing),
    )


def told(part: Sequence[object] | Missing | None) -> object:
    """A part, as it can be compared."""
    return (part.reason, part.advice) if isinstance(part, Missing) else list(part or ())


def test_what_is_too_large_at_a_commit_stays_so() -> None:
    for one in (*parts_that_are(AWAY), unread("a", AWAY)):
        packed = pack(one)
        assert packed is not None
        kept = unpack(packed)
        assert kept is not None
        for part, before in ((kept.commits, one.commits), (kept.changesets, one.changesets)):
            assert told(part) == told(before)
        assert told(kept.tree_missing) == told(one.tree_missing)
    # What can be packed at all is kept whole, however many programs there are.
    assert repository_facts.KEPT_BYTES <= MAX_VALUE_BYTES


def test_facts_that_another_try_may_complete_or_that_are_too_large_are_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for one in parts_that_are(Missing(Reason.TIMEOUT, "It took too long")):
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
