"""Measures Weighhouse against references in the same run, and prints a table: `python -m bench --help`."""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import composing, direct, machines, searching, transfers, weighing
from bench.catalogue import make_catalogue
from bench.results import HEAD, Row, Scale

_FREE_BYTES = 30 * 1024**3
_ROWS = "1 2 3 4 7 8 9 10 11 12 13 14 15"


def main() -> int:
    """Runs the rows that were asked for; 1 when a figure was missed."""
    given = _arguments()
    if shutil.disk_usage(given.work).free < _FREE_BYTES:
        print(f"Less than 30 GiB are free in {given.work}. Give another folder by --work.", file=sys.stderr)
        return 2
    work = Path(tempfile.mkdtemp(prefix="weighhouse-bench-", dir=given.work))
    try:
        scale = Scale(
            work=work,
            catalogues=given.catalogues or work,
            runs=given.runs,
            seconds=given.seconds,
            versions=(10_000, given.versions),
            file_bytes=int(given.gibibytes * 1024**3),
        )
        rows = _measure(scale, given.rows)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print("\n" + "\n".join([HEAD, *(row.line() for row in rows)]))
    return 0 if all(row.is_reached for row in rows) else 1


def _measure(scale: Scale, wanted: Sequence[str]) -> list[Row]:
    subjects: dict[str, Callable[[], list[Row]]] = {
        "1": lambda: searching.read_rates(_catalogue(scale, 0), scale),
        "2": lambda: searching.search_growth(_catalogue(scale, 0), _catalogue(scale, 1), scale),
        "3": lambda: searching.page_depth(_catalogue(scale, 1), scale),
        "4": lambda: transfers.transfer_large(scale),
        "7": lambda: transfers.download_crowd(scale),
        "8": lambda: transfers.cold_start(_catalogue(scale, 0), scale),
        "9": lambda: weighing.batch_of_models(scale),
        "10": lambda: weighing.large_package(scale),
        "11": lambda: weighing.long_history(scale),
        "12": lambda: weighing.license_checks(scale),
        "13": lambda: machines.two_servers(_catalogue(scale, 0), scale),
        "14": lambda: composing.compose_large(scale),
        "15": lambda: direct.upload_direct(scale),
    }
    rows = []
    for number in wanted:
        for row in subjects[number]():
            print(row.line(), file=sys.stderr, flush=True)
            rows.append(row)
    return rows


def _catalogue(scale: Scale, which: int) -> Path:
    """The data directory of a catalogue, made when there is none yet."""
    count = scale.versions[which]
    folder = scale.catalogues / f"catalogue-{count}"
    finished = scale.catalogues / f"catalogue-{count}.made"
    if not finished.exists():
        print(f"making a catalogue of {count} package versions", file=sys.stderr, flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        make_catalogue(folder, count)
        finished.touch()
    return folder


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--rows", nargs="+", choices=_ROWS.split(), default=_ROWS.split(), help="4 measures 5 and 6 too"
    )
    parser.add_argument("--runs", type=int, default=3, help="repetitions, of which the median counts [3]")
    parser.add_argument("--seconds", type=float, default=4, help="length of one load [4]")
    parser.add_argument(
        "--versions", type=int, default=1_000_000, help="package versions of the large catalogue [1000000]"
    )
    parser.add_argument("--gibibytes", type=float, default=2, help="size of the large package [2]")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()), help="where files go until the end")
    parser.add_argument(
        "--catalogues", type=Path, help="folder where catalogues are kept for the next run [thrown away]"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
