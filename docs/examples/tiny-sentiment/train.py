"""Trains the word weights of this model from data/train.csv and writes model.safetensors and eval_results.json."""

import csv
import json
import math
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

FOLDER = Path(__file__).parent
EPOCHS = 200
STEP = 0.5


def read_rows(path: Path) -> list[tuple[list[str], int]]:
    """Words and label (0 or 1) of each line."""
    with path.open(newline="") as file:
        return [(row["text"].lower().split(), int(row["label"])) for row in csv.DictReader(file)]


def probability(words: Sequence[str], weights: dict[str, float]) -> float:
    """How likely the text is positive."""
    return 1 / (1 + math.exp(-sum(weights.get(word, 0.0) for word in words)))


def fit(rows: Sequence[tuple[list[str], int]]) -> dict[str, float]:
    """The weight of each word, by gradient descent."""
    weights = {word: 0.0 for words, _ in rows for word in words}
    for _ in range(EPOCHS):
        for words, label in rows:
            error = label - probability(words, weights)
            for word in words:
                weights[word] += STEP * error / len(words)
    return weights


def safetensors(weights: Sequence[float]) -> Iterator[bytes]:
    """The bytes of a safetensors file with one tensor."""
    tensor = {"dtype": "F32", "shape": [len(weights)], "data_offsets": [0, 4 * len(weights)]}
    header = json.dumps({"weights": tensor}).encode()
    yield struct.pack("<Q", len(header)) + header
    yield struct.pack(f"<{len(weights)}f", *weights)


def main() -> None:
    """Trains on one file and measures on the other."""
    weights = fit(read_rows(FOLDER / "data" / "train.csv"))
    vocabulary = sorted(weights)
    (FOLDER / "vocab.txt").write_text("".join(f"{word}\n" for word in vocabulary))
    (FOLDER / "model.safetensors").write_bytes(b"".join(safetensors([weights[word] for word in vocabulary])))
    test = read_rows(FOLDER / "data" / "test.csv")
    right = sum((probability(words, weights) > 0.5) == bool(label) for words, label in test)
    results = {"eval_accuracy": right / len(test), "eval_samples": len(test)}
    (FOLDER / "eval_results.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
