"""The batch command: the models that a file names, weighed without server or database, an object a line."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from weighhouse.doors.cli.batch_environment import (
    Environment,
    cache_folder,
    log_to_file,
    read_environment,
    require_valid_token,
)
from weighhouse.rules.url_file import Line, Unread, read_url_file

if TYPE_CHECKING:
    from weighhouse.doors.cli.batch_output import Printer

# What a run needs is imported when it runs: the other commands start in a fraction of the time without it.

AT_ONCE = 16
"""Models weighed side by side: they mostly wait for hosts, which take few questions at once."""


class NotUnderstood(click.UsageError):
    """The command line cannot be followed, and so gave no object for any line."""

    exit_code = 1


class BatchCommand(click.Command):
    """A command whose status is 1 also when it was not understood: 0 says that every line gave an object."""

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        """The parsed command line.

        Raises:
            NotUnderstood: It has an option that there is not, or a value that cannot be.
        """
        try:
            return super().make_context(*args, **options)
        except click.UsageError as error:
            raise NotUnderstood(error.format_message(), error.ctx) from error


@click.command("batch", cls=BatchCommand)
@click.argument("url_file", metavar="URL_FILE", type=click.Path(path_type=Path), required=False)
@click.option("--explain", is_flag=True, help="Add coverage, bounds and the evidence record of every metric.")
@click.option("--nulls", type=click.Choice(["null", "-1"]), default="null", help="What stands for no score [null].")
@click.option("--table", "as_table", is_flag=True, help="Print tables with bars for people instead of JSON.")
@click.option(
    "--local",
    "folder",
    metavar="PATH",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with the model's files.",
)
@click.option(
    "--at-once", type=click.IntRange(1, 64), default=AT_ONCE, metavar="N", help=f"Models weighed at once [{AT_ONCE}]."
)
def batch(url_file: Path | None, explain: bool, nulls: str, as_table: bool, folder: Path | None, at_once: int) -> None:
    """Weigh the models that a file names, one JSON object a line, in the file's order.

    A line is `code_url, dataset_url, model_url`; the first two may be blank, and a lone address is the model's. The
    command may be left out: `weighhouse FILE` does the same. Tokens and hosts come from the environment: GITHUB_TOKEN,
    HF_TOKEN, GITHUB_API_URL, HF_ENDPOINT, LOG_FILE, LOG_LEVEL.

    \b
    Examples:
      weighhouse sample_input
      weighhouse sample_input --table
      weighhouse sample_input --explain | jq .evidence.license
      weighhouse batch --local ./my-model --table
    """
    if url_file is None and folder is None:
        raise NotUnderstood("Give a URL_FILE, or a folder with --local.")
    environment = read_environment()
    entries = _entries(url_file, folder, environment.hf_endpoint)
    log_to_file(environment)
    lines = [entry for entry in entries if isinstance(entry, Line)]
    require_valid_token(environment, [line.code_url for line in lines if line.code_url])
    printer = _printer(as_table, explain, -1 if nulls == "-1" else None)
    try:
        status = 0 if _run(entries, environment, folder, printer, at_once) else 1
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:
        # The reader of a pipe left; the interpreter must not find that out once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    _leave(status)


def _entries(url_file: Path | None, folder: Path | None, endpoint: str) -> Sequence[Line | Unread]:
    """The lines of the file; without one, the folder's model alone.

    Raises:
        NotUnderstood: The file cannot be read, or does not name the one model whose files `folder` holds.
    """
    if url_file is None:
        return [Line(1, folder.resolve().name, None)] if folder else []
    entries = read_url_file(_text(url_file), endpoint=endpoint)
    if folder is not None and len(entries) != 1:
        raise NotUnderstood(f"With --local the file must name one model; {url_file} names {len(entries)}.")
    return entries


def _text(url_file: Path) -> str:
    try:
        content = sys.stdin.buffer.read() if str(url_file) == "-" else url_file.read_bytes()
    except FileNotFoundError:
        raise NotUnderstood(f"There is no file {url_file}.") from None
    except IsADirectoryError:
        raise NotUnderstood(f"{url_file} is a folder. Weigh it with: weighhouse batch --local {url_file}") from None
    except OSError as error:
        raise NotUnderstood(f"{url_file} cannot be read: {error.strerror}.") from error
    if b"\0" in content:
        raise NotUnderstood(f"{url_file} is not a text file. It must hold a line for each model.")
    return content.decode("utf-8", errors="replace")


def _printer(as_table: bool, explain: bool, null: int | None) -> "Printer":
    from weighhouse.doors.cli.batch_output import JsonLines, Tables

    return Tables(explain=explain) if as_table else JsonLines(null=null, explain=explain)


def _run(
    entries: Sequence[Line | Unread], environment: Environment, folder: Path | None, printer: "Printer", at_once: int
) -> bool:
    """Prints what comes of each line; whether it was an object each time."""
    from weighhouse.doors.cli.batch_output import complain, running_bar
    from weighhouse.doors.cli.batch_run import Batch, local_files
    from weighhouse.sources.cache import FolderCache

    lines = [entry for entry in entries if isinstance(entry, Line)]
    local = local_files(folder) if folder else None
    is_complete = True
    with cache_folder(environment) as kept, running_bar(len(entries)) as bar:
        weighed = Batch(lines, environment, FolderCache(kept), local).weigh_all(at_once=at_once)
        for entry in entries:
            outcome = next(weighed) if isinstance(entry, Line) else entry
            bar.advance()
            with bar.away():
                if isinstance(outcome, Unread):
                    is_complete = False
                    complain(outcome.number, outcome.detail)
                else:
                    printer.show(outcome)
    return is_complete


def _leave(status: int) -> NoReturn:
    """Ends the process; a thread that hangs in somebody else's network does not hold it up."""
    from weighhouse.doors.cli.batch_run import is_at_work

    if is_at_work():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)
