"""Signed models, beside the OpenSSF's own implementation: what one signs the other verifies."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from model_signing import hashing, signing, verifying

from tests.doors.rest import sha256
from tests.pki import Identity, identity
from weighhouse.rules.dsse import envelope
from weighhouse.rules.keys import BadKey
from weighhouse.rules.model_signing import MAX_SIGNATURE_BYTES, Checked, Signing, Trust, check_model, sign_model

# Their constructors have no types.
_signing: Callable[[], signing.Config] = signing.Config
_verifying: Callable[[], verifying.Config] = verifying.Config
_hashing: Callable[[], hashing.Config] = hashing.Config

FILES = {"README.md": b"# A model\n", "a/b.bin": b"\0\1", "a-b.bin": b"\2", "a/c/d.txt": "é".encode()}
DIGESTS = {path: sha256(content) for path, content in FILES.items()}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with the files, in a place of its own."""
    folder = tmp_path / "model"
    for path, content in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


@pytest.fixture(params=[ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=["P-256", "P-384", "P-521"])
def signer(request: pytest.FixtureRequest, tmp_path: Path) -> Identity:
    """Somebody on each curve."""
    return identity(tmp_path, "signer", curve=request.param)


@pytest.fixture
def ann(tmp_path: Path) -> Identity:
    """Somebody whom nobody vouches for."""
    return identity(tmp_path, "ann")


@pytest.fixture
def chain(tmp_path: Path) -> tuple[Identity, Identity, Identity]:
    """A root, what it vouches for, and somebody whom that one vouches for."""
    root = identity(tmp_path, "root", is_authority=True)
    team = identity(tmp_path, "team", root, is_authority=True)
    return root, team, identity(tmp_path, "bob", team)


@pytest.fixture
def own(ann: Identity) -> bytes:
    """A signature that was made here."""
    return sign_model("model", DIGESTS, Signing(ann.key))


def trusting(*people: Identity) -> Trust:
    return Trust([one.key.public_key() for one in people])


def payload_of(content: bytes) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(base64.b64decode(json.loads(content)["dsseEnvelope"]["payload"]))
    return document


def test_what_the_reference_signs_with_a_key_is_trusted_here(model: Path, signer: Identity, tmp_path: Path) -> None:
    target = tmp_path / "model.sig"
    _signing().use_elliptic_key_signer(private_key=signer.key_file).sign(model, target)
    checked = check_model(target.read_bytes(), DIGESTS, trusting(signer))
    assert checked.state == "trusted", checked
    assert checked.signer
    assert checked.signer.id == sha256(signer.public_file.read_bytes())


def test_what_is_signed_here_with_a_key_the_reference_verifies(model: Path, signer: Identity) -> None:
    target = model / "model.sig"
    target.write_bytes(sign_model("model", DIGESTS, Signing(signer.key), ignored={".hidden"}))
    (model / ".hidden").write_text("not signed")
    _verifying().use_elliptic_key_verifier(public_key=signer.public_file).verify(model, target)
    (model / "a/b.bin").write_bytes(b"another")
    with pytest.raises(ValueError, match=r"Hash mismatch for 'a/b\.bin'"):
        _verifying().use_elliptic_key_verifier(public_key=signer.public_file).verify(model, target)


def test_the_statement_is_the_one_that_the_reference_makes(model: Path, ann: Identity, tmp_path: Path) -> None:
    target = tmp_path / "model.sig"
    _signing().use_elliptic_key_signer(private_key=ann.key_file).sign(model, target)
    theirs, ours = payload_of(target.read_bytes()), payload_of(sign_model("model", DIGESTS, Signing(ann.key)))
    for payload in (theirs, ours):
        del payload["predicate"]["serialization"]["ignore_paths"]
    assert ours == theirs


def test_certificates_go_both_ways(model: Path, chain: tuple[Identity, ...], tmp_path: Path) -> None:
    root, team, bob = chain
    target = tmp_path / "model.sig"
    _signing().use_certificate_signer(
        private_key=bob.key_file, signing_certificate=bob.certificate_file, certificate_chain=[team.certificate_file]
    ).sign(model, target)
    checked = check_model(target.read_bytes(), DIGESTS, Trust(certificates=[root.certificate]))
    assert (checked.state, checked.signer and checked.signer.name) == ("trusted", "CN=bob")
    target = model / "model.sig"
    target.write_bytes(sign_model("model", DIGESTS, Signing(bob.key, [bob.certificate, team.certificate])))
    _verifying().use_certificate_verifier(certificate_chain=[root.certificate_file]).verify(model, target)


def test_whom_nobody_trusted_vouches_for_is_unknown(chain: tuple[Identity, ...], ann: Identity, tmp_path: Path) -> None:
    root, team, bob = chain
    content = sign_model("model", DIGESTS, Signing(bob.key, [bob.certificate, team.certificate]))
    for trusted in ((), (ann.certificate,), (identity(tmp_path, "root", is_authority=True).certificate,)):
        assert check_model(content, DIGESTS, Trust(certificates=trusted)).state == "unknown"
    without_team = sign_model("model", DIGESTS, Signing(bob.key, [bob.certificate]))
    assert check_model(without_team, DIGESTS, Trust(certificates=[root.certificate])).state == "unknown"
    assert check_model(without_team, DIGESTS, Trust(certificates=[team.certificate])).state == "trusted"
    assert check_model(without_team, DIGESTS, Trust(certificates=[bob.certificate])).state == "trusted"


def test_who_signs_may_not_vouch_for_others(chain: tuple[Identity, ...], tmp_path: Path) -> None:
    root, team, bob = chain
    eve = identity(tmp_path, "eve", bob)
    content = sign_model("model", DIGESTS, Signing(eve.key, [eve.certificate, bob.certificate, team.certificate]))
    assert check_model(content, DIGESTS, Trust(certificates=[root.certificate])).state == "unknown"


def test_a_certificate_that_is_not_for_signing_signs_nothing(tmp_path: Path, ann: Identity) -> None:
    mail = identity(tmp_path, "mail", may_sign=False)
    with pytest.raises(BadKey, match="not for signing"):
        sign_model("model", DIGESTS, Signing(mail.key, [mail.certificate]))
    with pytest.raises(BadKey, match="another key"):
        sign_model("model", DIGESTS, Signing(ann.key, [mail.certificate]))
    bundle = json.loads(sign_model("model", DIGESTS, Signing(mail.key)))
    bundle["verificationMaterial"] = certificates(mail)
    checked = check_model(json.dumps(bundle).encode(), DIGESTS, Trust(certificates=[mail.certificate]))
    assert (checked.state, checked.reason) == ("invalid", "The certificate that signed is not for signing.")


def certificates(*people: Identity) -> dict[str, Any]:
    encoded = [base64.b64encode(der(one)).decode() for one in people]
    return {"x509CertificateChain": {"certificates": [{"rawBytes": one} for one in encoded]}}


def der(person: Identity) -> bytes:
    return base64.b64decode("".join(person.certificate_file.read_text().splitlines()[1:-1]))


def test_a_key_that_is_not_known_is_unknown_and_a_signature_that_is_not_its_own_is_invalid(
    own: bytes, ann: Identity, tmp_path: Path
) -> None:
    other = identity(tmp_path, "other")
    assert check_model(own, DIGESTS, trusting(other)).state == "unknown"
    bundle = json.loads(own)
    bundle["verificationMaterial"]["publicKey"]["hint"] = sha256(other.public_file.read_bytes())
    checked = check_model(json.dumps(bundle).encode(), DIGESTS, trusting(other, ann))
    assert (checked.state, checked.reason) == (
        "invalid",
        "The signature was changed, or is not that of the key it names.",
    )
    del bundle["verificationMaterial"]["publicKey"]["hint"]
    assert check_model(json.dumps(bundle).encode(), DIGESTS, trusting(other, ann)).state == "trusted"


CHANGES: dict[str, tuple[Callable[[dict[str, str]], object], str]] = {
    "changed": (lambda files: files.update({"a-b.bin": "0" * 64}), "a-b.bin is not the file that was signed"),
    "more": (lambda files: files.update({"run.py": "0" * 64}), "run.py was not signed."),
    "less": (lambda files: files.pop("a/b.bin"), "a/b.bin was signed and is not there."),
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_files_than_the_signed_ones_are_invalid_whoever_signed(own: bytes, ann: Identity, change: str) -> None:
    files = dict(DIGESTS)
    apply, words = CHANGES[change]
    apply(files)
    for trust in (trusting(ann), Trust()):
        checked = check_model(own, files, trust)
        assert (checked.state, words in checked.reason) == ("invalid", True), checked
    assert (check_model(own, files, trusting(ann), may_lack=True).state == "trusted") == (change == "less")


def test_what_the_signer_left_out_may_be_there(ann: Identity) -> None:
    content = sign_model("model", DIGESTS, Signing(ann.key), ignored={"notes"})
    there = DIGESTS | {"notes/a.txt": "0" * 64, "model.sig": "0" * 64, ".gitattributes": "0" * 64}
    assert check_model(content, there, trusting(ann)).state == "trusted"
    assert check_model(content, DIGESTS | {"notes.txt": "0" * 64}, trusting(ann)).state == "invalid"


def resigned(content: bytes, person: Identity, change: Callable[[dict[str, Any]], object]) -> bytes:
    """The same with another statement, which is signed too."""
    payload = payload_of(content)
    change(payload)
    return json.dumps(json.loads(content) | {"dsseEnvelope": envelope(payload, person.key, "")}).encode()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda said: said["subject"][0]["digest"].update(sha256="0" * 64), "contradicts itself"),
        (lambda said: said["predicate"]["resources"].reverse(), "contradicts itself"),
        (lambda said: said.update(predicateType="https://model_signing/Digests/v0.1"), "not https://model_signing"),
        (lambda said: said.update(subject=[]), "does not list the model's files"),
        (lambda said: said["predicate"]["resources"].append({"name": "x"}), "does not list the model's files"),
        (lambda said: said["predicate"].update(serialization=7), "does not list the model's files"),
        (lambda said: said.update(_type="https://example.org/"), "What is signed is no https://in-toto.io"),
    ],
)
def test_a_statement_that_is_none_is_invalid_though_it_is_signed(
    own: bytes, ann: Identity, change: Callable[[dict[str, Any]], object], words: str
) -> None:
    checked = check_model(resigned(own, ann, change), DIGESTS, trusting(ann))
    assert (checked.state, words in checked.reason) == ("invalid", True), checked


