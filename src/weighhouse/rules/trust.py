"""Whose signatures are believed: public keys and certificates out of PEM files."""

from collections.abc import Iterable

from weighhouse.rules.certificates import Certificate, read_certificates
from weighhouse.rules.keys import PublicKey, read_public_keys
from weighhouse.rules.model_signing import Trust


def read_trust(files: Iterable[bytes]) -> Trust:
    """All keys and certificates of these PEM files; each may hold several, of both kinds.

    Raises:
        BadKey: One of them cannot be used.
    """
    keys: list[PublicKey] = []
    certificates: list[Certificate] = []
    for content in files:
        keys += read_public_keys(content)
        certificates += read_certificates(content)
    return Trust(keys, certificates)
