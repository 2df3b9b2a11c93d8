"""NumPy arrays: a header, and then numbers, or a pickle when the array holds objects."""

import ast
import math
import re
import struct

from weighhouse.rules.scan.pickles import scan_pickles
from weighhouse.rules.scan.place import Place
from weighhouse.rules.scan.source import Broken, View, need
from weighhouse.rules.scan.verdict import Level

MAGIC = b"\x93NUMPY"
# As NumPy itself has it.
_MAX_HEADER_BYTES = 10_000
_DTYPE = re.compile(r"[<>|=]?([biufcmMSUVO?])(\d{0,9})(\[\w+\])?")


def scan_array(view: View, place: Place) -> None:
    """Scans one `.npy`: objects as the pickle that they are, numbers by their length."""
    try:
        start, header = _header(view)
    except Broken as error:
        place.add(Level.SUSPICIOUS, "npy-broken", str(error), error.position)
        return
    described = header.get("descr")
    if _has_objects(described):
        scan_pickles(view.part(start, view.size - start), place)
        return
    size = _size(described, header.get("shape"))
    if size is not None and size != view.size - start:
        place.add(Level.SUSPICIOUS, "npy-size", "The array has another size than its header says.", start)


def _header(view: View) -> tuple[int, dict[str, object]]:
    major = need(view, 6, 2)[0]
    width = 2 if major == 1 else 4
    (length,) = struct.unpack("<H" if width == 2 else "<I", need(view, 8, width))
    if major not in (1, 2, 3) or length > _MAX_HEADER_BYTES:
        raise Broken("The header of the array is longer than NumPy takes, or of an unknown version.", 8)
    text = need(view, 8 + width, length).decode("latin-1")
    try:
        header = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise Broken("The header of the array cannot be read.", 8) from error
    if not isinstance(header, dict) or set(header) != {"descr", "fortran_order", "shape"}:
        raise Broken("The header of the array is not one of NumPy's.", 8)
    return 8 + width + length, header


def _has_objects(described: object) -> bool:
    """Whether a dtype holds objects; one that cannot be understood might."""
    if isinstance(described, str):
        match = _DTYPE.fullmatch(described)
        return match is None or match[1] == "O"
    if isinstance(described, list | tuple):
        return any(
            _has_objects(field[1]) if isinstance(field, tuple) and len(field) > 1 else True for field in described
        )
    return True


def _size(described: object, shape: object) -> int | None:
    """Bytes of an array of one simple type; `None` for structures, whose padding is NumPy's own."""
    match = _DTYPE.fullmatch(described) if isinstance(described, str) else None
    if match is None:
        return None
    if not isinstance(shape, tuple) or not all(type(size) is int and size >= 0 for size in shape) or len(shape) > 64:
        return -1
    return math.prod(shape) * int(match[2] or 1) * (4 if match[1] == "U" else 1)
