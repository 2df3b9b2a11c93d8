"""The sign-ins that a user's machine remembers."""

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from weighhouse.doors.cli.client import Refused


@dataclass(frozen=True)
class SignIn:
    """A token that a server gave, and to whom."""

    token: str
    username: str = ""
    expires_at: str = ""


class Credentials:
    """The sign-ins that this user's machine remembers, by server, one of them current.

    Args:
        path: The file; by default `weighhouse/credentials.json` in the user's configuration folder.

    Raises:
        Refused: The file is there and cannot be understood.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or _default_path()
        self.current = ""
        self.servers: dict[str, SignIn] = {}
        try:
            text = self.path.read_text("utf-8")
        except FileNotFoundError:
            return
        try:
            kept = json.loads(text)
            self.current = str(kept["current"])
            self.servers = {str(url): SignIn(**sign_in) for url, sign_in in kept["servers"].items()}
        except (ValueError, TypeError, KeyError, AttributeError):
            raise Refused(f"{self.path} cannot be understood. Remove it and run `weighhouse login`.") from None

    def remember(self, url: str, sign_in: SignIn) -> None:
        """Keep a sign-in and make its server the current one."""
        self.servers[url] = sign_in
        self.current = url
        self._write()

    def forget(self, url: str) -> None:
        """Drop the sign-in of one server."""
        self.servers.pop(url, None)
        if self.current == url:
            self.current = next(iter(self.servers), "")
        self._write()

    def _write(self) -> None:
        folder = self.path.parent
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        fresh = folder / f".{self.path.name}.{secrets.token_hex(8)}"
        document = {"current": self.current, "servers": {url: asdict(kept) for url, kept in self.servers.items()}}
        # Never readable by others, not even between creation and chmod; never half a file under the real name.
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(document, file, indent=2)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self.path)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise


def _default_path() -> Path:
    # The XDG base directory specification: a relative value is to be ignored.
    configured = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    folder = configured if configured.is_absolute() else Path.home() / ".config"
    return folder / "weighhouse" / "credentials.json"