@pytest.mark.parametrize("kind", ["blake3", "shards"])
def test_digests_that_cannot_be_compared_are_not_called_trusted(
    model: Path, ann: Identity, tmp_path: Path, kind: str
) -> None:
    target = tmp_path / "model.sig"
    how = _hashing()
    how = how.use_shard_serialization() if kind == "shards" else how.use_file_serialization(hashing_algorithm="blake3")
    _signing().use_elliptic_key_signer(private_key=ann.key_file).set_hashing_config(how).sign(model, target)
    checked = check_model(target.read_bytes(), DIGESTS, trusting(ann))
    assert (checked.state, "only files by sha256 are compared" in checked.reason) == ("unknown", True)


def test_a_changed_payload_is_invalid(own: bytes, ann: Identity) -> None:
    bundle = json.loads(own)
    payload = base64.b64decode(bundle["dsseEnvelope"]["payload"]).replace(b'"model"', b'"other"')
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    assert check_model(json.dumps(bundle).encode(), DIGESTS, trusting(ann)).state == "invalid"


def test_a_signature_without_a_key_of_its_own_is_unknown_and_names_who_it_is_for(own: bytes, ann: Identity) -> None:
    bundle = json.loads(own)
    bundle["verificationMaterial"] = {"certificate": {"rawBytes": base64.b64encode(der(ann)).decode()}}
    checked = check_model(json.dumps(bundle).encode(), DIGESTS, Trust(certificates=[ann.certificate]))
    assert (checked.state, checked.signer and checked.signer.kind) == ("unknown", "sigstore")
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(b"x" * 70).decode()
    assert check_model(json.dumps(bundle).encode(), DIGESTS, Trust()).state == "invalid"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x",
        b"[]",
        b"{}",
        b'{"verificationMaterial":{}}',
        b"[" * 100_000,
        b"\xff\xfe",
        b" " * (MAX_SIGNATURE_BYTES + 1),
    ],
    ids=lambda content: str(content[:20]),
)
def test_what_is_no_signature_is_invalid_with_a_reason(content: bytes) -> None:
    checked = check_model(content, DIGESTS, Trust())
    assert checked.state == "invalid"
    assert checked.reason.startswith("model.sig is")


