"""Names of packages and of people: what they may be, and when two are the same."""

import re
from typing import NewType

from weighhouse.rules.errors import Invalid

PackageName = NewType("PackageName", str)
"""A checked name, in the letter case of its first upload, with or without a `namespace/` in front."""

MAX_NAME_LENGTH = 96
MAX_USERNAME_LENGTH = 64

# First segments of the server's own paths: a package page or a Hub address below one of them would be unreachable.
# fmt: off
RESERVED_FIRST_PARTS = frozenset((
    "api", "audit", "authenticate", "datasets", "docs", "health", "healthz", "logs", "metrics", "openapi.json",
    "package", "packages", "problems", "readyz", "redoc", "reset", "spaces", "static", "user", "users",
))
# fmt: on

# The Hub protocol has both /api/models/NAMESPACE/NAME and /api/models/NAME/VERB; a name that is a verb is ambiguous.
_RESERVED_LAST_PART = re.compile(
    r"tree|revision|refs|commits?|preupload|paths-info|branch|tag|settings|discussions|xet-.*-token|auth-check"
    r"|super-squash|resolve"
)

# Spelled out: \w and \d would let in letters and digits of other scripts.
_OTHER_CHARACTER = re.compile(r"[^0-9A-Za-z._-]")


class InvalidName(Invalid):
    """This is not a name that a package can have."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, field="name")


class InvalidUsername(Invalid):
    """This is not a name that a user can have."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, field="username")


def check_name(name: str) -> PackageName:
    """The same name, known to be one that a package can have.

    Raises:
        InvalidName: It breaks a rule; the detail says which one and what would be right.

    >>> check_name("google/bert-base")
    'google/bert-base'
    """
    if not name:
        raise InvalidName("A package needs a name, for example bert-base or google/bert-base.")
    if len(name) > MAX_NAME_LENGTH:
        raise InvalidName(f"A package name has at most {MAX_NAME_LENGTH} characters; this one has {len(name)}.")
    parts = name.split("/")
    if len(parts) > 2:
        raise InvalidName("A package name has at most one slash, between namespace and name: google/bert-base.")
    for part in parts:
        if problem := _part_problem(part):
            raise InvalidName(f"{problem} A package name looks like bert-base or google/bert-base.")
    first, last = parts[0], parts[-1]
    if last.lower().endswith(".git"):
        raise InvalidName("A package name does not end in .git. Leave the ending out.")
    if first.lower() in RESERVED_FIRST_PARTS:
        raise InvalidName(f"'{first}' is a path of the server itself. Choose a name that begins with something else.")
    if _RESERVED_LAST_PART.fullmatch(last.lower()):
        raise InvalidName(f"'{last}' is a verb of the Hub protocol. Choose another name.")
    return PackageName(name)


def check_username(name: str) -> str:
    """The same name, known to be one that a user can have.

    Every user name can stand as the `namespace/` of that user's packages, so it obeys the rules of a namespace.

    Raises:
        InvalidUsername: It breaks a rule; the detail says which one and what would be right.

    >>> check_username("ada.lovelace")
    'ada.lovelace'
    """
    if len(name) > MAX_USERNAME_LENGTH:
        raise InvalidUsername(f"A user name has at most {MAX_USERNAME_LENGTH} characters; this one has {len(name)}.")
    if problem := _part_problem(name):
        raise InvalidUsername(f"{problem} A user name looks like ada or ada.lovelace.")
    if name.lower() in RESERVED_FIRST_PARTS:
        raise InvalidUsername(f"'{name}' is a path of the server itself. Choose another user name.")
    return name


def name_key(name: str) -> str:
    """What two spellings of one name, of a package or of a user, have in common: letter case does not distinguish.

    >>> name_key("Google/BERT") == name_key("google/bert")
    True
    """
    return name.lower()


def namespace_of(name: str) -> str | None:
    """The part before the slash, as written, or `None` for a bare name.

    >>> namespace_of("google/bert"), namespace_of("bert")
    ('google', None)
    """
    namespace, slash, _ = name.partition("/")
    return namespace if slash else None


def _part_problem(part: str) -> str | None:
    """A sentence that says what keeps `part` from being a namespace or a name, or `None`."""
    if not part:
        return "A part of this name is empty."
    if other := _OTHER_CHARACTER.search(part):
        return f"Only letters A to Z, digits, '.', '_' and '-' are allowed, not {other[0]!a}."
    if part[0] in "-." or part[-1] in "-.":
        return f"'{part}' begins or ends with '-' or '.'; use a letter, a digit or '_' there."
    if "--" in part or ".." in part:
        return f"'{part}' has '--' or '..' in it; use one only."
    return None
