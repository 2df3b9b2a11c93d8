"""The command that asks whether a project's license goes with a package's."""

from collections.abc import Iterator, Mapping
from typing import Any

import click
from rich.console import RenderableType
from rich.text import Text

from weighhouse.doors.cli.asking import Remote, remote_command
from weighhouse.doors.cli.naming import find_package_id
from weighhouse.doors.cli.output import Row, clean, table

_STYLES = {"compatible": "green", "conditional": "yellow", "incompatible": "bold red", "unknown": "yellow"}


@remote_command("license-check")
@click.argument("github_url", metavar="GITHUB_URL")
@click.argument("package", metavar="NAME[@VERSION]|ID")
def license_check(remote: Remote, github_url: str, package: str) -> None:
    """Check whether a project on GitHub may use a package's model, by the licenses of both.

    Exits 0 when they go together, with or without conditions; 1 when they do not, or it is not known. Not legal advice.

    \b
    Example:
      weighhouse license-check https://github.com/acme/tool bert-base
      weighhouse license-check https://github.com/acme/tool bert-base@1.0.0 --json | jq -r .verdict
    """
    body = {"github_url": github_url, "model_id": find_package_id(remote.server, package)}
    # It changes nothing, so it may be sent again.
    response = remote.server.ask("POST", "/package/license-check", body=body, repeatable=True)
    document = remote.server.document(response)
    if remote.output.as_json:
        remote.output.document(response.text)
    else:
        remote.output.show(*_card(document))
    if not document.get("compatible"):
        click.get_current_context().exit(1)


def _card(document: Row) -> Iterator[RenderableType]:
    verdict = str(document.get("verdict") or "unknown")
    confidence, mode = clean(document.get("confidence")), clean(document.get("mode"))
    yield Text.assemble((clean(verdict), _STYLES.get(verdict, "")), (f"  {confidence} confidence, mode {mode}", "dim"))
    yield Text(clean(document.get("reason")))
    for title, key in (("Warnings", "warnings"), ("Conditions", "conditions"), ("Notes", "notes")):
        lines = document.get(key) or []
        if lines:
            yield Text(f"\n{title}", style="bold")
            yield from (Text(f"  {clean(line)}") for line in lines)
    uses = document.get("model_use") or {}
    if isinstance(uses, Mapping) and uses:
        yield Text("\nWhat the model's license permits", style="bold")
        yield table(("operation", "permission", "what to keep to"), [_use(name, use) for name, use in uses.items()])
    yield Text(f"\n{clean(document.get('disclaimer'))}", style="dim")


def _use(operation: str, use: Mapping[str, Any]) -> tuple[str, object, str]:
    duties = use.get("obligations") or []
    return operation.replace("_", " "), use.get("permission"), "; ".join(map(clean, duties))
