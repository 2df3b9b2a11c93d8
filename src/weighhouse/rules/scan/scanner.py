"""The scanner: a file of any format is judged by its content, without running any of it.

A list of what may be imported decides; lists of dangerous names only say more. What cannot be read is never safe. Memory
does not depend on the size of the file, and each scan ends within the limits of `Budget`.
"""

from collections.abc import Callable, Mapping

from weighhouse.rules.scan import arrays, compressed, configs, graphs, native, pickles, tars, tensors, texts, zips
from weighhouse.rules.scan.place import Place
from weighhouse.rules.scan.source import Broken, Budget, LimitReached, Source, View
from weighhouse.rules.scan.verdict import Level, Report, Verdict

SCANNER_VERSION = "1"
"""Grows with every change of a rule, so that what was scanned by an older one is scanned anew."""

_HEAD_BYTES = 512
_HDF5 = b"\x89HDF\r\n\x1a\n"
_CONTAINERS: Mapping[bytes, str] = {
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!\x1a\x07": "RAR",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"\x04\x22\x4d\x18": "LZ4",
    b"MSCF\0\0\0\0": "CAB",
    b"xar!": "XAR",
    b"!<arch>\n": "ar",
    b"ZF0x": "old joblib",
}
# Pictures, sounds, tables and other formats whose readers run nothing: where the magic is, and the magic.
_INERT: tuple[tuple[int, bytes], ...] = (
    (0, b"\x89PNG\r\n\x1a\n"),
    (0, b"\xff\xd8\xff"),
    (0, b"GIF8"),
    (0, b"RIFF"),
    (0, b"OggS"),
    (0, b"fLaC"),
    (0, b"ID3"),
    (4, b"ftyp"),
    (0, b"PAR1"),
    (0, b"ARROW1\0\0"),
    (4, b"TFL3"),
    (0, b"wOFF"),
    (0, b"wOF2"),
)
# What a file of this name is; other content under it is a disguise.
_PROMISES: Mapping[str, str] = {
    "safetensors": "safetensors",
    "gguf": "gguf",
    "onnx": "onnx",
    "h5": "hdf5",
    "hdf5": "hdf5",
    "npz": "zip",
    "npy": "npy",
    **dict.fromkeys(("json", "txt", "md", "yaml", "yml", "csv", "jinja", "py", "toml", "jsonl"), "text"),
    **dict.fromkeys(("png", "jpg", "jpeg", "gif", "webp", "mp3", "wav", "mp4", "parquet", "tflite"), "inert"),
}


class _Guard:
    """A source whose own failures stay apart from those of the scanner."""

    def __init__(self, source: Source) -> None:
        self.error: Exception | None = None
        self._source = source

    def read(self, start: int, length: int) -> bytes:
        try:
            return self._source.read(start, length)
        except Exception as error:
            self.error = error
            raise


def scan(source: Source, path: str, size_bytes: int) -> Verdict:
    """What loading this file could do, learned without loading it.

    Content never makes it fail: a scanner that stumbles says `unscanned`.

    Args:
        source: The file; nothing of it is kept.
        path: Its place in the package. It only tells which libraries would read the file; content decides.
        size_bytes: The whole file.

    Raises:
        Exception: What `source.read` raises goes through.
    """
    report, guard = Report(), _Guard(source)
    place = Place(report, path, _scan_content)
    try:
        _scan_content(View(guard, 0, size_bytes, Budget()), place)
    except LimitReached as limit:
        report.add(Level.UNSCANNED, "limit", str(limit))
    except Exception as error:
        if guard.error is not None:
            raise guard.error from None
        report.add(Level.UNSCANNED, "scanner-failed", f"The scanner failed: {type(error).__name__}.")
    return report.verdict()


def _scan_content(view: View, place: Place) -> None:
    """Scans one file or member by whatever it is."""
    if view.size == 0:
        return
    if not view.read(0, 1):
        place.add(Level.SUSPICIOUS, "cut-off", "There is nothing where the file should be.")
        return
    promised = _PROMISES.get(place.extension)
    kind = _scan_kind(view, place)
    # Text in an old encoding is unknown, and no disguise.
    if promised is not None and kind != promised and (promised, kind) != ("text", "unknown"):
        level = Level.UNSAFE if kind in ("pickle", "native") else Level.SUSPICIOUS
        place.add(level, "disguise", f"The name says {promised}, the content is {kind}.")
    if kind != "zip" and zips.find_directory(view) is not None:
        # Readers of ZIPs look at the end of a file, readers of everything else at its start.
        place.add(Level.SUSPICIOUS, "two-formats", "The file is also a ZIP.")
        zips.scan_zip(view, place)


