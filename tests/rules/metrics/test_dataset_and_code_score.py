"""Every row of the openness table of the metrics specification."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rules.evidence import AS_OF, PackageEvidence
from weighhouse.rules.evidence import CodeTree, DatasetFacts, Missing, Reason, Source
from weighhouse.rules.metrics import dataset_and_code_score
from weighhouse.rules.metrics.dataset_and_code_score import CodeHalf, code_score, dataset_score
from weighhouse.rules.metrics.result import Result

WORDS = "These sentences were collected from public forums and describe birds. " * 6
TRAIN = "import torch\nopt = torch.optim.AdamW(model.parameters())\n"
EVALUATE = "model.eval()\n"
AWAY = Missing(Reason.UNREACHABLE, "The hub did not answer")


def dataset(
    state: Any = "public", *, named_by: Any = "card", card: str = WORDS, name: str = "acme/birds"
) -> DatasetFacts:
    return DatasetFacts(
        name,
        named_by,
        state,
        card if state in ("public", "gated", "bundled") else "",
        missing=AWAY if state == "unknown" else None,
    )


def repository(*paths: str, extras: dict[str, str] | None = None, **texts: str) -> CodeTree:
    programs = {f"{name}.py": text for name, text in texts.items()}
    return CodeTree(
        "repository", Source("git", "x@1"), [*programs, *(extras or {}), *paths], programs, extras or {}, ()
    )


def weigh(
    datasets: Any = (), code: CodeTree | Missing | None = None, *, card: str = "# Tiny", code_url: str | None = None
) -> Result:
    facts: dict[str, Any] = {"code": code} if code else {}
    url = code_url or ("https://github.com/acme/tiny" if code else None)
    return dataset_and_code_score.measure(PackageEvidence(datasets=datasets, code_url=url, card=card, **facts), AS_OF)


def test_a_public_dataset_and_a_full_repository() -> None:
    code = repository(train=TRAIN, evaluate=EVALUATE, extras={"requirements.txt": "torch"})
    assert weigh([dataset()], code).score == 1.00


def test_an_inference_library_without_dataset() -> None:
    code = repository(run=EVALUATE, extras={"pyproject.toml": '[project]\ndependencies = ["torch"]'})
    assert weigh([], code).score == 0.40


@pytest.mark.parametrize(
    ("datasets", "score"),
    [
        ([dataset("gated")], 0.42),
        ([dataset(named_by="inferred")], 0.45),
        ([dataset("dead")], 0.15),
        ([], 0.00),
        ([dataset("page")], 0.35),
        ([dataset("bundled", named_by="bundled")], 0.50),
        ([dataset(card="")], 0.35),
        ([dataset(), dataset("dead", name="a/dead")], 0.33),
    ],
)
def test_the_dataset_half(datasets: list[DatasetFacts], score: float) -> None:
    assert weigh(datasets).score == score


def test_an_inferred_dataset_is_marked_as_one() -> None:
    result = weigh([dataset(named_by="inferred"), dataset(name="acme/words")])
    assert result.inputs["inferred"] == ["acme/birds"]
    assert result.reasons[0] == "acme/birds, inferred from the card's text, is a public dataset with a card"


def test_a_dead_dataset_is_named_first() -> None:
    assert "dataset link is dead" in weigh([dataset(), dataset("dead", name="a/dead")]).reasons[0]


def test_only_the_first_three_datasets_count() -> None:
    poor = [dataset("dead", name=f"a/{number}") for number in range(3)]
    assert weigh([*poor, dataset()]).score == 0.15


def test_what_is_named_and_out_of_reach_is_not_a_verdict() -> None:
    for datasets, code in (([dataset("unknown")], None), ([dataset()], Missing(Reason.UNREACHABLE, "away"))):
        with pytest.raises(Missing):
            weigh(datasets, code)


LINKS = "# Tiny\nThe [code](https://github.com/acme/tiny) is public."


def test_a_link_to_code_that_could_not_be_followed_is_not_a_verdict() -> None:
    with pytest.raises(Missing) as caught:
        weigh(card=LINKS)
    assert caught.value.reason is Reason.UNREACHABLE
    assert weigh(card="# Tiny\nWe thank [PyTorch](https://github.com/pytorch/pytorch).").score == 0.0


def test_code_that_the_card_links_to_counts() -> None:
    code = repository(train=TRAIN, evaluate=EVALUATE, extras={"requirements.txt": "torch"})
    assert dataset_and_code_score.measure(PackageEvidence(card=LINKS, linked_code=code), AS_OF).score == 0.50


def test_a_dead_link_to_code_is_a_location_and_no_more() -> None:
    gone = Missing(Reason.NO_CODE_REPO, "GitHub has no acme/tiny")
    linked = dataset_and_code_score.measure(PackageEvidence(card=LINKS, linked_code=gone), AS_OF)
    given = weigh(code_url="https://github.com/acme/tiny")
    for result in (linked, given):
        assert result.score == 0.10
        assert result.reasons[-1] == "https://github.com/acme/tiny (a dead link) holds no source file"


def test_a_repository_without_source_has_only_a_location() -> None:
    assert weigh([], repository("README.md")).score == 0.10


@pytest.mark.parametrize(
    ("program", "trains"),
    [
        ("from transformers import Trainer\nTrainer(model=m).train()", True),
        ("SFTTrainer(model)", True),
        ("clf = SVC()\nclf.fit(x, y)", True),
        ("loss.backward()", True),
        ("optim.Lion(parameters)", True),
        ("# Trainer(model).fit(x)\nprint('train')", False),
        ("def fit(x): return x\nfit(1)", False),
        ("broken = (", False),
    ],
)
def test_training_is_found_by_what_a_program_calls(program: str, trains: bool) -> None:
    assert weigh([], repository(train=program)).inputs["trains"] is trains


@pytest.mark.parametrize(
    ("program", "infers"),
    [
        ("pipeline('x')", True),
        ("model.generate(x)", True),
        ("model.encode(x)", True),
        ("'a'.encode()", False),
        ("eval('1')", False),
    ],
)
def test_inference_is_found_by_what_a_program_calls(program: str, infers: bool) -> None:
    assert weigh([], repository(run=program)).inputs["infers"] is infers


def test_a_snippet_of_the_card_or_a_notebook_shows_inference() -> None:
    code = repository(a="x = 1")
    assert weigh([], code, card="```python\nfrom x import pipeline\npipeline('y')\n```").score == 0.30
    assert weigh([], repository("demo.ipynb", a="x = 1")).score == 0.30


@given(
    st.sampled_from(["bundled", "public", "gated", "page", "dead"]),
    st.sampled_from(["given", "card", "inferred"]),
    st.tuples(*[st.booleans()] * 5),
)
def test_both_halves_stay_in_range(state: str, named_by: str, items: tuple[bool, ...]) -> None:
    assert 0 <= dataset_score(dataset(state, named_by=named_by)) <= 0.5
    assert 0 <= code_score(CodeHalf(*items)) <= 0.5
