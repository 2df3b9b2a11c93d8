"""The command tree."""

import sys
from importlib.metadata import version
from pathlib import Path

import click

from weighhouse.doors.cli import serve
from weighhouse.doors.cli.audit import audit
from weighhouse.doors.cli.backup import backup, restore
from weighhouse.doors.cli.batch import NotUnderstood, batch
from weighhouse.doors.cli.gc import gc
from weighhouse.doors.cli.provenance import rotate_key
from weighhouse.doors.cli.remote import commands
from weighhouse.doors.cli.scan import scan
from weighhouse.doors.cli.verify import verify
from weighhouse.rules.errors import RegistryError


class _Tree(click.Group):
    """Commands in the order they were added, and named all when one is asked for that does not exist."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first argument names; else the batch command, for the file that it names.

        Raises:
            NotUnderstood: It names neither.
        """
        first = args[0]
        if self.get_command(ctx, first) is None and (first == "-" or not first.startswith("-")):
            if first != "-" and not _is_there(first):
                raise NotUnderstood(
                    f"{first} is neither a command nor a file. The commands are {', '.join(self.commands)}.", ctx
                )
            return batch.name, batch, args
        return super().resolve_command(ctx, args)


def _is_there(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:
        # Longer than any name of a file.
        return False


@click.group(cls=_Tree, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("weighhouse"), prog_name="weighhouse")
def tree() -> None:
    """Weighhouse weighs machine-learning models before a team may use them.

    \b
    Start a server on this machine, then talk to it:
      ./run serve
      ./run login --username admin
      ./run upload ./my-model
      ./run search bert

    \b
    Or weigh the models that a file names, without a server, one JSON object a line:
      ./run sample_input
      ./run sample_input --table
    """


for command in (
    serve.serve,
    serve.worker,
    serve.migrate,
    backup,
    restore,
    verify,
    audit,
    gc,
    rotate_key,
    scan,
    batch,
    *commands,
):
    tree.add_command(command)


def main() -> None:
    """The command line: exit status 0 when it was done, 1 when it could not be, 2 when it was not understood."""
    try:
        tree(prog_name="weighhouse")
    except RegistryError as error:
        click.echo(f"Error: {error.detail}", err=True)
        sys.exit(1)
