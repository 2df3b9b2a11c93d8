"""Which files of a hub repository make a package: all of them, but not the same weights twice."""

import re
from collections import Counter
from collections.abc import Mapping

from weighhouse.rules.weights import Variant, variants_by_size

# Formats in which training frameworks keep what safetensors hold too. GGUF and ONNX are for other programs, and stay.
_OLDER = frozenset({"bin", "pt", "pth", "ckpt", "h5", "msgpack", "ot", "tensorflow"})
# Half the bytes a parameter (float16 beside float32), with some room for the headers.
_LEAST_SHARE = 0.45

_INDEX = re.compile(r"\.(bin|pt|pth|ckpt|h5|msgpack)\.index(?:\.[\w-]+)?\.json$")


def repeated_weights(file_sizes: Mapping[str, int]) -> frozenset[str]:
    """Files that hold once more, in an older format, the weights that complete safetensors in the same folder hold.

    >>> sorted(repeated_weights({"model.safetensors": 500, "pytorch_model.bin": 501, "model.gguf": 300}))
    ['pytorch_model.bin']
    """
    found = variants_by_size(file_sizes)
    safe = [_by_folder(one, file_sizes) for one in found if one.format == "safetensors" and one.complete]
    repeated: set[str] = set()
    for variant in found:
        if variant.format not in _OLDER:
            continue
        for folder, size in _by_folder(variant, file_sizes).items():
            # Safetensors much smaller than what is beside them are something else: an adapter, a decoy.
            if any(held.get(folder, 0) >= _LEAST_SHARE * size > 0 for held in safe):
                repeated |= {path for path in variant.paths if _folder(path) == folder}
    return frozenset(repeated | _indexes(file_sizes, repeated))


def _indexes(file_sizes: Mapping[str, int], repeated: set[str]) -> set[str]:
    """Lists of shards that are left out."""
    gone = {(_folder(path), path.rpartition(".")[2]) for path in repeated}
    return {path for path in file_sizes if (index := _INDEX.search(path)) and (_folder(path), index[1]) in gone}


def _by_folder(variant: Variant, file_sizes: Mapping[str, int]) -> Counter[str]:
    sizes: Counter[str] = Counter()
    for path in variant.paths:
        sizes[_folder(path)] += file_sizes[path]
    return sizes


def _folder(path: str) -> str:
    return path.rpartition("/")[0]
