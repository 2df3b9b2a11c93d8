"""Signed statements: in-toto's Statement, version 1, in an envelope of DSSE, version 1."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from weighhouse.rules.errors import Malformed
from weighhouse.rules.keys import PrivateKey, PublicKey, is_signed_by, key_id, sign

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"


class BadSignature(Malformed):
    """What is signed is not what the signature says, or nobody knows who signed it."""


def envelope(statement: Mapping[str, Any], key: PrivateKey, keyid: str) -> dict[str, Any]:
    """The statement, signed.

    Args:
        keyid: A hint for who verifies; it is not signed.
    """
    payload = orjson.dumps(statement)
    signature = {"sig": _encode(sign(key, pre_authentication(payload))), "keyid": keyid}
    return {"payload": _encode(payload), "payloadType": PAYLOAD_TYPE, "signatures": [signature]}


def open_envelope(document: object, keys: Sequence[PublicKey]) -> tuple[dict[str, Any], PublicKey]:
    """The statement in an envelope, and which of the keys signed it.

    Raises:
        BadSignature: It is no envelope of a statement, or none of the keys signed it.
    """
    payload, signatures = read_envelope(document)
    message = pre_authentication(payload)
    for key in keys:
        if any(is_signed_by(key, message, signature) for signature in signatures):
            return read_statement(payload), key
    raise BadSignature(
        f"None of the keys given ({', '.join(key_id(key)[:12] for key in keys)}) signed this: it was changed, or "
        "another key signed it."
    )


def read_envelope(document: object) -> tuple[bytes, list[bytes]]:
    """The payload of an envelope and its signatures; nothing of it is believed yet.

    Raises:
        BadSignature: It is no envelope of a statement.
    """
    if not isinstance(document, Mapping):
        raise BadSignature("This is no signed statement: it is not a JSON object.")
    try:
        kind, payload = document["payloadType"], _decode(document["payload"])
        signatures = [_decode(one["sig"]) for one in document["signatures"]]
    except (KeyError, TypeError, binascii.Error, ValueError) as error:
        raise BadSignature("This is no signed statement: its DSSE envelope is incomplete.") from error
    if kind != PAYLOAD_TYPE or not signatures:
        raise BadSignature(f"The envelope holds {str(kind)[:80]!r} with {len(signatures)} signatures, no statement.")
    return payload, signatures[:8]


def read_statement(payload: bytes) -> dict[str, Any]:
    """The statement that a verified payload is.

    Raises:
        BadSignature: It is something else.
    """
    try:
        statement = orjson.loads(payload)
    except ValueError as error:
        raise BadSignature("What is signed is not JSON.") from error
    if not isinstance(statement, dict) or statement.get("_type") != STATEMENT_TYPE:
        raise BadSignature(f"What is signed is no {STATEMENT_TYPE}.")
    return statement


def pre_authentication(payload: bytes) -> bytes:
    """What is really signed: the payload together with its type.

    >>> pre_authentication(b"{}")
    b'DSSEv1 28 application/vnd.in-toto+json 2 {}'
    """
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def _encode(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _decode(text: object) -> bytes:
    if not isinstance(text, str):
        raise TypeError
    # DSSE: readers take the alphabet for addresses too.
    return base64.b64decode(text.translate(_STANDARD), validate=True)


_STANDARD = str.maketrans("-_", "+/")
