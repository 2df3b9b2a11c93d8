import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighhouse.rules.errors import Malformed
from weighhouse.rules.paths import BadPath, PathSet, check_path, member_path, path_key, shown

BAD = {
    "parent": b"../x",
    "inner parent": b"a/../../x",
    "root": b"/x",
    "network": b"//h/x",
    "drive": b"C:\\x",
    "drive, slash": b"C:/x",
    "backslash": b"..\\x",
    "stream": b"x:stream",
    "device": b"CON",
    "device with end": b"NUL.txt",
    "device, lower, inner": b"a/lpt1.tar.gz",
    "device, superscript": "com¹.x".encode(),
    "device, space": b"aux .txt",
    "trailing dot": b"a./b",
    "trailing space": b"a/b ",
    "empty": b"",
    "empty part": b"a//b",
    "trailing slash": b"a/",
    "dot": b"./a",
    "only dot": b".",
    "dash": b"-rf",
    "inner dash": b"a/-rf",
    "nul": b"x\x00../../evil",
    "control": b"a\x07b",
    "newline": b"a\nb",
    "delete": b"a\x7f",
    "c1 control": "a\x85b".encode(),
    "invalid utf-8": b"a\xff",
    "overlong": b"\xc0\xaf",
    "surrogate": b"\xed\xa0\x80",
    "right to left override": "a\u202egpj.exe".encode(),
    "isolate": "a\u2066b".encode(),
    "line separator": "a\u2028b".encode(),
    "long": b"a/" * 512 + b"b",
    "very long": b"a" * 40_000,
    "long part": b"a" * 256,
    "deep": b"a/" * 32 + b"b",
    "very deep": b"a/" * 400 + b"b",
}
GOOD = [
    b"a",
    b"weights/model-00001-of-00002.safetensors",
    b".gitattributes",
    b"..a/b..c",
    "模型/重み é.bin".encode(),
    b"console.py",
    b"com/lpt/auxiliary.txt",
    b"a" * 255,
    b"a/" * 31 + b"b",
    b"a b (1)+[x]{y}~!@#$%^&=,;'.txt",
]


@pytest.mark.parametrize("raw", BAD.values(), ids=BAD)
def test_a_path_that_some_system_reads_otherwise_is_refused(raw: bytes) -> None:
    with pytest.raises(BadPath) as caught:
        member_path(raw)
    assert isinstance(caught.value, Malformed)
    assert len(caught.value.detail) < 700
    assert caught.value.detail.isprintable()


@pytest.mark.parametrize("raw", GOOD)
def test_a_plain_path_stays_as_it_is(raw: bytes) -> None:
    assert member_path(raw).encode() == raw


def test_a_lone_surrogate_in_text_is_refused() -> None:
    with pytest.raises(BadPath, match="surrogate"):
        check_path("a\ud800")


def test_the_limits_of_a_path_are_exact() -> None:
    part = b"a" * 255
    assert member_path(b"/".join([part] * 4))
    assert member_path(b"/".join([part] * 3 + [b"b" * 254, b"c"]))
    with pytest.raises(BadPath, match="1024"):
        member_path(b"/".join([part] * 3 + [b"b" * 254, b"cc"]))


@given(st.binary(max_size=60))
def test_any_bytes_are_a_path_or_refused(raw: bytes) -> None:
    try:
        path = member_path(raw)
    except BadPath:
        return
    assert path.encode() == raw
    assert not {"", ".", ".."} & set(path.split("/"))


@given(st.text())
def test_any_text_shows_on_one_line(text: str) -> None:
    assert shown(text).isprintable()


def refused(*paths: tuple[str, bool]) -> bool:
    for order in (paths, paths[::-1]):
        found = PathSet()
        try:
            for path, is_dir in order:
                found.add(path, is_dir=is_dir)
            found.close()
        except BadPath:
            continue
        assert order is paths, "one order is refused and the other is not"
        return False
    return True


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a", "a"),
        ("a.txt", "A.TXT"),
        ("caf\u00e9", "cafe\u0301"),
        ("STRASSE", "stra\u00dfe"),
        ("a", "a/b"),
        ("a", "A/b/c"),
        ("a/b", "a/b/c/d"),
    ],
)
def test_paths_that_get_in_each_others_way_are_refused(first: str, second: str) -> None:
    assert refused((first, False), (second, False))
    assert refused((first, False), ("a b", False), ("a.b", False), ("a!", False), (second, False))


def test_a_file_and_a_directory_of_one_name_are_refused() -> None:
    assert refused(("a", False), ("a", True))
    assert refused(("a", True), ("A", True))


def test_folders_and_look_alikes_stay_apart() -> None:
    assert not refused(("a", True), ("a/b", False), ("a/c", False), ("ab", False), ("a.b", False), ("a-b/c", False))


def test_a_key_is_the_same_for_what_some_system_takes_for_one() -> None:
    assert path_key("A/\u00c9") == path_key("a/e\u0301")
    assert path_key("a") != path_key("b")