def nodes(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of everything in a document."""
    if place:
        yield place
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield from nodes(inner, (*place, key))


_JUNK: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**40), 2**40), st.text(), st.sampled_from(([], {}, [None], {"a": 1}))
)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> tuple[Identity, ...]:
    folder = tmp_path_factory.mktemp("people")
    root = identity(folder, "root", is_authority=True)
    return root, identity(folder, "bob", root)


@given(data=st.data())
def test_whatever_is_in_the_place_of_whatever_is_an_answer_and_never_trusted_by_mistake(
    people: tuple[Identity, ...], data: st.DataObject
) -> None:
    root, bob = people
    content = sign_model("model", DIGESTS, Signing(bob.key, [bob.certificate]))
    bundle = json.loads(content)
    inside = data.draw(st.booleans())
    document = payload_of(content) if inside else bundle
    place = data.draw(st.sampled_from(list(nodes(document))))
    *above, last = place
    holder = document
    for key in above:
        holder = holder[key]
    holder[last] = data.draw(_JUNK)
    if inside:
        bundle["dsseEnvelope"] = envelope(document, bob.key, "")
    checked = check_model(json.dumps(bundle).encode(), DIGESTS, Trust(certificates=[root.certificate]))
    assert isinstance(checked, Checked)
    harmless = {"keyid", "tlogEntries", "name", "allow_symlinks", "ignore_paths", "payloadType"}
    assert checked.state != "trusted" or harmless & set(map(str, place)), place


def test_fifty_thousand_files_are_checked_within_seconds(ann: Identity) -> None:
    files = {f"data/a-long-name-of-a-folder/{number:06}.txt": sha256(str(number).encode()) for number in range(50_000)}
    content = sign_model("model", files, Signing(ann.key))
    began = time.monotonic()
    assert len(content) < MAX_SIGNATURE_BYTES
    assert check_model(content, files, trusting(ann)).state == "trusted"
    assert time.monotonic() - began < 10
