"""Keys that statements and models are signed with: elliptic curves, as the OpenSSF's model signing has them."""

import hashlib
import re

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from weighhouse.rules.errors import Invalid

PrivateKey = ec.EllipticCurvePrivateKey
PublicKey = ec.EllipticCurvePublicKey

_HASHES: dict[str, hashes.HashAlgorithm] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}
_PUBLIC_KEY = re.compile(rb"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----\r?\n?", re.DOTALL)
_WANTED = (
    "Make one with `openssl ecparam -name prime256v1 -genkey -noout`: elliptic curve P-256, P-384 or P-521, in PEM."
)


class BadKey(Invalid):
    """A key or certificate cannot be used."""


def new_key() -> PrivateKey:
    """A fresh private key on P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def read_private_key(pem: bytes, password: str | None = None) -> PrivateKey:
    """The private key of a PEM file.

    Raises:
        BadKey: It is none, its password is another, or its kind is not one that is signed with.
    """
    try:
        key = serialization.load_pem_private_key(pem, None if password is None else password.encode())
    except TypeError as error:
        hint = "is locked with a password" if password is None else "is not locked with a password, but one was given"
        raise BadKey(f"The private key {hint}.") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadKey(f"The private key cannot be read, or its password is another. {_WANTED}") from error
    if not isinstance(key, PrivateKey):
        raise BadKey(f"The private key is of a kind that models are not signed with. {_WANTED}")
    _require_curve(key.curve)
    return key


def read_public_key(pem: bytes) -> PublicKey:
    """The public key of a PEM file.

    Raises:
        BadKey: It is none, or of a kind that is not signed with.
    """
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadKey("The public key cannot be read. It is a PEM file that begins with BEGIN PUBLIC KEY.") from error
    return usable(key)


def read_public_keys(pem: bytes) -> list[PublicKey]:
    """The public keys of a PEM file that may hold several, and anything else between them.

    Raises:
        BadKey: One of them cannot be used.
    """
    return [read_public_key(block) for block in _PUBLIC_KEY.findall(pem)]


def usable(key: object) -> PublicKey:
    """`key`, when it is of a kind that is signed with.

    Raises:
        BadKey: It is not.
    """
    if not isinstance(key, PublicKey):
        raise BadKey("The public key is of a kind that models are not signed with: elliptic curves only.")
    _require_curve(key.curve)
    return key


def private_pem(key: PrivateKey) -> bytes:
    """The private key as it is kept, without a password."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_pem(key: PublicKey) -> bytes:
    """The public key as it is handed out."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def key_id(key: PublicKey) -> str:
    """What a key is called: the SHA-256 of its PEM, which is also the hint in a signed model."""
    return hashlib.sha256(public_pem(key)).hexdigest()


def sign(key: PrivateKey, message: bytes) -> bytes:
    """An ECDSA signature in DER."""
    return key.sign(message, ec.ECDSA(_HASHES[key.curve.name]))


def is_signed_by(key: PublicKey, message: bytes, signature: bytes) -> bool:
    """Whether the private key that belongs to this one signed the message."""
    try:
        key.verify(signature, message, ec.ECDSA(_HASHES[key.curve.name]))
    except InvalidSignature:
        return False
    return True


def _require_curve(curve: ec.EllipticCurve) -> None:
    if curve.name not in _HASHES:
        raise BadKey(f"The key is on the curve {curve.name}, which models are not signed with. {_WANTED}")
