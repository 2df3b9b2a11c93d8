"""A download is what the registry recorded, or it is refused."""

import hashlib
import io
import warnings
import zipfile
from pathlib import Path

import pytest

from weighhouse.doors.cli.client import Refused
from weighhouse.doors.cli.verifying import Listed, Mismatch, listed_files, unpack, verify

_FILES = {"README.md": b"# a card", "weights/model.bin": bytes(range(256)) * 100, "empty": b""}


def _zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def _listed(files: dict[str, bytes]) -> dict[str, Listed]:
    return {name: Listed(len(content), hashlib.sha256(content).hexdigest()) for name, content in files.items()}


def _ignore(size_bytes: int) -> None:
    return None


def test_what_is_right_is_unpacked_whole(tmp_path: Path) -> None:
    path = _zip(tmp_path / "p.zip", _FILES)
    verify(path, _listed(_FILES), _ignore)
    unpack(path, tmp_path / "deep" / "out", _listed(_FILES), _ignore)
    found = {str(file.relative_to(tmp_path / "deep" / "out")): file for file in (tmp_path / "deep").rglob("*")}
    assert {name: found[name].read_bytes() for name in _FILES} == _FILES
    assert [entry.name for entry in (tmp_path / "deep").iterdir()] == ["out"]


def test_a_flipped_byte_is_refused_wherever_it_is(tmp_path: Path) -> None:
    path = _zip(tmp_path / "p.zip", _FILES)
    packed = bytearray(path.read_bytes())
    payload = packed.index(_FILES["weights/model.bin"])
    for place in (packed.index(b"# a card"), payload, payload + 20_000):
        packed[place] ^= 1
        path.write_bytes(packed)
        with pytest.raises(Mismatch):
            verify(path, _listed(_FILES), _ignore)
        packed[place] ^= 1
    path.write_bytes(packed)
    verify(path, _listed(_FILES), _ignore)


@pytest.mark.parametrize(
    ("inside", "why"),
    [
        ({**_FILES, "README.md": b"# b card"}, "README.md is not what the registry recorded"),
        ({**_FILES, "README.md": b"# a card and more"}, "README.md is not what the registry recorded"),
        ({**_FILES, "README.md": b""}, "README.md is not what the registry recorded"),
        ({**_FILES, "extra.py": b"x"}, "holds 'extra.py', which is not listed"),
        ({"README.md": b"# a card"}, "lacks 'empty'"),
        ({**_FILES, "../evil": b"x"}, "holds '../evil', which is not listed"),
    ],
)
def test_other_content_with_a_right_crc_is_refused(tmp_path: Path, inside: dict[str, bytes], why: str) -> None:
    path = _zip(tmp_path / "p.zip", inside)
    with pytest.raises(Mismatch, match=why):
        verify(path, _listed(_FILES), _ignore)
    with pytest.raises(Mismatch, match=why):
        unpack(path, tmp_path / "out", _listed(_FILES), _ignore)
    assert [entry.name for entry in tmp_path.iterdir()] == ["p.zip"]


def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.zip"
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("a", b"1")
        archive.writestr("a", b"1")
    with pytest.raises(Mismatch, match="two files of one name"):
        verify(path, _listed({"a": b"1"}), _ignore)


def test_a_name_that_is_cut_at_nul_is_refused(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("aX/../b", b"1")
    path = tmp_path / "p.zip"
    path.write_bytes(packed.getvalue().replace(b"aX/../b", b"a\0/../b"))
    with pytest.raises(Mismatch):
        verify(path, _listed({"a": b"1"}), _ignore)


@pytest.mark.parametrize("content", [b"", b"not a ZIP", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_zip_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "p.zip"
    path.write_bytes(content)
    with pytest.raises(Mismatch):
        verify(path, _listed(_FILES), _ignore)


@pytest.mark.parametrize("path", ["../a", "/a", "a/../b", "a//b", "C:\\a", "a\\b", "a\0b", "", ".", "a\u202eb", "a:b"])
def test_a_listed_path_that_leaves_the_folder_is_refused(path: str) -> None:
    with pytest.raises(Mismatch, match="not safe to unpack"):
        listed_files([{"path": path, "size_bytes": 1, "sha256": "0", "component": "other"}], None)


def test_a_component_download_is_measured_by_its_own_files() -> None:
    rows = [
        {"path": name, "size_bytes": 1, "sha256": "AB", "component": component}
        for name, component in (("w", "weights"), ("c", "code"), ("d", "datasets"), ("o", "other"))
    ]
    assert set(listed_files(rows, ["weights", "code"])) == {"w", "c", "o"}
    assert listed_files(rows, None)["d"] == Listed(1, "ab")


def test_unpacking_overwrites_nothing(tmp_path: Path) -> None:
    path = _zip(tmp_path / "p.zip", _FILES)
    out = tmp_path / "out"
    out.mkdir()
    unpack(path, out, _listed(_FILES), _ignore)
    with pytest.raises(Refused, match="not empty"):
        unpack(path, out, _listed(_FILES), _ignore)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refused, match="there already"):
        unpack(path, link, _listed(_FILES), _ignore)
