"""A folder becomes a ZIP of the announced length, and nothing that should stay home is in it."""

import io
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighhouse.doors.cli.client import Refused
from weighhouse.doors.cli.packing import (
    Member,
    file_member,
    form_parts,
    list_members,
    read_pieces,
    stream_zip,
    zip_bytes,
)
from weighhouse.rules.paths import BadPath, path_key

_PART = st.text(st.sampled_from("abcäßж語0_"), min_size=1, max_size=20).filter(lambda part: path_key(part) == part)


def _write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def _paths(folder: Path, **options: bool | list[str]) -> list[str]:
    return [member.path for member in list_members(folder, **options)]  # type: ignore[arg-type]  # both kinds are right


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(_PART, st.binary(max_size=2000), min_size=1, max_size=8))
def test_the_zip_has_the_announced_length_and_reads_back(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder), {f"d/{name}": content for name, content in files.items()})
        members = list_members(Path(folder))
        told: list[int] = []
        packed = b"".join(stream_zip(members, told.append))
        on_disk = {member.path: member.source.read_bytes() for member in members}
    assert len(packed) == zip_bytes(members) == sum(told)
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert archive.testzip() is None
        assert {info.filename: archive.read(info) for info in archive.infolist()} == on_disk
        assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())


def test_the_same_files_give_the_same_bytes_sorted_by_path(tmp_path: Path) -> None:
    files = {"b.txt": b"2", "a/z.txt": b"1", "a.txt": b"0"}
    one = _write(tmp_path / "one", files)
    two = _write(tmp_path / "two", dict(reversed(files.items())))
    packed = [b"".join(stream_zip(list_members(folder), lambda size: None)) for folder in (one, two)]
    assert packed[0] == packed[1]
    with zipfile.ZipFile(io.BytesIO(packed[0])) as archive:
        assert archive.namelist() == sorted(files)


def test_more_members_than_sixteen_bits_count_read_back(tmp_path: Path) -> None:
    source = _write(tmp_path, {"one": b"x"}) / "one"
    members = [Member(f"{number:05}", source, 1) for number in range(65_536)]
    packed = b"".join(stream_zip(members, lambda size: None))
    assert len(packed) == zip_bytes(members)
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert len(archive.infolist()) == 65_536


@pytest.mark.long
def test_a_file_over_four_gibibytes_and_the_one_behind_it_read_back(tmp_path: Path) -> None:
    large = tmp_path / "in" / "large.bin"
    large.parent.mkdir()
    with large.open("wb") as file:
        file.truncate(2**32 + 5)
    (tmp_path / "in" / "small.bin").write_bytes(b"behind")
    members = list_members(large.parent)
    packed = tmp_path / "packed.zip"
    with packed.open("wb") as file:
        for piece in stream_zip(members, lambda size: None):
            # Holes stay holes, so that the test needs no 4 GiB of disk.
            if piece.count(0) == len(piece):
                file.seek(len(piece), io.SEEK_CUR)
            else:
                file.write(piece)
    assert packed.stat().st_size == zip_bytes(members)
    with zipfile.ZipFile(packed) as archive:
        assert archive.testzip() is None
        assert archive.read("small.bin") == b"behind"
        assert archive.getinfo("large.bin").file_size == 2**32 + 5


def test_hidden_files_and_caches_stay_home_unless_all_is_said(tmp_path: Path) -> None:
    kept = {"config.json": b"", ".git/HEAD": b"", ".cache/x": b"", "code/__pycache__/m.pyc": b"", "code/m.py": b""}
    _write(tmp_path, kept)
    assert _paths(tmp_path) == ["code/m.py", "config.json"]
    assert _paths(tmp_path, everything=True) == sorted(kept)
    assert _paths(tmp_path, ignore=["code/*.py"]) == ["config.json"]
    assert _paths(tmp_path, everything=True, ignore=["code", ".*"]) == ["config.json"]


def test_a_link_that_leaves_the_folder_is_refused_and_named(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s")
    folder = _write(tmp_path / "model", {"a.txt": b"a"})
    (folder / "b.txt").symlink_to(secret)
    with pytest.raises(Refused, match=r"b\.txt is a link that leaves the folder"):
        list_members(folder)
    assert _paths(folder, ignore=["b.txt"]) == ["a.txt"]


def test_links_inside_are_followed_and_loops_are_refused(tmp_path: Path) -> None:
    folder = _write(tmp_path / "model", {"real/a.txt": b"a"})
    (folder / "again").symlink_to(folder / "real")
    (folder / "b.txt").symlink_to("real/a.txt")
    assert _paths(folder) == ["again/a.txt", "b.txt", "real/a.txt"]
    (folder / "real" / "up").symlink_to("..")
    with pytest.raises(Refused, match="up is a link to a folder that holds it"):
        list_members(folder)


def test_a_link_to_nothing_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="holds no files"):
        list_members(tmp_path)
    (tmp_path / "gone").symlink_to("nowhere")
    with pytest.raises(Refused, match="gone is a link to nothing"):
        list_members(tmp_path)


@pytest.mark.parametrize(
    "name", ["a\\b", "NUL.txt", "-rf", "a\u202eb", "end.", b"\xff".decode(errors="surrogateescape")]
)
def test_a_name_that_the_registry_refuses_is_refused_before_the_first_byte(tmp_path: Path, name: str) -> None:
    _write(tmp_path, {name: b""})
    with pytest.raises(BadPath):
        list_members(tmp_path)


def test_names_that_fall_together_elsewhere_are_refused(tmp_path: Path) -> None:
    _write(tmp_path, {"README.md": b"", "readme.md": b""})
    if len(list(tmp_path.iterdir())) == 1:
        pytest.skip("this file system takes the two names for one")
    with pytest.raises(BadPath, match="differs from another only in case"):
        list_members(tmp_path)


@pytest.mark.parametrize("now", [b"", b"shor", b"longer"])
def test_a_file_that_changes_while_it_is_read_stops_the_upload(tmp_path: Path, now: bytes) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"right")
    member = file_member(path)
    path.write_bytes(now)
    with pytest.raises(Refused, match="changed while it was being read"):
        list(read_pieces(member))


def test_the_text_fields_of_the_form_stand_before_the_file() -> None:
    head, tail = form_parts([("name", "bert"), ("description", "größer\r\nzwei")], 'a"b\n.zip', "B")
    assert head.index(b'name="name"') < head.index(b'name="description"') < head.index(b'name="file"')
    assert b'filename="a%22b%0A.zip"' in head
    assert "größer\r\nzwei".encode() in head
    assert head.endswith(b"\r\n\r\n")
    assert tail == b"\r\n--B--\r\n"
