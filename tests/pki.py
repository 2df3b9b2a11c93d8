"""Keys and certificates for tests, as an operator makes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from weighhouse.rules.keys import private_pem, public_pem


@dataclass(frozen=True)
class Identity:
    """A key, its certificate, and files of both."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    key_file: Path
    public_file: Path
    certificate_file: Path


def identity(
    folder: Path,
    name: str,
    issuer: Identity | None = None,
    *,
    is_authority: bool = False,
    may_sign: bool = True,
    curve: ec.EllipticCurve | None = None,
    days: int = 365,
) -> Identity:
    """A new one; its own issuer when nobody else is."""
    key = ec.generate_private_key(curve or ec.SECP256R1())
    own_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begins = datetime.now(UTC) - timedelta(days=2)
    usage = x509.KeyUsage(
        digital_signature=may_sign and not is_authority,
        content_commitment=False,
        key_encipherment=not may_sign,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(own_name)
        .issuer_name(issuer.certificate.subject if issuer else own_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(usage, critical=True)
    )
    if may_sign and not is_authority:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
    certificate = builder.sign(issuer.key if issuer else key, hashes.SHA256())
    files = [folder / f"{name}.{end}" for end in ("key", "pub", "crt")]
    contents: Sequence[bytes] = (
        private_pem(key),
        public_pem(key.public_key()),
        certificate.public_bytes(serialization.Encoding.PEM),
    )
    for path, content in zip(files, contents, strict=True):
        path.write_bytes(content)
    return Identity(key, certificate, *files)
