"""Loads the model and says how positive a text is."""

import json
import math
import struct
from pathlib import Path


def load(path: str) -> dict[str, float]:
    """The weight of each word of the model at `path`, read from the safetensors file by hand."""
    content = Path(path).read_bytes()
    (length,) = struct.unpack_from("<Q", content)
    (count,) = json.loads(content[8 : 8 + length])["weights"]["shape"]
    words = Path(path).with_name("vocab.txt").read_text().split()
    return dict(zip(words, struct.unpack_from(f"<{count}f", content, 8 + length), strict=True))


def predict(text: str, weights: dict[str, float]) -> float:
    """How likely the text is positive, from 0 to 1."""
    return 1 / (1 + math.exp(-sum(weights.get(word, 0.0) for word in text.lower().split())))
