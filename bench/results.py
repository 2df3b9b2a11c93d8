"""What a row measured, and the table of all of them."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Scale:
    """How long and how large a run is.

    Args:
        work: Folder for everything that is measured; nothing is left in it.
        catalogues: Folder where filled data directories are kept for the next run.
        runs: Repetitions, of which the median counts.
        seconds: Length of one load.
        versions: Package versions of the small and the large catalogue.
        file_bytes: Size of the large weight file.
    """

    work: Path
    catalogues: Path
    runs: int
    seconds: float
    versions: tuple[int, int]
    file_bytes: int


@dataclass(frozen=True)
class Row:
    """One figure."""

    number: str
    what: str
    figure: float
    limit: float
    unit: str = "×"
    at_least: bool = False
    """Whether the figure has to reach the limit, or stay within it."""
    detail: str = ""

    @property
    def is_reached(self) -> bool:
        """Whether the figure is as good as it has to be."""
        return self.figure >= self.limit if self.at_least else self.figure <= self.limit

    def line(self) -> str:
        """The row as Markdown."""
        sign = "≥" if self.at_least else "≤"
        verdict = "reached" if self.is_reached else "**missed**"
        return (
            f"| {self.number} | {self.what} | {self.figure:.2f} {self.unit} | {sign} {self.limit:g} {self.unit} "
            f"| {verdict} | {self.detail} |"
        )


HEAD = "| row | what | measured | to reach | | how it came |\n| --- | --- | --- | --- | --- | --- |"


def spread(values: Sequence[float]) -> str:
    """Median and range of what several runs measured."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def alternately(
    runs: int, reference: Callable[[], float], subject: Callable[[], float]
) -> tuple[list[float], list[float]]:
    """What both measured, one after the other in each run, so that a busy machine slows both."""
    pairs = [(reference(), subject()) for _ in range(runs)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def ratio(references: Sequence[float], subjects: Sequence[float]) -> float:
    """Median over the runs of subject by reference."""
    return statistics.median(subject / reference for reference, subject in zip(references, subjects, strict=True))
