"""Trains the word weights of this model from data/train.csv and writes model.safetensors and eval_results.json."""

import csv
import json
import math
import struct
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).parent
EPOCHS = 200
STEP = 0.5

Row = tuple[list[str], int]


class WordWeights:
    """One weight a word; their sum says how positive a text is."""

    def __init__(self) -> None:
        self.weights: dict[str, float] = {}

    def probability(self, words: Sequence[str]) -> float:
        """How likely the text is positive."""
        return 1 / (1 + math.exp(-sum(self.weights.get(word, 0.0) for word in words)))

    def fit(self, rows: Sequence[Row]) -> None:
        """Learns the weights by gradient descent."""
        self.weights = {word: 0.0 for words, _ in rows for word in words}
        for _ in range(EPOCHS):
            for words, label in rows:
                error = label - self.probability(words)
                for word in words:
                    self.weights[word] += STEP * error / len(words)

    def accuracy(self, rows: Sequence[Row]) -> float:
        """The share of texts that are judged as their label says."""
        return sum((self.probability(words) > 0.5) == bool(label) for words, label in rows) / len(rows)

    def save(self, folder: Path) -> None:
        """Writes the words and, in their order, the weights as a safetensors file with one tensor."""
        words = sorted(self.weights)
        (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in words))
        tensor = {"dtype": "F32", "shape": [len(words)], "data_offsets": [0, 4 * len(words)]}
        header = json.dumps({"weights": tensor}).encode()
        content = struct.pack(f"<{len(words)}f", *(self.weights[word] for word in words))
        (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + content)


def read_rows(path: Path) -> list[Row]:
    """Words and label (0 or 1) of each line."""
    with path.open(newline="") as file:
        return [(row["text"].lower().split(), int(row["label"])) for row in csv.DictReader(file)]


def main() -> None:
    """Trains on one file and measures on the other."""
    model = WordWeights()
    model.fit(read_rows(FOLDER / "data" / "train.csv"))
    model.save(FOLDER)
    test = read_rows(FOLDER / "data" / "test.csv")
    results = {"eval_accuracy": model.accuracy(test), "eval_samples": len(test)}
    (FOLDER / "eval_results.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
