"""Made-up archives, from good ones to nothing but lies: refused, or read alike by everybody and given out unchanged."""

import io
import zipfile
import zlib
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.rules.test_zipscan import PACKED, X, archive, end, entry, local, scan
from tests.rules.test_zipview import bytes_of, files_of
from weighhouse.rules.errors import RegistryError
from weighhouse.rules.zipview import layout

_NAMES = st.one_of(
    st.sampled_from([b"a.txt", b"d/b.bin", b"d", b"d/", b"../a", b"/a", b"a\0b", b"A.TXT", b"CON", b"a\\b", b"", b"."]),
    st.text(max_size=12).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.binary(max_size=8),
)
_NUMBERS = st.one_of(st.integers(0, 40), st.sampled_from([0xFFFF, 0xFFFFFFFE, 0xFFFFFFFF, 1 << 31]))
# Half of all records lie about nothing, so that whole archives come about too.
_LIES: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    st.fixed_dictionaries(
        {},
        optional={
            "flags": st.sampled_from([0, 1, 2, 8, 0x800, 0x808, 0x2000, 0x40]),
            "method": st.sampled_from([0, 8, 9, 12, 99]),
            "crc": _NUMBERS,
            "packed": _NUMBERS,
            "unpacked": _NUMBERS,
            "extra": st.one_of(st.binary(max_size=24), st.just(b"\x01\x00\x10\x00" + bytes(16))),
        },
    ),
)
_MEMBERS = st.lists(
    st.tuples(_NAMES, st.one_of(st.binary(max_size=40), st.just(X)), _LIES, _LIES, st.booleans(), st.booleans()),
    min_size=1,
    max_size=4,
)
_MADE = {
    "members": st.one_of(_MEMBERS, _MEMBERS.map(lambda members: honest(members))),
    "pieces": st.integers(1, 200),
    "between": st.sampled_from([b"", b"", b"", b"hidden", b"PK\x07\x08"]),
}


def honest(members: list[Any]) -> list[Any]:
    """The same content and packing under good names, without lies."""
    return [
        (b"d%d/n.txt" % number, content, {}, {}, is_packed, is_utf8)
        for number, (_, content, _, _, is_packed, is_utf8) in enumerate(members)
    ]


def made(members: list[Any], between: bytes) -> bytes:
    """The archive of these members: local headers, directory, end."""
    locals_, entries = b"", b""
    for name, content, local_lie, entry_lie, is_packed, is_utf8 in members:
        true: dict[str, Any] = {"flags": 0x800} if is_utf8 else {}
        body = content
        if is_packed:
            deflater = zlib.compressobj(wbits=-15)
            body = deflater.compress(content) + deflater.flush()
            true |= {"method": 8, "packed": len(body)}
        entries += entry(name, content, len(locals_), **true | entry_lie)
        locals_ += local(name, content, **true | {"body": body} | local_lie)
    return locals_ + between + entries + end(len(members), len(entries), len(locals_) + len(between))


def check(members: list[Any], pieces: int, between: bytes) -> None:
    data = made(members, between)
    try:
        found, _ = scan(data, pieces)
    except RegistryError:
        event("refused")
        return
    event("read")
    # The same to the standard library …
    with zipfile.ZipFile(io.BytesIO(data)) as other:
        assert {name.rstrip("/") for name in other.namelist()} == set(found)
        assert all(other.read(name) == (found[name.rstrip("/")] or b"") for name in other.namelist())
    # … and what a download makes of it holds the files, each as it was, to us and to others.
    files = {path: content for path, content in found.items() if content is not None}
    given_out = bytes_of(layout(files_of(files)), files)
    assert scan(given_out, pieces)[0] == files
    with zipfile.ZipFile(io.BytesIO(given_out)) as other:
        assert {name: other.read(name) for name in other.namelist()} == files


@given(**_MADE)
@settings(max_examples=300)
def test_a_made_up_archive_is_refused_or_given_out_unchanged(members: list[Any], pieces: int, between: bytes) -> None:
    check(members, pieces, between)


@pytest.mark.long
@given(**_MADE)
@settings(max_examples=20_000)
def test_a_made_up_archive_is_refused_or_given_out_unchanged_at_length(
    members: list[Any], pieces: int, between: bytes
) -> None:
    check(members, pieces, between)


def test_what_is_made_up_can_be_good() -> None:
    """Without this, archives that are all refused would prove nothing."""
    plain: tuple[Any, ...] = (b"a.txt", X, {}, {}, False, False)
    packed: tuple[Any, ...] = (b"d/b.bin", X, {}, {}, True, True)
    assert made([plain], b"") == archive(local(b"a.txt", X), entry(b"a.txt", X))
    assert scan(made([plain, packed], b""))[0] == {"a.txt": X, "d/b.bin": X}
    assert PACKED in made([packed], b"")
