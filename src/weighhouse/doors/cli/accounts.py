"""The commands for users and their tokens."""

import click

from weighhouse.doors.cli.asking import (
    Remote,
    RemoteCommand,
    confirm,
    read_password,
    refuse_plain_password,
    remote_command,
)
from weighhouse.doors.cli.client import Refused, Server
from weighhouse.doors.cli.credentials import Credentials
from weighhouse.doors.cli.listing import paged, show_listing
from weighhouse.doors.cli.naming import is_package_id
from weighhouse.doors.cli.output import Row, clean, moment, note

_PERMISSION = click.Choice(["search", "download", "upload", "admin"])


def find_user(server: Server, user: str | None) -> Row:
    """Id and name of a user by name or id; of the caller when none is named.

    Raises:
        Refused: There is no such user, or only an admin may look.
    """
    me = server.read("/user/me")
    if user is None or user in (me.get("user_id"), me.get("username")):
        return me
    if is_package_id(user):
        return {"user_id": user, "username": user}
    for page in server.pages("/users", "users", {"limit": 100}):
        for row in page.rows:
            if row.get("username") == user:
                return row
    raise Refused(f"There is no user {user}. `weighhouse users list` shows them.")


@click.group()
def users() -> None:
    """See, add, change and delete users."""


@click.group()
def tokens() -> None:
    """See and revoke tokens."""


def _told(remote: Remote, text: str, sentence: str) -> None:
    if remote.output.as_json:
        remote.output.document(text)
    else:
        remote.output.show(clean(sentence))


@remote_command("list")
@paged
def list_users(remote: Remote, limit: int, everything: bool) -> None:
    """List the users and what they may do; for admins.

    \b
    Example:
      weighhouse users list
    """
    show_listing(remote, "/users", "users", {"limit": limit}, everything, ("user", "permissions", "id"), _user)


def _user(row: Row) -> tuple[object, ...]:
    return row.get("username"), ", ".join(map(str, row.get("permissions") or [])), row.get("user_id")


@remote_command("add")
@click.argument("username")
@click.option(
    "-p", "--permission", "permissions", multiple=True, type=_PERMISSION, help="What they may do; repeatable."
)
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--insecure", is_flag=True, help="Send the password over plain http to another machine.")
def add_user(remote: Remote, username: str, permissions: tuple[str, ...], password_stdin: bool, insecure: bool) -> None:
    """Add a user; for admins.

    \b
    Example:
      weighhouse users add ada -p search -p download -p upload
    """
    refuse_plain_password(remote.server.url, insecure)
    password = read_password(f"Password for {username}", password_stdin, confirm=True)
    body = {"username": username, "password": password, "permissions": list(permissions)}
    response = remote.server.ask("POST", "/user/register", body=body)
    user_id = remote.server.document(response).get("user_id")
    _told(remote, response.text, f"{username} is added ({user_id}), with {', '.join(permissions) or 'no permissions'}.")


@remote_command("permissions")
@click.argument("user", metavar="USER|ID")
@click.argument("permissions", nargs=-1, type=_PERMISSION)
def set_permissions(remote: Remote, user: str, permissions: tuple[str, ...]) -> None:
    """Set what a user may do, from the next request on; none named takes all away. For admins.

    \b
    Example:
      weighhouse users permissions ada search download
    """
    found = find_user(remote.server, user)
    path = f"/user/{_user_id(found)}/permissions"
    response = remote.server.ask("PUT", path, body={"permissions": list(permissions)})
    _told(remote, response.text, f"{found.get('username')} may now: {', '.join(permissions) or 'nothing'}.")


