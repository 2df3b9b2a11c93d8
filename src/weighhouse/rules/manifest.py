"""The files of a package: path, size, digests and component of each, and what a component download holds."""

import hashlib
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum

from weighhouse.rules.errors import NotFound


class Component(StrEnum):
    """What a file is to the package."""

    WEIGHTS = "weights"
    DATASETS = "datasets"
    CODE = "code"
    OTHER = "other"


# Those that a download can ask for, in the order of its name; `other` comes with each of them.
ASKABLE = (Component.WEIGHTS, Component.DATASETS, Component.CODE)


@dataclass(frozen=True, slots=True)
class File:
    """A file of a package.

    Args:
        path: Where it is in the package, parts separated by `/`.
        sha256: Digest of its bytes in lower-case hexadecimal; the name of its blob.
        crc32: Checksum that its entry in a ZIP carries.
    """

    path: str
    size_bytes: int
    sha256: str
    crc32: int
    component: Component


@dataclass(frozen=True, slots=True)
class Choice:
    """Components of a download: those that are in it, and those that were asked for and are nowhere in the package."""

    included: tuple[Component, ...]
    missing: tuple[Component, ...]


@dataclass(frozen=True, slots=True)
class Selection:
    """What a component download holds.

    Args:
        files: Its files, in the order of the manifest.
        included: Those components that were asked for and are in it.
        missing: Those that were asked for and are nowhere in the package.
    """

    files: tuple[File, ...]
    included: tuple[Component, ...]
    missing: tuple[Component, ...]


class ComponentsMissing(NotFound):
    """The package has nothing of what was asked for."""

    def __init__(self, missing: Iterable[Component]) -> None:
        self.components_missing = [str(component) for component in missing]
        super().__init__(
            f"This package has no {' and no '.join(self.components_missing)}. Leave out the component to get all of it."
        )


def _words(text: str) -> frozenset[str]:
    """The words of `text`."""
    return frozenset(text.split())


_CODE = _words(
    "py pyi pyx pxd ipynb sh bash zsh fish bat cmd ps1 c cc cpp cxx h hh hpp hxx cu cuh cl metal m mm java js mjs cjs jsx "
    "ts tsx vue svelte go rs rb jl r rmd cs fs kt kts swift scala lua sql pl pm php hs ml mli ex exs erl clj dart zig nim "
    "f f90 f95 asm s v sv proto thrift cmake mk gradle groovy nix tf dockerfile jinja j2 stan"
)
_CODE_NAMES = _words(
    "dockerfile containerfile makefile gnumakefile rakefile gemfile jenkinsfile snakefile justfile procfile vagrantfile "
    ".bashrc .profile"
)
_WEIGHTS = _words(
    "safetensors bin pt pth ckpt gguf ggml onnx ort pb tflite litertlm task h5 hdf5 keras joblib pkl pickle dill cloudpickle "
    "skops npy npz msgpack mlmodel mlpackage mlmodelc pte ptl ptc engine plan trt llamafile ot nemo mar dduf "
    "torchscript jit pdparams pdopt pdiparams pdmodel caffemodel params weights rknn om mnn ncnn tmfile ubj cbm distcp"
)
# Weights whose name says more than its end: sharded checkpoints of TensorFlow, tensors beside an ONNX graph, split files.
_WEIGHTS_NAME = re.compile(
    r".*\.data-\d+-of-\d+|variables\.index|.*(?:ckpt|model).*\.(?:index|meta)|.*\.onnx[._-]?data(?:[._-]?\d+)?"
    r"|(?:model|weights?).*\.data|.*\.(?:bin|safetensors|gguf|pt|pth|llamafile)\.?(?:part|split)[-_.]?[\da-z]+(?:of[-_.]?\d+)?"
)
_DATASETS = _words("csv tsv parquet arrow jsonl ndjson feather tfrecord tfrecords tar orc avro lance")
_DATASETS_NAME = re.compile(
    r".*\.(?:csv|tsv|parquet|arrow|jsonl|ndjson|feather|tfrecords?)(?:\.(?:gz|bz2|xz|zst|lz4)|-\d+-of-\d+(?:\.gz)?)"
)
# Vocabularies come in these formats too; a neural tokenizer comes as safetensors or pt and is weights.
_VOCABULARY = re.compile(
    r"(?:.*[-_.])?(?:vocab|vocabulary|tokenizer|merges)\.(?:bin|pkl|pickle|joblib|dill|msgpack|csv|tsv|npy|jsonl|pb)"
)


