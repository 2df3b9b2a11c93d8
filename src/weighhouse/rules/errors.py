"""What can go wrong, in families. A door turns a family into a status; nothing below the doors knows HTTP."""

from collections.abc import Mapping
from typing import Any


class RegistryError(Exception):
    """The registry could not do what was asked."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    @property
    def members(self) -> Mapping[str, Any]:
        """Public fields of this error, without the detail: what a program needs to act on it."""
        return {name: value for name, value in vars(self).items() if name != "detail" and not name.startswith("_")}


class Malformed(RegistryError):
    """The content is not what it claims to be."""


class Unauthenticated(RegistryError):
    """Nobody known stands behind this request."""


class Denied(RegistryError):
    """The caller may not do this."""


class NotFound(RegistryError):
    """There is no such thing here."""


class Conflict(RegistryError):
    """What was asked goes against what is already there."""


class TooLarge(RegistryError):
    """The content is larger than this server takes."""


class Invalid(RegistryError):
    """A field has a value that it cannot have.

    Args:
        detail: What is wrong and what would be right.
        field: The field's name as the caller wrote it, empty when no single field is at fault.
    """

    def __init__(self, detail: str, *, field: str = "") -> None:
        super().__init__(detail)
        self.field = field


class Exhausted(RegistryError):
    """A budget or a rate is used up."""

    def __init__(self, detail: str, *, retry_after_seconds: int | None = None) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds


class Away(RegistryError):
    """Something that the registry needs does not answer."""

    def __init__(self, detail: str, *, retry_after_seconds: int = 5) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds
