"""Every row of the size table of the metrics specification, and what may not change a size."""

import dataclasses
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rules.evidence import AS_OF, PackageEvidence
from tests.rules.test_weights import gguf_header, safetensors_header
from weighhouse.rules.evidence import HubModel, Missing, Parent, Reason
from weighhouse.rules.metrics import size_score
from weighhouse.rules.metrics.result import Status

DEVICES = ("raspberry_pi", "jetson_nano", "desktop_pc", "aws_server")
F16_7B = {"model.safetensors": ("F16", 7_240_000_000)}
Q4_0 = 2
"""A GGUF type: blocks of 32 parameters in 18 bytes."""
Q4_PARAMETERS = 4_370_000_000 // 18 * 32


def package(headers: Mapping[str, bytes], tensor_bytes: Mapping[str, int], **facts: object) -> PackageEvidence:
    """A package of weight files with real headers, and the sizes that their tensors would give them."""
    sizes = {path: len(header) + tensor_bytes[path] for path, header in headers.items()}
    return PackageEvidence(headers, sizes=sizes, **facts)  # type: ignore[arg-type]  # the caller's keywords


def safetensors(dtype: str, parameters: int, width: int, path: str = "model.safetensors") -> PackageEvidence:
    return package({path: safetensors_header({"w": (dtype, [parameters])})}, {path: parameters * width})


def both(gguf_parameters: int) -> PackageEvidence:
    """A 7.24 B model in 16 bits, and a GGUF beside it."""
    headers = {
        "model.safetensors": safetensors_header({"w": ("F16", [7_240_000_000])}),
        "model.gguf": gguf_header([("w", [gguf_parameters], Q4_0, 0)]),
    }
    tensor_bytes = {"model.safetensors": 14_480_000_000, "model.gguf": gguf_parameters // 32 * 18 + 64}
    return package(headers, tensor_bytes)


@pytest.mark.parametrize(
    ("evidence", "devices", "aggregate"),
    [
        (safetensors("F32", 110_000_000, 4), (1.00, 1.00, 1.00, 1.00), 1.00),
        (safetensors("F16", 1_100_000_000, 2), (0.39, 0.68, 1.00, 1.00), 0.88),
        (safetensors("BF16", 7_240_000_000, 2), (0.00, 0.00, 0.33, 1.00), 0.47),
        (both(Q4_PARAMETERS), (0.00, 0.19, 1.00, 1.00), 0.74),
        (both(1_777_792), (0.00, 0.00, 0.33, 1.00), 0.47),
        (safetensors("F16", 70_550_000_000, 2), (0.00, 0.00, 0.00, 0.01), 0.00),
    ],
    ids=["110M", "1.1B", "7.24B", "and 4-bit GGUF", "and decoy GGUF", "70.6B"],
)
def test_each_example_of_the_specification(
    evidence: PackageEvidence, devices: tuple[float, ...], aggregate: float
) -> None:
    result = size_score.measure(evidence, AS_OF)
    assert result.inputs["devices"] == dict(zip(DEVICES, devices, strict=True))
    assert (result.status, result.score) == (Status.OK, aggregate)
    assert size_score.measure(evidence, AS_OF) == result


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_more_weights_never_score_better(one: int, other: int) -> None:
    less, more = (size_score.device_scores(size) for size in sorted((one, other)))
    assert all(0 <= more[device] <= less[device] <= 1 for device in DEVICES)
    assert size_score.aggregate(more) <= size_score.aggregate(less)


def test_the_aggregate_is_the_sum_of_the_figures_shown() -> None:
    result = size_score.measure(safetensors("F16", 1_100_000_000, 2), AS_OF)
    by_hand = sum(size_score.DEVICE_WEIGHTS[device] * score for device, score in result.inputs["devices"].items())
    assert result.score == round(by_hand + 1e-9, 2)


def test_shards_and_folders_of_a_pipeline_add_up() -> None:
    parts = ("unet/model-00001-of-00002.safetensors", "unet/model-00002-of-00002.safetensors", "vae/model.safetensors")
    headers = {path: safetensors_header({"w": ("F16", [1_000])}) for path in parts}
    evidence = package({**headers, "model_index.json": b"{}"}, {**dict.fromkeys(parts, 2_000), "model_index.json": 0})
    assert size_score.measure(evidence, AS_OF).inputs["weights_bytes"] == 6_000


@pytest.mark.parametrize(
    "name", ["optimizer.pt", "scheduler.pt", "rng_state_0.pth", "training_args.bin", "checkpoint-10/model.bin"]
)
def test_what_only_training_needs_adds_nothing(name: str) -> None:
    evidence = PackageEvidence(sizes={"pytorch_model.bin": 100, name: 10_000})
    assert size_score.measure(evidence, AS_OF).inputs["weights_bytes"] == 100


def missing(evidence: PackageEvidence) -> Missing:
    with pytest.raises(Missing) as caught:
        size_score.measure(evidence, AS_OF)
    return caught.value


def test_no_weights_anywhere_is_no_zero() -> None:
    assert missing(PackageEvidence({"README.md": "# Tiny, 7B"})).reason is Reason.NO_EVIDENCE


def test_an_empty_weight_file_is_no_evidence() -> None:
    assert missing(package({"model.safetensors": safetensors_header({})}, {"model.safetensors": 0})).reason is (
        Reason.NO_EVIDENCE
    )


def test_a_hub_that_is_away_is_no_absence() -> None:
    assert missing(PackageEvidence(hub=Missing(Reason.UNREACHABLE, "The hub is away"))).reason is Reason.UNREACHABLE


def test_a_lost_shard_is_no_small_model() -> None:
    evidence = PackageEvidence(sizes={"pytorch_model-00001-of-00002.bin": 100})
    assert missing(evidence).reason is Reason.NO_EVIDENCE


def test_a_header_that_lies_about_the_size_is_malformed() -> None:
    evidence = package({"model.safetensors": safetensors_header({"w": ("F16", [10])})}, {"model.safetensors": 10_000})
    assert missing(evidence).reason is Reason.MALFORMED


BASE = Parent("acme/base", "adapter", "adapter_config.json", in_registry=True, weights_bytes=14_480_000_000)
ADAPTER = {"adapter_model.bin": 50_000_000, "adapter_config.json": 10}


def test_an_adapter_needs_its_base() -> None:
    result = size_score.measure(PackageEvidence(sizes=ADAPTER, parents=(BASE,)), AS_OF)
    assert result.inputs["weights_bytes"] == 14_530_000_000


@pytest.mark.parametrize("parents", [(), (dataclasses.replace(BASE, weights_bytes=None),)])
def test_an_adapter_to_a_base_of_unknown_size_is_no_small_model(parents: tuple[Parent, ...]) -> None:
    assert missing(PackageEvidence(sizes=ADAPTER, parents=parents)).reason is Reason.BASE_SIZE_UNKNOWN


def test_the_hub_fills_in_for_a_package_without_weights() -> None:
    sizes = {"model.safetensors": 14_480_000_000, "tiny.Q4.gguf": 4_370_000_000, "decoy.gguf": 1_000_000}
    hub = HubModel("acme/tiny", "a1", file_sizes=sizes, parameters=7_240_000_000)
    result = size_score.measure(PackageEvidence({"README.md": "x"}, hub=hub), AS_OF)
    assert (result.score, result.method) == (0.74, "hub-sizes")
