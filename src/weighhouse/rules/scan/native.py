"""Programs for a machine or a shell, known by how they begin."""

from weighhouse.rules.scan.source import View

_MACH_O = frozenset(
    bytes.fromhex(magic)
    for magic in ("feedface", "feedfacf", "cefaedfe", "cffaedfe", "cafebabe", "bebafeca", "cafebabf")
)
_SHORTCUT = bytes.fromhex("4c0000000114020000000000c000000000000046")
_COMPOUND = bytes.fromhex("d0cf11e0a1b11ae1")


def native_kind(view: View) -> str | None:
    """What kind of program it is, or `None`.

    Raises:
        LimitReached: The scan has read too much.
    """
    head = view.read(0, 64)
    if head[:4] == b"\x7fELF":
        return "a program or library for Linux (ELF)"
    if head[:4] in _MACH_O and len(head) >= 28:
        return "a program or library for macOS, or a Java class"
    if head[:2] == b"MZ" and len(head) == 64:
        start = int.from_bytes(head[60:64], "little")
        if view.read(start, 4) == b"PE\0\0" or b"This program" in view.read(64, 128):
            return "a program or library for Windows (PE)"
    if head.startswith(_SHORTCUT):
        return "a shortcut of Windows"
    return None


def script_kind(head: bytes) -> str | None:
    """The interpreter that a script names, or `None`.

    >>> script_kind(b"#!/bin/sh\\nexit")
    '/bin/sh'
    """
    if head[:2] != b"#!":
        return None
    return head[2:130].partition(b"\n")[0].strip().decode("utf-8", "backslashreplace") or None


def is_compound(head: bytes) -> bool:
    """Whether it is a document of an office program in the old format, which can hold macros."""
    return head.startswith(_COMPOUND)
