"""The commands that say who asks: sign in, sign out, and who am I."""

import os
import sys

import click

from weighhouse.doors.cli.asking import Remote, read_password, refuse_plain_password, remote_command
from weighhouse.doors.cli.client import Refused, Server
from weighhouse.doors.cli.credentials import Credentials, SignIn
from weighhouse.doors.cli.output import clean, moment, note


@remote_command("login")
@click.option("--username", metavar="NAME", help="Who signs in; asked for when left out.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input, for scripts.")
@click.option("--insecure", is_flag=True, help="Send the password over plain http to another machine.")
def login(remote: Remote, username: str | None, password_stdin: bool, insecure: bool) -> None:
    """Sign in to a server and remember the token.

    The token is kept in ~/.config/weighhouse/credentials.json, readable by you alone. Sign in to several servers:
    the last is used when no --server is given.

    \b
    Example:
      weighhouse login --server https://models.example.org --username ada
      printf %s "$PASSWORD" | weighhouse login --username ci --password-stdin
    """
    server = remote.server
    refuse_plain_password(server.url, insecure)
    if username is None:
        if not sys.stdin.isatty():
            raise click.UsageError("There is no terminal to ask on; give --username.")
        username = str(click.prompt("Username", err=True))
    password = read_password("Password", password_stdin)
    # A token of an earlier login says nothing about who signs in now.
    visitor = Server(server.url)
    try:
        response = visitor.ask("POST", "/authenticate", body={"username": username, "password": password})
    except Refused as refused:
        if refused.status == 401:
            raise Refused(str(refused.members.get("detail") or "Wrong username or password."), 401) from refused
        raise
    finally:
        visitor.close()
    answer = server.document(response)
    sign_in = SignIn(str(answer.get("token", "")), username, str(answer.get("expires_at") or ""))
    Credentials().remember(server.url, sign_in)
    if os.environ.get("WEIGHHOUSE_TOKEN"):
        note("WEIGHHOUSE_TOKEN is set and goes before this login; unset it to use the login.")
    if remote.output.as_json:
        remote.output.document(response.text)
        return
    until = f", until {moment(sign_in.expires_at)} UTC" if sign_in.expires_at else ""
    remote.output.show(
        f"Signed in to {server.url} as {clean(username)}: {clean(answer.get('calls_remaining'))} calls{until}."
    )


@remote_command("logout")
def logout(remote: Remote) -> None:
    """Revoke the token on the server and forget it here.

    \b
    Example:
      weighhouse logout
    """
    server = remote.server
    credentials = Credentials()
    if not server.token:
        raise Refused(f"Nobody is signed in to {server.url}.")
    trouble: Refused | None = None
    answer = ""
    try:
        answer = server.ask("DELETE", "/authenticate").text
    except Refused as refused:
        # 401: the token was revoked or ran out before; it is as gone as was asked for.
        trouble = None if refused.status == 401 else refused
    if credentials.servers.get(server.url, SignIn("")).token == server.token:
        credentials.forget(server.url)
    if trouble is not None:
        note(f"The token is forgotten here, but {server.url} did not revoke it; it lasts until it runs out.")
        raise trouble
    if remote.output.as_json:
        remote.output.document(answer or "{}")
    else:
        remote.output.show(f"Signed out of {server.url}.")


@remote_command("whoami")
def whoami(remote: Remote) -> None:
    """Show who the token belongs to, what it may do and how many calls it has left.

    \b
    Example:
      weighhouse whoami
    """
    response = remote.server.ask("GET", "/user/me")
    if remote.output.as_json:
        remote.output.document(response.text)
        return
    me = remote.server.document(response)
    remote.output.show(
        f"{clean(me.get('username'))} at {remote.server.url}",
        f"permissions  {clean(', '.join(map(str, me.get('permissions') or [])) or 'none')}",
        f"calls left   {clean(me.get('calls_remaining'))}",
        f"expires      {moment(me.get('expires_at'))} UTC",
        f"user id      {clean(me.get('user_id'))}",
    )
