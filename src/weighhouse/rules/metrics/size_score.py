"""Will it fit in memory on the machine I have? (metrics specification, section 6)"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

from weighhouse.rules.errors import Malformed, TooLarge
from weighhouse.rules.evidence import Evidence, Missing, Reason, Source
from weighhouse.rules.metrics.result import Result, counted, ok, r2
from weighhouse.rules.weight_headers import Tensors
from weighhouse.rules.weights import (
    Variant,
    is_weight,
    read_tensors,
    smallest,
    variants,
    variants_by_size,
    without_decoys,
)

NAME = "size_score"
METRIC_VERSION = "size_score/1"

OVERHEAD = 1.2
"""Memory that inference takes, by the bytes of the weights (Transformer Math 101)."""
USABLE_BYTES: Mapping[str, int] = MappingProxyType(
    {"raspberry_pi": 2 << 30, "jetson_nano": 3 << 30, "desktop_pc": 12 << 30, "aws_server": 80 << 30}
)
DEVICE_WEIGHTS: Mapping[str, float] = MappingProxyType(
    {"raspberry_pi": 0.10, "jetson_nano": 0.20, "desktop_pc": 0.35, "aws_server": 0.35}
)


def measure(evidence: Evidence, as_of: datetime) -> Result:
    """How well the smallest complete set of weights fits the four devices; the score is their aggregate.

    Raises:
        Missing: No weights anywhere, headers that contradict themselves, or an adapter to a base of unknown size.
    """
    found, source = _find_variants(evidence)
    chosen = _choose(found)
    base_bytes, base_name = _base(evidence) if chosen.adapter else (0, None)
    weights_bytes = chosen.size_bytes + base_bytes
    devices = device_scores(weights_bytes)
    reasons = [_what_counts(chosen, weights_bytes, base_name), _what_fits(devices)]
    ignored = [variant.label for variant in found if variant not in without_decoys(found)]
    if ignored:
        reasons.append(f"Incomplete, or under half the parameters of the largest, so ignored: {', '.join(ignored)}")
    inputs = {
        "devices": devices,
        "weights_bytes": weights_bytes,
        "base_bytes": base_bytes,
        "parameters": chosen.parameters,
        "need_bytes": round(OVERHEAD * weights_bytes),
        "usable_bytes": dict(USABLE_BYTES),
    }
    return ok(NAME, aggregate(devices), reasons, inputs=inputs, method=f"{source.kind}-sizes", sources=(source,))


def device_score(weights_bytes: int, usable_bytes: int) -> float:
    """How well weights of so many bytes fit into so many bytes of usable memory, rounded.

    >>> [device_score(size, 12 << 30) for size in (2_200_000_000, 14_480_000_000)]
    [1.0, 0.33]
    """
    x = OVERHEAD * weights_bytes / usable_bytes
    if x <= 0.5:
        return 1.0
    if x <= 1:
        return r2(1.5 - x)
    # Would need quantising.
    return r2(0.5 * (2 - x))


def device_scores(weights_bytes: int) -> dict[str, float]:
    """The score of each device, rounded."""
    return {device: device_score(weights_bytes, usable) for device, usable in USABLE_BYTES.items()}


def aggregate(devices: Mapping[str, float]) -> float:
    """The one figure that enters the net score.

    >>> aggregate({"raspberry_pi": 0.39, "jetson_nano": 0.68, "desktop_pc": 1.0, "aws_server": 1.0})
    0.88
    """
    return r2(sum(weight * devices[device] for device, weight in DEVICE_WEIGHTS.items()))


def _find_variants(evidence: Evidence) -> tuple[Sequence[Variant], Source]:
    files = evidence.files()
    tensors = {file.path: _tensors(evidence, file.path, file.size_bytes) for file in files if is_weight(file.path)}
    if tensors:
        return variants(tensors, {file.path for file in files}), Source("package", evidence.name)
    return _find_hub_variants(evidence)


def _find_hub_variants(evidence: Evidence) -> tuple[Sequence[Variant], Source]:
    try:
        hub = evidence.hub()
    except Missing as missing:
        if missing.reason is not Reason.NO_EVIDENCE:
            raise
        raise Missing(Reason.NO_EVIDENCE, "No weights in the package and no model_url; add one of them") from missing
    found = variants_by_size(hub.file_sizes, parameters=hub.parameters, gguf_parameters=hub.gguf_parameters)
    return found, Source("hub", f"{hub.id}@{hub.sha}")


def _tensors(evidence: Evidence, path: str, size_bytes: int) -> Tensors:
    try:
        return read_tensors(path, size_bytes, evidence.read_at)
    except Malformed as broken:
        raise Missing(Reason.MALFORMED, f"{path}: {broken.detail}") from broken
    except TooLarge as large:
        raise Missing(Reason.TOO_LARGE, f"{path}: {large.detail}") from large


def _choose(found: Sequence[Variant]) -> Variant:
    """The variant that counts.

    Raises:
        Missing: There is none, or none is complete.
    """
    chosen = smallest([variant for variant in found if not variant.adapter]) or smallest(found)
    if chosen is not None and chosen.size_bytes > 0:
        return chosen
    if any(not variant.complete for variant in found):
        raise Missing(
            Reason.NO_EVIDENCE, "No set of weights is complete: a shard that the file names promise is missing"
        )
    raise Missing(
        Reason.NO_EVIDENCE, "Neither the package nor the hub has weights of any size; add them to the package"
    )


def _base(evidence: Evidence) -> tuple[int, str]:
    """Bytes and name of the model that an adapter changes.

    Raises:
        Missing: No base is named, or its size is unknown.
    """
    named = [parent for parent in evidence.parents() if parent.relation == "adapter"]
    for parent in named:
        if parent.weights_bytes is not None:
            return parent.weights_bytes, parent.name
    who = f"Base model {named[0].name}" if named else "The base model, which nothing names,"
    raise Missing(Reason.BASE_SIZE_UNKNOWN, f"{who} has no known size; upload it to this registry, or name it")


def _what_counts(chosen: Variant, weights_bytes: int, base_name: str | None) -> str:
    size = _size(weights_bytes)
    if base_name is not None:
        return f"The adapter and its base model {base_name} take {size}"
    files = counted(len(chosen.paths), "file")
    return f"The smallest complete set of weights takes {size} in {files}, from {chosen.paths[0]}"


def _size(count: int) -> str:
    if count >= 1e7:
        return f"{count / 1e9:.2f} GB"
    return f"{count / 1e6:.2f} MB" if count >= 1e4 else counted(count, "byte")


def _what_fits(devices: Mapping[str, float]) -> str:
    fitting = [device.replace("_", " ") for device, score in devices.items() if score >= 0.5]
    return f"With 20 % on top it fits: {', '.join(fitting) or 'none of the four devices'}"
