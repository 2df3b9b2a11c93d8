"""The sets of weights in a package, and how much memory the smallest of them takes.

Metrics specification, section 6. A variant is one complete set of weights in one format: all shards, all sub-folders of a
pipeline; each GGUF quantisation is its own.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from weighhouse.rules.manifest import Component, component_of
from weighhouse.rules.weight_headers import Tensors, read_gguf, read_safetensors

_UNKNOWN_BYTES_PER_PARAMETER = 2
# The tightest quantisation in use stores 1.56 bits a parameter; a file cannot hold more of them than this.
_LEAST_BITS_PER_PARAMETER = 1.5

_NOT_INFERENCE = re.compile(
    r"optimizer|optim_states|scheduler|rng_state|random_states|training_args|grad_?scaler|(?:^|[-_.])scaler\.pt|\.pdopt$"
    r"|imatrix|^events\.out"
)
_NOT_INFERENCE_FOLDER = re.compile(r"^(?:checkpoint-\d+|global_step\d+|runs|optimizer|scheduler)$")
_SHARD = re.compile(r"[-_.](\d{5})-of-(\d{5})(?=\.|$)")
# A large file cut by bytes: `model.gguf.part1of2`, `model.safetensors-split-aa`.
_PIECE = re.compile(r"(\.(?:bin|safetensors|gguf|pt|pth|llamafile))[._-]?(?:part|split)[-_.]?[\da-z]+(?:of[-_.]?\d+)?$")
# What a file's name says of a second copy of the same weights: a precision, an optimisation level, averaged weights.
_COPY = re.compile(
    r"[-_.](fp16|fp32|fp8|bf16|f16|f32|u?int[48]|q\d(?:[-_](?:\d|k(?:[-_][sml])?))?(?:f16)?|bnb4|nf4|q?u?int8\w*|quantized|quantised|o[1-4]"
    r"|avx\w*|arm64\w*|non[-_]ema|ema(?:[-_]?only)?|pruned)(?=$|[-_.])"
)
_ADAPTER_NAME = re.compile(r"^(?:adapter_model|pytorch_lora_weights)\b")


@dataclass(frozen=True)
class Variant:
    """One set of weights.

    `parameters` comes from the headers; where the format has none, from the bytes at two each.
    """

    label: str
    format: str
    paths: Sequence[str]
    size_bytes: int
    parameters: int
    complete: bool = True
    """Whether every shard that the names promise is there."""
    adapter: bool = False
    """Whether it only changes the weights of another model."""


def is_weight(path: str) -> bool:
    """Whether inference needs the file at `path` as weights: no optimizer, scheduler, RNG or checkpoint files.

    >>> [is_weight(p) for p in ("model.safetensors", "optimizer.pt", "checkpoint-500/model.safetensors", "README.md")]
    [True, False, False, False]
    """
    *folders, name = path.lower().split("/")
    return (
        component_of(path) is Component.WEIGHTS
        and not _NOT_INFERENCE.search(name)
        and not any(_NOT_INFERENCE_FOLDER.match(folder) for folder in folders)
    )


def read_tensors(path: str, size_bytes: int, read_at: Callable[[str, int, int], bytes]) -> Tensors:
    """Tensors of one weight file: from its header where the format has one, else from its size.

    Args:
        read_at: Bytes of the file at a path, from a start, at most a size.

    Raises:
        BrokenHeader: The header contradicts itself or the size.
        HeaderTooLarge: The header is over 32 MiB.
    """

    def read(start: int, size: int) -> bytes:
        return read_at(path, start, size)

    # By the end of the name: only the first piece of a file cut by bytes has a header, and not for its own bytes.
    if path.lower().endswith(".safetensors"):
        return read_safetensors(read, size_bytes)
    if path.lower().endswith(".gguf"):
        return read_gguf(read, size_bytes)
    return tensors_of_size(size_bytes)


def tensors_of_size(size_bytes: int, parameters: int | None = None) -> Tensors:
    """Tensors of a file of which only the size is known.

    Args:
        parameters: What someone else says of its parameters; believed up to what so many bytes can hold.
    """
    if parameters is None:
        return Tensors(size_bytes // _UNKNOWN_BYTES_PER_PARAMETER, size_bytes)
    return Tensors(min(parameters, int(size_bytes * 8 / _LEAST_BITS_PER_PARAMETER)), size_bytes)


def variants(tensors: Mapping[str, Tensors], paths: Collection[str]) -> Sequence[Variant]:
    """The sets of weights in a package, by label.

    Args:
        tensors: What is known of each weight file, by path.
        paths: Every path in the package: pipelines and adapters are known by the files beside their weights.
    """
    sets: dict[tuple[str, str, str], dict[tuple[str, str], list[str]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted(tensors):
        home, kind, copy, part = _place(path, paths)
        sets[home, kind, copy][part].append(path)
    found: list[Variant] = []
    for (home, kind, copy), parts in sets.items():
        # A second copy of some parts of a pipeline is used together with the plain other parts.
        plain = sets.get((home, kind, ""), {}) if kind != "gguf" else {}
        whole = {**plain, **parts}
        members = [path for part in sorted(whole) for path in whole[part]]
        found.append(_variant("/".join(filter(None, (home, copy))), kind, members, tensors, paths))
    return sorted(found, key=lambda variant: (variant.label, variant.format))


def variants_by_size(
    file_sizes: Mapping[str, int], *, parameters: int | None = None, gguf_parameters: int | None = None
) -> Sequence[Variant]:
    """The sets of weights of a repository of which only the files' sizes are known.

    Args:
        file_sizes: Bytes of every file by path.
        parameters: What the hub counted in the safetensors files.
        gguf_parameters: What it counted in the GGUF files.
    """
    known = {"safetensors": parameters, "gguf": parameters if gguf_parameters is None else gguf_parameters}
    sizes = {path: tensors_of_size(size) for path, size in file_sizes.items() if is_weight(path)}
    found: list[Variant] = []
    for variant in variants(sizes, file_sizes):
        # Counted once for the whole repository, so they belong to each set whole, not to each file.
        whole = tensors_of_size(variant.size_bytes, known.get(variant.format))
        found.append(replace(variant, parameters=whole.parameters))
    return found


def without_decoys(found: Sequence[Variant]) -> Sequence[Variant]:
    """The complete variants with at least half the parameters of the largest."""
    complete = [variant for variant in found if variant.complete]
    most = max((variant.parameters for variant in complete), default=0)
    return [variant for variant in complete if 2 * variant.parameters >= most]


def smallest(found: Sequence[Variant]) -> Variant | None:
    """The variant that takes the least memory, decoys left out; `None` when there is none."""
    return min(without_decoys(found), key=lambda variant: (variant.size_bytes, variant.label), default=None)


def _variant(
    label: str, kind: str, members: Sequence[str], tensors: Mapping[str, Tensors], paths: Collection[str]
) -> Variant:
    return Variant(
        label=label,
        format=kind,
        paths=tuple(members),
        size_bytes=sum(tensors[path].size_bytes for path in members),
        parameters=sum(tensors[path].parameters for path in members),
        complete=_has_all_shards(members),
        adapter=all(_is_adapter(path, paths) for path in members),
    )


def _place(path: str, paths: Collection[str]) -> tuple[str, str, str, tuple[str, str]]:
    """The set that a file belongs to (folder, format, copy), and the part of the set that it is."""
    folder, _, name = path.rpartition("/")
    kind = _format(path)
    stem = _SHARD.sub("", _stem(name))
    if kind == "gguf":
        return folder, kind, stem, ("", stem)
    copies = _COPY.findall(stem.lower())
    base = _COPY.sub("", stem.lower())
    return _home(folder, paths), kind, "-".join(copies), (folder, base)


def _home(folder: str, paths: Collection[str]) -> str:
    """The folder of the pipeline that `folder` is a part of, or itself.

    `model_index.json` makes every sub-folder a part of one pipeline, `modules.json` those that begin with a number.
    """
    parent, _, last = folder.rpartition("/")
    prefix = f"{parent}/" if parent else ""
    if folder and f"{prefix}model_index.json" in paths:
        return f"{prefix}*"
    if re.match(r"\d+_", last) and f"{prefix}modules.json" in paths:
        return parent
    return folder


def _format(path: str) -> str:
    name = path.lower().rpartition("/")[2]
    if ".onnx" in name:
        return "onnx"
    if re.search(r"\.data-\d{5}-of-\d{5}$|\.index$|\.meta$|saved_model\.pb$", name):
        return "tensorflow"
    return _PIECE.sub(r"\1", name).rpartition(".")[2]


def _stem(name: str) -> str:
    lower = name.lower()
    end = lower.find(".onnx") if ".onnx" in lower else _PIECE.sub(r"\1", lower).rfind(".")
    return name[:end] if end > 0 else name


def _has_all_shards(members: Sequence[str]) -> bool:
    promised: dict[tuple[str, int], set[int]] = defaultdict(set)
    for path in members:
        shard = _SHARD.search(path)
        # TensorFlow counts its shards from 0, everybody else from 1.
        if shard and ".data-" not in path:
            promised[_SHARD.sub("", path), int(shard[2])].add(int(shard[1]))
    return all(numbers >= set(range(1, total + 1)) for (_, total), numbers in promised.items())


def _is_adapter(path: str, paths: Collection[str]) -> bool:
    folder, _, name = path.rpartition("/")
    prefix = f"{folder}/" if folder else ""
    if _ADAPTER_NAME.match(name.lower()):
        return True
    return f"{prefix}adapter_config.json" in paths and f"{prefix}config.json" not in paths