def component_of(path: str) -> Component:
    """What the file at `path` is to the package, by its name alone.

    Code is code wherever it is. Below a folder `data` or `datasets` everything else is a dataset. Then the format decides.

    >>> [str(component_of(path)) for path in ("src/data/loader.py", "data/notes.txt", "model.safetensors", "README.md")]
    ['code', 'datasets', 'weights', 'other']
    """
    *folders, name = path.lower().split("/")
    end = name.rpartition(".")[2] if "." in name else ""
    if end in _CODE or name in _CODE_NAMES or name.startswith("dockerfile."):
        return Component.CODE
    if not {"data", "datasets"}.isdisjoint(folders):
        return Component.DATASETS
    if _VOCABULARY.fullmatch(name):
        return Component.OTHER
    if end in _WEIGHTS or _WEIGHTS_NAME.fullmatch(name):
        return Component.WEIGHTS
    if end in _DATASETS or _DATASETS_NAME.fullmatch(name):
        return Component.DATASETS
    return Component.OTHER


def choose(present: Collection[Component], wanted: Collection[Component]) -> Choice:
    """Which components a download holds.

    Args:
        present: Components that the package has.
        wanted: Components that were asked for; none stands for the whole package.

    Raises:
        ComponentsMissing: Some were asked for, and the package has none of them.
    """
    asked = [component for component in ASKABLE if component in wanted]
    included = tuple(component for component in asked or ASKABLE if component in present)
    missing = tuple(component for component in asked if component not in present)
    if missing and not included:
        raise ComponentsMissing(missing)
    return Choice(included, missing)


def select(files: Iterable[File], wanted: Collection[Component]) -> Selection:
    """The files of a download: those of the components wanted, and all that are `other`.

    Args:
        files: The whole manifest.
        wanted: Components that were asked for; none stands for the whole package.

    Raises:
        ComponentsMissing: Some were asked for, and the package has none of them.
    """
    files = tuple(files)
    choice = choose({file.component for file in files}, wanted)
    held = {*choice.included, Component.OTHER}
    return Selection(tuple(file for file in files if file.component in held), choice.included, choice.missing)


def variant_name(components: Collection[Component]) -> str:
    """File name of the ZIP with these components; none or all of them is the whole package.

    >>> variant_name({Component.CODE, Component.WEIGHTS}), variant_name(())
    ('weights-code.zip', 'package.zip')
    """
    asked = [component for component in ASKABLE if component in components]
    return f"{'-'.join(asked) if 0 < len(asked) < len(ASKABLE) else 'package'}.zip"


def components_of(variant: str) -> tuple[Component, ...]:
    """The components that the file name of a ZIP asks for; none for the whole package.

    >>> [str(component) for component in components_of("weights-code.zip")], components_of("package.zip")
    (['weights', 'code'], ())
    """
    named = variant.removesuffix(".zip").split("-")
    return tuple(component for component in ASKABLE if component.value in named)


def is_variant_name(text: str) -> bool:
    """Whether this is what the ZIP of a package, or of some of its components, is called.

    >>> is_variant_name("weights-code.zip"), is_variant_name("code-weights.zip")
    (True, False)
    """
    return variant_name(components_of(text)) == text


def in_order(files: Iterable[File]) -> tuple[File, ...]:
    """`files` by the bytes of their paths, the order that digests and ZIPs use."""
    # UTF-8 keeps the order of code points, so text sorts as its bytes would.
    return tuple(sorted(files, key=lambda file: file.path))


def digest(files: Iterable[File]) -> str:
    """SHA-256 that names a manifest, in hexadecimal: the same paths with the same bytes have the same.

    The component is not part of it: it follows from the path, and may follow otherwise in a later release.
    """
    text = hashlib.sha256(b"weighhouse manifest 1\n")
    for file in in_order(files):
        path = file.path.encode("utf-8")
        text.update(b"%s %d %d %s\n" % (file.sha256.encode("ascii"), file.size_bytes, len(path), path))
    return text.hexdigest()