@remote_command("password")
@click.argument("user", metavar="[USER|ID]", required=False)
@click.option("--password-stdin", is_flag=True, help="Read the new password (after yours, a line each) from stdin.")
@click.option("--insecure", is_flag=True, help="Send the password over plain http to another machine.")
def set_password(remote: Remote, user: str | None, password_stdin: bool, insecure: bool) -> None:
    """Change your password, or as an admin a user's; all tokens of that user are revoked.

    Your own needs the current one, too.

    \b
    Example:
      weighhouse users password
      printf '%s\\n%s\\n' "$OLD" "$NEW" | weighhouse users password --password-stdin
      printf %s "$NEW" | weighhouse users password ada --password-stdin
    """
    server = remote.server
    refuse_plain_password(server.url, insecure)
    me = server.read("/user/me")
    found = me if user is None else find_user(server, user)
    mine = found.get("user_id") == me.get("user_id")
    body = {"current_password": read_password("Current password", password_stdin)} if mine else {}
    body["password"] = read_password("New password", password_stdin, confirm=True)
    response = server.ask("PUT", f"/user/{_user_id(found)}/password", body=body)
    _told(remote, response.text, f"The password of {found.get('username')} is changed.")
    if mine:
        credentials = Credentials()
        if server.url in credentials.servers:
            credentials.forget(server.url)
        note("Your tokens are revoked; run `weighhouse login`.")


@remote_command("delete")
@click.argument("user", metavar="USER|ID")
@click.option("--yes", is_flag=True, help="Do not ask, for scripts.")
def delete_user(remote: Remote, user: str, yes: bool) -> None:
    """Delete a user and their tokens; their packages stay. Yourself, or for admins.

    \b
    Example:
      weighhouse users delete ada
    """
    found = find_user(remote.server, user)
    if not yes:
        confirm(str(found.get("username")), f"This deletes the user {found.get('username')} and revokes their tokens.")
    response = remote.server.ask("DELETE", f"/user/{_user_id(found)}")
    _told(remote, response.text, f"{found.get('username')} is deleted.")


@remote_command("list")
@click.option("--user", metavar="USER|ID", help="Whose; yours by default, another's for admins.")
@paged
def list_tokens(remote: Remote, user: str | None, limit: int, everything: bool) -> None:
    """List tokens: when they were made and used, how many calls are left. Never the token itself.

    \b
    Example:
      weighhouse tokens list
    """
    path = f"/user/{_user_id(find_user(remote.server, user))}/tokens"
    columns = ("name", "created", "last used", "calls left>", "expires", "id")
    show_listing(remote, path, "tokens", {"limit": limit}, everything, columns, _token)


def _token(row: Row) -> tuple[object, ...]:
    times = (moment(row.get("created_at")), moment(row.get("last_used_at")))
    expiry = moment(row.get("expires_at"))
    return row.get("name"), *times, row.get("calls_remaining"), expiry, row.get("token_id")


@remote_command("revoke")
@click.argument("token_id", metavar="TOKEN_ID")
@click.option("--user", metavar="USER|ID", help="Whose; yours by default, another's for admins.")
def revoke_token(remote: Remote, token_id: str, user: str | None) -> None:
    """Revoke one token, by the id that `weighhouse tokens list` shows.

    \b
    Example:
      weighhouse tokens revoke 01890a5d-ac96-774b-bcce-b302099a8057
    """
    if not is_package_id(token_id):
        raise Refused(f"{token_id} is no token's id. `weighhouse tokens list` shows them.")
    path = f"/user/{_user_id(find_user(remote.server, user))}/tokens/{token_id}"
    _told(remote, remote.server.ask("DELETE", path).text, "The token is revoked.")


def _user_id(found: Row) -> str:
    user_id = str(found.get("user_id"))
    if not is_package_id(user_id):
        raise Refused(f"The server gave {user_id!r} as a user's id, which is none. Tell its operator.")
    return user_id


_of_users: tuple[RemoteCommand, ...] = (list_users, add_user, set_permissions, set_password, delete_user)
for _command in _of_users:
    users.add_command(_command)
for _command in (list_tokens, revoke_token):
    tokens.add_command(_command)
