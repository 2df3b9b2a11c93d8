"""What a password may be, and the form in which bcrypt gets to see it."""

import base64
import hashlib
import hmac

from weighhouse.rules.errors import Invalid

MAX_PASSWORD_BYTES = 1024

# bcrypt reads 72 bytes and stops at NUL: the whole password goes in as 44 characters of its keyed digest instead.
_LABEL = b"weighhouse password v1"


class InvalidPassword(Invalid):
    """This cannot be a password."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, field="password")


def check_password(password: str) -> str:
    """The same password, known to be one that an account can have.

    Raises:
        InvalidPassword: It is blank, too long, or no text.
    """
    if not password.strip():
        raise InvalidPassword("A password cannot be empty or blank.")
    try:
        size = len(password.encode())
    except UnicodeEncodeError:
        raise InvalidPassword("A password is text; this one holds half of a character.") from None
    if size > MAX_PASSWORD_BYTES:
        raise InvalidPassword(f"A password has at most {MAX_PASSWORD_BYTES} bytes; this one has {size}.")
    return password


def bcrypt_input(password: str) -> bytes:
    """44 bytes without NUL that stand for the whole password, however long it is.

    >>> len(bcrypt_input("x" * 1000))
    44
    """
    digest = hmac.digest(_LABEL, password.encode("utf-8", "surrogatepass"), hashlib.sha256)
    return base64.b64encode(digest)
