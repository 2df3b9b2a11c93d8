"""The command that looks whether what is kept is what was put in."""

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from weighhouse.doors.cli.configuration import configure_logging, read_settings
from weighhouse.doors.cli.output import clean, size
from weighhouse.doors.cli.progress import progress

if TYPE_CHECKING:
    from weighhouse.registry.integrity import Report, Sample

# What the command runs is imported when it runs: the others start in a fraction of the time without it.

_MEGABYTE = 1_000_000
_ADVICE = {
    "missing": "Upload its package's files again under any name, which brings the blob back, or restore a backup.",
    "corrupt": "Remove the damaged file from the store and upload it again, or restore a backup. Look after the disk.",
    "contradictory": "Somebody changed the database by hand. Restore a backup.",
    "orphaned": "They do no harm: weighhouse gc removes them.",
}


def _sample(ctx: click.Context, param: click.Parameter, value: str | None) -> "Sample | None":
    """The sample that `100` or `5%` asks for."""
    if value is None:
        return None
    from weighhouse.registry.integrity import Sample

    match = re.fullmatch(r"(\d+)|(\d+(?:\.\d+)?)%", value)
    if match is None or (match[2] and float(match[2]) > 100):
        raise click.BadParameter("must be a number of blobs, or a share of them like 5%.", ctx, param)
    return Sample(count=int(match[1])) if match[1] else Sample(share=float(match[2]) / 100)


@click.command()
@click.option("--sample", callback=_sample, metavar="N|P%", help="Read only so many blobs, chosen by chance [all].")
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    metavar="MB/S",
    help="Read at most so many megabytes a second.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--data-dir", type=Path, metavar="DIR", help="The data directory of the registry [./data].")
def verify(sample: "Sample | None", rate: float | None, as_json: bool, data_dir: Path | None) -> None:
    """Read what is kept and compare it with what was put in; the registry may go on serving.

    Tells of blobs that are missing or damaged, of packages whose rows do not go together, and of bytes that belong to
    nothing. Exit code 1 when a package is harmed.

    \b
    Examples:
      weighhouse verify
      weighhouse verify --sample 5% --rate 50
    """
    settings = read_settings(data_dir=data_dir)
    configure_logging(settings)
    from weighhouse.doors.cli.local import local_registry
    from weighhouse.registry.integrity import EVERYTHING, blobs_total, verify_registry

    with local_registry(settings) as app:
        total_bytes = blobs_total(app)[1] if sample is None else None
        with progress("verifying", total_bytes) as moved:
            report = verify_registry(
                app,
                sample=sample or EVERYTHING,
                bytes_per_second=rate * _MEGABYTE if rate is not None else None,
                moved=moved,
            )
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(report) | {"is_clean": report.is_clean}))
    else:
        for line in _lines(report):
            click.echo(line)
    if not report.is_clean:
        raise SystemExit(1)


def _lines(report: "Report") -> Iterator[str]:
    for found in report.findings:
        harmed = f" (in {', '.join(map(clean, found.packages))})" if found.packages else ""
        yield f"{found.trouble}: {clean(found.subject)}: {found.detail}{harmed}"
    for trouble, count in report.counts.items():
        if count:
            yield f"{count} {trouble}. {_ADVICE[trouble]}"
    read = f"{report.blobs_checked} blobs ({size(report.bytes_read)}) and {report.packages_checked} packages"
    yield f"{read} were looked at: {'all is well' if report.is_clean else 'something is wrong'}."
