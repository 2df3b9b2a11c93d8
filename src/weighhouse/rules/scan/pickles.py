"""Files of pickles: one or several in a row, with the arrays and tensors that libraries put between and behind them."""

import math
import re
from contextlib import suppress

from weighhouse.rules.scan.pickle_walk import PickleWalk, RawArray
from weighhouse.rules.scan.place import Place
from weighhouse.rules.scan.source import Broken, LimitReached, View, need
from weighhouse.rules.scan.verdict import Level

_EXTENSIONS = "pkl pickle p pk pt pth pt2 ckpt bin joblib dill cloudpickle dat model sav job th tar pdparams pdopt"
PICKLE_EXTENSIONS = frozenset(_EXTENSIONS.split())
# What PyTorch wrote before it wrote ZIPs: a number as the first of five pickles, then the raw tensors.
_TORCH_MAGIC = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
_TORCH_PICKLES = 5
_MAX_PICKLES = 1_000
_MAX_NESTING = 8
_DTYPE = re.compile(r"[<>|=]?([biufcmMSUVO])(\d{1,9})")


def is_pickle(head: bytes) -> bool:
    """Whether a file that begins so is read as a pickle of protocol 2 or later.

    >>> is_pickle(b"\\x80\\x04\\x95")
    True
    """
    return len(head) >= 2 and head[0] == 0x80 and head[1] <= 5


def scan_pickles(view: View, place: Place) -> None:
    """Scans a file that is a pickle, and all pickles behind the first."""
    torch = view.read(2, len(_TORCH_MAGIC)) == _TORCH_MAGIC
    position = 0
    for number in range(_MAX_PICKLES):
        end = _scan_one(view, place, position)
        if end is None or end >= view.size:
            return
        if torch and number + 1 >= _TORCH_PICKLES:
            probe_pickle(view, place, end)
            return
        position = end
        if not _is_start(view, position):
            place.add(Level.SUSPICIOUS, "trailing-data", "There is something else behind the pickle.", position)
            probe_pickle(view, place, position)
            return
    place.add(Level.SUSPICIOUS, "pickle-limit", "There are too many pickles in a row to be analysed.", position)


def probe_pickle(view: View, place: Place, position: int = 0) -> bool:
    """Scans what may be a pickle without a header. Only one that does something is a pickle; text often looks like one.

    Returns:
        Whether it is a pickle that calls or imports something.

    Raises:
        LimitReached: It takes too long to tell.
    """
    walk = PickleWalk(view, position)
    active = False
    try:
        _finish(walk, view, 0)
        active = bool(walk.calls or walk.imports)
    except Broken as error:
        # What ran before the break has run. An import alone is no call, and texts begin like one: `cos`, `conda`.
        active = bool(walk.calls)
        if active:
            place.add(Level.SUSPICIOUS, "pickle-broken", str(error), error.position)
    except LimitReached:
        active = bool(walk.calls)
        raise
    finally:
        if active:
            _tell(walk, view, place)
    return active


def check_pickle(view: View) -> None:
    """Walks one pickle and says nothing.

    Raises:
        Broken: It is none.
        LimitReached: It takes too long to tell.
    """
    _finish(PickleWalk(view, 0), view, 0)


def _is_start(view: View, position: int) -> bool:
    if is_pickle(view.read(position, 2)):
        return True
    try:
        check_pickle(view.part(position, view.size - position))
    except Broken:
        return False
    return True


def _scan_one(view: View, place: Place, position: int) -> int | None:
    """Where the pickle at `position` ends, or `None` when it cannot be told."""
    walk = PickleWalk(view, position)
    try:
        _finish(walk, view, 0)
        return walk.position
    except Broken as error:
        place.add(Level.SUSPICIOUS, "pickle-broken", str(error), error.position)
        return None
    except LimitReached:
        place.add(Level.SUSPICIOUS, "pickle-limit", "The pickle is too large to be analysed.", walk.position)
        raise
    finally:
        _tell(walk, view, place)


def _tell(walk: PickleWalk, view: View, place: Place) -> None:
    for note in walk.notes:
        place.add(note.level, note.kind, note.message, note.position)
    for start, length in walk.inner:
        inner = view.part(start, length)
        if _is_worth_a_look(inner):
            place.descend(inner, f"bytes at {start}")


def _is_worth_a_look(view: View) -> bool:
    """Whether bytes inside a pickle are a file of their own; short ones often begin like one."""
    if not is_pickle(view.read(0, 2)):
        return view.size > 20
    walk = PickleWalk(view, 0)
    with suppress(Broken):
        _finish(walk, view, 0)
    return bool(walk.calls or walk.imports)


def _finish(walk: PickleWalk, view: View, nesting: int) -> None:
    """Walks one pickle to its end, past the arrays that joblib puts into the middle of it."""
    while (raw := walk.run()) is not None:
        walk.position = _behind_array(walk, view, raw, nesting)


def _behind_array(walk: PickleWalk, view: View, raw: RawArray, nesting: int) -> int:
    position = walk.position
    dtype = _DTYPE.fullmatch(raw.dtype)
    if dtype is None or dtype[1] == "V":
        raise Broken("The array after an object of joblib has a type that cannot be measured.", position)
    if dtype[1] == "O":
        if nesting >= _MAX_NESTING:
            raise Broken("Arrays of objects are nested too deep.", position)
        # joblib reads such an array as a pickle of its own, in the middle of the other.
        inside = PickleWalk(view, position)
        try:
            _finish(inside, view, nesting + 1)
        finally:
            walk.notes += inside.notes
            walk.inner += inside.inner
            walk.calls += inside.calls
        return inside.position
    if raw.aligned:
        position += 1 + need(view, position, 1)[0]
    width = int(dtype[2]) * (4 if dtype[1] == "U" else 1)
    # datetime64 is spelled M8 whatever its unit, so the digits are its bytes as everywhere else.
    position += math.prod(raw.shape) * width
    if any(size < 0 for size in raw.shape) or position > view.size:
        raise Broken("The array after an object of joblib is longer than the file.", walk.position)
    return position
