"""Certificates that models are signed with: read, named, and traced to one that is trusted."""

from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import Criticality, ExtensionPolicy, Policy, PolicyBuilder, Store, VerificationError

from weighhouse.rules.keys import BadKey

Certificate = x509.Certificate

_LONGEST_NAME = 200


def read_certificates(pem: bytes) -> list[Certificate]:
    """The certificates of a PEM file; none where it holds none.

    Raises:
        BadKey: One of them cannot be read.
    """
    if b"-----BEGIN CERTIFICATE-----" not in pem:
        return []
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise BadKey("A certificate cannot be read. It is a PEM file that begins with BEGIN CERTIFICATE.") from error


def read_der(content: bytes) -> Certificate:
    """A certificate.

    Raises:
        ValueError: It is none.
    """
    return x509.load_der_x509_certificate(content)


def to_der(certificate: Certificate) -> bytes:
    """The certificate as bytes."""
    return certificate.public_bytes(Encoding.DER)


def display_name(certificate: Certificate) -> str:
    """Whom a certificate is for: its subject, else its other names."""
    try:
        name = certificate.subject.rfc4514_string()
        if not name:
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            name = ", ".join(str(one.value) for one in names)
    except (ValueError, x509.ExtensionNotFound):
        return "without a name"
    return "".join(character if character.isprintable() else " " for character in name)[:_LONGEST_NAME]


def may_sign(certificate: Certificate) -> bool:
    """Whether a certificate's key is for signatures, or for signing code."""
    try:
        for extension in certificate.extensions:
            match extension.value:
                case x509.KeyUsage(digital_signature=True):
                    return True
                case x509.ExtendedKeyUsage() as uses if ExtendedKeyUsageOID.CODE_SIGNING in uses:
                    return True
    except ValueError:
        return False
    return False


def is_trusted(chain: Sequence[Certificate], trusted: Sequence[Certificate]) -> bool:
    """Whether a trusted certificate is the first of the chain, or vouches for it over the others.

    All have to be good at the moment that the first one begins, as the format's own verifier asks: nothing proves when
    somebody signed, and a model does not end with the certificate.
    """
    if chain[0] in trusted:
        return True
    if not trusted:
        return False
    rules = PolicyBuilder().store(Store(list(trusted))).time(chain[0].not_valid_before_utc)
    verifier = rules.extension_policies(ca_policy=_authorities(), ee_policy=ExtensionPolicy.permit_all())
    try:
        verifier.build_client_verifier().verify(chain[0], list(chain[1:]))
    except (VerificationError, ValueError):
        return False
    return True


def _authorities() -> ExtensionPolicy:
    """What issuers have to be; less than the web asks of its own, and no less than makes an issuer."""
    policy = ExtensionPolicy.permit_all()
    policy = policy.require_present(x509.BasicConstraints, Criticality.AGNOSTIC, _require_issuer)
    return policy.may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _require_certifying)


def _require_issuer(policy: Policy, certificate: Certificate, constraints: x509.BasicConstraints) -> None:
    if not constraints.ca:
        raise ValueError("not a certificate that may vouch for others")


def _require_certifying(policy: Policy, certificate: Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("not a key that may vouch for others")
