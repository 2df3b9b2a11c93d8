"""Signed models: the OpenSSF's model signing, version 1.0, made and checked without a network.

`model.sig` is a Sigstore bundle with a DSSE envelope, and in it an in-toto statement that lists every file's digest.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from weighhouse.rules.certificates import Certificate, display_name, is_trusted, may_sign, read_der, to_der
from weighhouse.rules.dsse import (
    STATEMENT_TYPE,
    BadSignature,
    envelope,
    pre_authentication,
    read_envelope,
    read_statement,
)
from weighhouse.rules.keys import BadKey, PrivateKey, PublicKey, is_signed_by, key_id, usable
from weighhouse.rules.metrics.result import reason

SIGNATURE_PATH = "model.sig"
MAX_SIGNATURE_BYTES = 32 * 1024 * 1024
"""Fifty thousand files with long paths; what is longer is not read."""

_BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PREDICATE_TYPE = "https://model_signing/signature/v1.0"
_GIT_PATHS = (".git", ".gitattributes", ".github", ".gitignore")
_LONGEST_CHAIN = 16
_KEY_ID = re.compile("[0-9a-f]{64}")

State = Literal["trusted", "unknown", "invalid"]


@dataclass(frozen=True)
class Trust:
    """Whose signatures are believed: these keys, these certificates and those that they vouch for."""

    keys: Sequence[PublicKey] = ()
    certificates: Sequence[Certificate] = ()


@dataclass(frozen=True)
class Signer:
    """Who signed, as far as the signature says.

    Args:
        id: SHA-256 of the public key's PEM, or of the certificate; `None` where an older signature does not say it.
        name: Subject of the certificate.
    """

    kind: Literal["key", "certificate", "sigstore"]
    id: str | None
    name: str | None = None


@dataclass(frozen=True)
class Checked:
    """What a signature is worth: `invalid` whoever made it, or valid as far as can be told and the signer `trusted` or not."""

    state: State
    reason: str
    signer: Signer | None = None


@dataclass(frozen=True)
class Signing:
    """What a model is signed with; a chain begins with the certificate of the key."""

    key: PrivateKey
    chain: Sequence[Certificate] = field(default=())


def sign_model(
    name: str, files: Mapping[str, str], signing: Signing, *, ignored: Collection[str] = (), follows_links: bool = False
) -> bytes:
    """The content of `model.sig`.

    Args:
        files: SHA-256 of each file, by path.
        ignored: Further files and folders that the folder may hold and that are not signed.
        follows_links: Whether files were reached by links.

    Raises:
        BadKey: The first certificate of the chain is not that of the key, or is not for signing.
    """
    listed = [(path, files[path]) for path in sorted(files, key=lambda path: path.split("/"))]
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": _root_digest(digest for _, digest in listed)}}],
        "predicateType": _PREDICATE_TYPE,
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": follows_links,
                "ignore_paths": sorted({SIGNATURE_PATH, *_GIT_PATHS, *ignored}),
            },
            "resources": [{"name": path, "algorithm": "sha256", "digest": digest} for path, digest in listed],
        },
    }
    bundle = {
        "mediaType": _BUNDLE_TYPE,
        "verificationMaterial": _material(signing) | {"tlogEntries": []},
        "dsseEnvelope": envelope(statement, signing.key, ""),
    }
    return orjson.dumps(bundle)


def check_model(content: bytes, files: Mapping[str, str], trust: Trust, *, may_lack: bool = False) -> Checked:
    """What a `model.sig` is worth for these files. Never an exception: whatever it holds is an answer.

    Args:
        files: SHA-256 of each file of the model, by path.
        may_lack: Files may be missing, as in a download of components.
    """
    try:
        bundle = _read_bundle(content)
        payload, signatures = read_envelope(bundle.get("dsseEnvelope"))
        # Its hint of a key is not read: the format leaves it empty.
        found = _check_signer(bundle["verificationMaterial"], pre_authentication(payload), signatures[0], trust)
        if found.state == "invalid":
            return found
        comparable = _check_files(read_statement(payload), files, may_lack)
    except BadSignature as bad:
        return Checked("invalid", reason(bad.detail))
    if comparable is not None:
        return Checked("unknown", reason(comparable), found.signer)
    return found


def _material(signing: Signing) -> dict[str, Any]:
    if not signing.chain:
        return {"publicKey": {"hint": key_id(signing.key.public_key())}}
    first = signing.chain[0]
    if first.public_key() != signing.key.public_key():
        raise BadKey("The certificate is that of another key. Name the one that was made for this private key.")
    if not may_sign(first):
        raise BadKey("The certificate is not for signing: it needs the key usage digitalSignature, or codeSigning.")
    encoded = [{"rawBytes": base64.b64encode(to_der(one)).decode()} for one in signing.chain]
    return {"x509CertificateChain": {"certificates": encoded}}


def _read_bundle(content: bytes) -> dict[str, Any]:
    if len(content) > MAX_SIGNATURE_BYTES:
        raise BadSignature(f"{SIGNATURE_PATH} is longer than {MAX_SIGNATURE_BYTES // 1024**2} MiB.")
    try:
        bundle = orjson.loads(content)
    except ValueError as error:
        raise BadSignature(f"{SIGNATURE_PATH} is no Sigstore bundle: it is not JSON.") from error
    if not isinstance(bundle, dict) or not isinstance(bundle.get("verificationMaterial"), dict):
        raise BadSignature(f"{SIGNATURE_PATH} is no Sigstore bundle: it does not say how it is verified.")
    if bundle.get("mediaType") != _BUNDLE_TYPE:
        raise BadSignature(f"{SIGNATURE_PATH} is of the kind {str(bundle.get('mediaType'))!r}, not {_BUNDLE_TYPE}.")
    return bundle


def _check_signer(material: Mapping[str, Any], message: bytes, signature: bytes, trust: Trust) -> Checked:
    if isinstance(key := material.get("publicKey"), Mapping):
        return _check_key(key.get("hint"), message, signature, trust)
    if isinstance(chain := material.get("x509CertificateChain"), Mapping):
        return _check_certificates(_read_chain(chain.get("certificates")), message, signature, trust)
    if isinstance(certificate := material.get("certificate"), Mapping):
        return _check_keyless(_read_chain([certificate]), message, signature)
    raise BadSignature("The signature names neither a key nor a certificate that it is verified with.")


def _check_key(hint: object, message: bytes, signature: bytes, trust: Trust) -> Checked:
    """A signature with a key does not hold the key: without it nothing can be said."""
    named = hint if isinstance(hint, str) and _KEY_ID.fullmatch(hint) else None
    candidates = [key for key in trust.keys if named is None or key_id(key) == named]
    for key in candidates:
        if is_signed_by(key, message, signature):
            return Checked("trusted", "Signed with a trusted key.", Signer("key", key_id(key)))
    signer = Signer("key", named)
    if candidates and named is not None:
        return Checked("invalid", "The signature was changed, or is not that of the key it names.", signer)
    return Checked(
        "unknown", "Signed with a key that is not trusted here, so the signature cannot be verified.", signer
    )


def _check_certificates(chain: Sequence[Certificate], message: bytes, signature: bytes, trust: Trust) -> Checked:
    first = chain[0]
    signer = Signer("certificate", _fingerprint(first), display_name(first))
    if not _is_signed_by(first, message, signature):
        return Checked("invalid", "The signature was changed, or is not that of its certificate.", signer)
    if not may_sign(first):
        return Checked("invalid", "The certificate that signed is not for signing.", signer)
    if is_trusted(chain, trust.certificates):
        return Checked("trusted", "Signed with a certificate that a trusted one vouches for.", signer)
    return Checked("unknown", "The signature holds, but no certificate trusted here vouches for its signer.", signer)


def _check_keyless(chain: Sequence[Certificate], message: bytes, signature: bytes) -> Checked:
    signer = Signer("sigstore", _fingerprint(chain[0]), display_name(chain[0]))
    if not _is_signed_by(chain[0], message, signature):
        return Checked("invalid", "The signature was changed, or is not that of its certificate.", signer)
    return Checked("unknown", "Signed without a key by Sigstore; its transparency log is not asked here.", signer)


def _is_signed_by(certificate: Certificate, message: bytes, signature: bytes) -> bool:
    try:
        return is_signed_by(usable(certificate.public_key()), message, signature)
    except (BadKey, ValueError) as error:
        raise BadSignature("The certificate has a key of a kind that models are not signed with.") from error


def _read_chain(encoded: object) -> list[Certificate]:
    if not isinstance(encoded, list) or not 0 < len(encoded) <= _LONGEST_CHAIN:
        raise BadSignature(f"The signature has to hold 1 to {_LONGEST_CHAIN} certificates.")
    try:
        return [read_der(base64.b64decode(one["rawBytes"], validate=True)) for one in encoded]
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise BadSignature("A certificate in the signature cannot be read.") from error


def _check_files(statement: Mapping[str, Any], files: Mapping[str, str], may_lack: bool) -> str | None:
    """Compares the model with what was signed; a text when the two cannot be compared.

    Raises:
        BadSignature: They differ, or the statement contradicts itself.
    """
    if statement.get("predicateType") != _PREDICATE_TYPE:
        raise BadSignature(f"What is signed is {str(statement.get('predicateType'))!r}, not {_PREDICATE_TYPE}.")
    try:
        serialization, resources = statement["predicate"]["serialization"], statement["predicate"]["resources"]
        (subject,) = statement["subject"]
        method, hash_type = serialization["method"], serialization["hash_type"]
        if method != "files" or hash_type != "sha256":
            return f"It lists {method} by {hash_type}; only files by sha256 are compared here. Sign it so to have it checked."
        ignored = {SIGNATURE_PATH, *map(str, serialization.get("ignore_paths", ()))}
        listed = [_resource(one) for one in resources]
        root = _root_digest(digest for _, digest in listed)
        agrees = root == str(subject["digest"]["sha256"]).lower()
    except (KeyError, TypeError, ValueError) as error:
        raise BadSignature("The statement does not list the model's files as the format asks.") from error
    signed = dict(listed)
    if not agrees or len(signed) != len(listed):
        raise BadSignature("The statement contradicts itself: its digest is not that of the files it lists.")
    _compare(files, signed, ignored, may_lack)
    return None


def _resource(one: Mapping[str, Any]) -> tuple[str, str]:
    if one["algorithm"] != "sha256":
        raise ValueError
    return str(one["name"]), str(one["digest"]).lower()


def _compare(files: Mapping[str, str], signed: Mapping[str, str], ignored: Collection[str], may_lack: bool) -> None:
    for path, digest in files.items():
        if path in signed:
            if signed[path] != digest:
                raise BadSignature(f"{path} is not the file that was signed: its SHA-256 is another.")
        elif not _is_below(path, ignored):
            raise BadSignature(f"{path} was not signed.")
    lacking = min(signed.keys() - files.keys(), default=None)
    if lacking is not None and not may_lack:
        raise BadSignature(f"{lacking} was signed and is not there.")


def _is_below(path: str, places: Collection[str]) -> bool:
    parts = path.split("/")
    return any("/".join(parts[:end]) in places for end in range(1, len(parts) + 1))


def _root_digest(digests: Iterable[str]) -> str:
    root = hashlib.sha256()
    for digest in digests:
        root.update(bytes.fromhex(digest))
    return root.hexdigest()


def _fingerprint(certificate: Certificate) -> str:
    return hashlib.sha256(to_der(certificate)).hexdigest()
