"""The manners that remote commands share: which server and token, Ctrl-C, passwords, and asking before harm is done."""

import contextlib
import errno
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import click

from weighhouse.doors.cli.client import DEFAULT_SERVER, Interrupted, Refused, Server, is_loopback, server_url
from weighhouse.doors.cli.credentials import Credentials, SignIn
from weighhouse.doors.cli.output import Output, note
from weighhouse.rules.errors import RegistryError


@dataclass(frozen=True)
class Remote:
    """What a remote command works with: a server and a way to answer."""

    server: Server
    output: Output


@contextlib.contextmanager
def connected(server: str | None, token: str | None, as_json: bool) -> Iterator[Remote]:
    """The server named by option or environment, else the current one, else the default; its token likewise."""
    credentials = Credentials()
    url = server_url(server or credentials.current or DEFAULT_SERVER)
    remembered = credentials.servers.get(url, SignIn("")).token
    client = Server(url, (token or remembered).strip())
    try:
        yield Remote(client, Output(as_json))
    finally:
        client.close()


class RemoteCommand(click.Command):
    """A command whose Ctrl-C exits 130, and whose trouble with a file or a rule is one sentence."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command.

        Raises:
            Interrupted: The user pressed Ctrl-C.
            Refused: A file could not be read or written, or broke a rule of the registry.
        """
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, click.Abort):
            raise Interrupted from None
        except RegistryError as error:
            raise Refused(error.detail) from error
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise  # The reader of a pipe left; click ends quietly.
            where = f"{error.filename}: " if error.filename else ""
            raise Refused(f"{where}{error.strerror or error}.") from error


def remote_command(name: str) -> Callable[[Callable[..., None]], RemoteCommand]:
    """A click command that gets a `Remote` first and takes `--server`, `--token` and `--json` after its own options.

    The function's docstring is the help; its other arguments are declared with click's decorators.
    """

    def declare(function: Callable[..., None]) -> RemoteCommand:
        def run(server: str | None, token: str | None, as_json: bool, **options: Any) -> None:
            with connected(server, token, as_json) as remote:
                function(remote, **options)

        own: list[click.Parameter] = list(reversed(getattr(function, "__click_params__", [])))
        return RemoteCommand(name, callback=run, params=own + _shared_options(), help=function.__doc__)

    return declare


def _shared_options() -> list[click.Parameter]:
    return [
        click.Option(
            ["--server"],
            metavar="URL",
            envvar="WEIGHHOUSE_SERVER",
            help=f"The server to talk to; else WEIGHHOUSE_SERVER, the last login's, {DEFAULT_SERVER}.",
        ),
        click.Option(
            ["--token"],
            metavar="TOKEN",
            envvar="WEIGHHOUSE_TOKEN",
            help="The token to show; else WEIGHHOUSE_TOKEN or the login's. Prefer those: others see a command line.",
        ),
        click.Option(["--json", "as_json"], is_flag=True, help="Print the server's JSON instead of tables."),
    ]


def read_password(label: str, from_stdin: bool, *, confirm: bool = False) -> str:
    """A password typed unseen, or standard input's first line.

    Raises:
        click.UsageError: There is no terminal to ask on.
    """
    if from_stdin:
        return sys.stdin.readline().removesuffix("\n").removesuffix("\r")
    if not sys.stdin.isatty():
        raise click.UsageError("There is no terminal to ask for a password on; send it with --password-stdin.")
    typed: str = click.prompt(label, hide_input=True, err=True, confirmation_prompt=confirm)
    return typed


def refuse_plain_password(url: str, insecure: bool) -> None:
    """Let a password go only where nobody can read it on the way.

    Raises:
        Refused: The way is plain http to another machine.
    """
    parts = urlsplit(url)
    if parts.scheme == "http" and not is_loopback(parts.hostname or "") and not insecure:
        raise Refused(
            f"A password to {url} could be read on the way. Use the server's https address, or --insecure if the "
            "network is yours."
        )


def confirm(word: str, warning: str) -> None:
    """Go on only when `word` is typed.

    Raises:
        click.UsageError: There is no terminal to type on.
        Refused: Something else was typed.
    """
    if not sys.stdin.isatty():
        raise click.UsageError("There is no terminal to confirm on; see --help for how scripts do.")
    note(warning)
    if str(click.prompt(f"Type {word} to go on", err=True, default="", show_default=False)).strip() != word:
        raise Refused("Nothing was changed.")
