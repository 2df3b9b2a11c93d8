"""Shapes of keys."""

from weighhouse.doors.api.schemas.shape import Shape


class Key(Shape):
    """A public key of the registry."""

    key_id: str
    """SHA-256 of `public_key`."""
    public_key: str
    """PEM."""
    is_current: bool


class Keys(Shape):
    """The keys that statements are verified with."""

    keys: list[Key]