def _scan_kind(view: View, place: Place) -> str:
    """Scans the content and says what kind it is."""
    head = view.read(0, _HEAD_BYTES)
    if head[:4] in (b"PK\3\4", b"PK\5\6", b"PK\7\x08"):
        zips.scan_zip(view, place)
        return "zip"
    if native_kind := native.native_kind(view):
        place.add(Level.UNSAFE, "native-code", f"This is {native_kind}.")
        return "native"
    # One header of safetensors in eleven thousand begins like a pickle; one that is both is taken for both.
    if tensors.is_safetensors(view):
        tensors.scan_safetensors(view, place)
        if pickles.is_pickle(head) and pickles.probe_pickle(view, place):
            return "pickle"
        return "safetensors"
    if pickles.is_pickle(head):
        pickles.scan_pickles(view, place)
        return "pickle"
    for magic, name in _CONTAINERS.items():
        if head.startswith(magic):
            place.add(Level.SUSPICIOUS, "container", f"Containers of the kind {name} are not accepted.")
            return "container"
    for recognise in _BY_MAGIC:
        if (kind := recognise(view, place, head)) is not None:
            return kind
    return _scan_unmarked(view, place, head)


def _hdf5(view: View, place: Place, head: bytes) -> str | None:
    starts = (0, 512, 1_024, 2_048, 4_096, 8_192)
    if not any(view.read(start, 8) == _HDF5 for start in starts if start < view.size):
        return None
    if head[:8] != _HDF5:
        place.add(Level.SUSPICIOUS, "hdf5-prefix", "There is something else before the HDF5.")
    described = _holds(view, b"model_config")
    configs.find_documents(view, place, wanted=described)
    return "hdf5"


def _holds(view: View, word: bytes) -> bool:
    step = (1 << 20) - len(word)
    return any(word in view.read(position, 1 << 20) for position in range(0, view.size, step))


def _array(view: View, place: Place, head: bytes) -> str | None:
    if not head.startswith(arrays.MAGIC):
        return None
    arrays.scan_array(view, place)
    return "npy"


def _gguf(view: View, place: Place, head: bytes) -> str | None:
    if head[:4] != b"GGUF":
        return None
    tensors.scan_gguf(view, place)
    return "gguf"


def _tar(view: View, place: Place, head: bytes) -> str | None:
    if not tars.is_tar(head):
        return None
    tars.scan_tar(view, place)
    return "tar"


def _compressed(view: View, place: Place, head: bytes) -> str | None:
    codec = compressed.codec_of(head)
    if codec is None:
        return None
    content, fault = compressed.unpack(view, codec, view.budget)
    if codec.name == "zlib" and content.size == 0:
        # Two bytes are a weak sign: what gives nothing is something else.
        return None
    if fault:
        place.add(Level.SUSPICIOUS, "compressed-broken", f"The {codec.name} content cannot be trusted: {fault}.")
    name = (
        place.name.removesuffix("." + place.extension)
        if place.extension in ("gz", "bz2", "xz", "lzma", "z")
        else place.name
    )
    place.descend(content, name.rpartition("/")[2])
    return "compressed"


def _inert(view: View, place: Place, head: bytes) -> str | None:
    return "inert" if any(head[at : at + len(magic)] == magic for at, magic in _INERT) else None


_BY_MAGIC: tuple[Callable[[View, Place, bytes], str | None], ...] = (_hdf5, _array, _gguf, _tar, _compressed, _inert)


def _scan_unmarked(view: View, place: Place, head: bytes) -> str:
    """Scans what no magic tells: text, pickles without a header, messages of graphs."""
    if pickles.probe_pickle(view, place):
        # Once more, for what follows it.
        pickles.scan_pickles(view, place)
        return "pickle"
    if texts.is_text(view) and place.extension != "pb":
        if place.extension in pickles.PICKLE_EXTENSIONS and _is_bare_pickle(view, place):
            return "pickle"
        if head.lstrip()[:1] in (b"{", b"[") or place.extension == "json":
            configs.scan_json(view, place)
        texts.scan_text(view, place)
        return "text"
    if graphs.is_onnx(view):
        graphs.scan_onnx(view, place)
        return "onnx"
    if head[:1] in (b"\x08", b"\x0a") and graphs.scan_tensorflow(view, place):
        return "graph"
    if place.extension == "pb":
        configs.find_documents(view, place, wanted=False)
    if native.is_compound(head):
        place.add(Level.SUSPICIOUS, "office", "An office document in a format that can hold macros.")
        return "office"
    if place.extension in pickles.PICKLE_EXTENSIONS and _is_bare_pickle(view, place):
        return "pickle"
    place.add(Level.UNSCANNED, "unknown-format", "No format is known that begins so.")
    return "unknown"


def _is_bare_pickle(view: View, place: Place) -> bool:
    """Scans a pickle of protocol 0 or 1 that does nothing, so that what follows it is looked at as well."""
    try:
        pickles.check_pickle(view)
    except Broken:
        return False
    pickles.scan_pickles(view, place)
    return True
