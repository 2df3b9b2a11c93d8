"""Servers whose API processes do harm at an exact step, or whose patience is short: real processes, real signals.

Python runs a `sitecustomize` that lies on its path. The one made here is for API processes: it sets constants, and has
chosen functions look for an order to kill somebody, just before or just after they run.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

_SITE = """
import importlib, os, signal, sys
from pathlib import Path


def watched(name, function):
    def run(*args, **kwargs):
        obey("before " + name)
        result = function(*args, **kwargs)
        obey("after " + name)
        return result
    return run


def obey(moment):
    order = Path(os.environ["SABOTAGE_ORDER"])
    try:
        said, *pids = order.read_text().split("\\n")
    except FileNotFoundError:
        return
    if said == moment:
        order.unlink()
        # Oneself last: nobody is left to kill the others.
        for pid in pids or [os.getpid()]:
            os.kill(int(pid), signal.SIGKILL)


if "weighhouse.doors.cli.child" in sys.orig_argv and "api" in sys.orig_argv:
    for line in os.environ.get("SABOTAGE_CONSTANTS", "").split():
        place, value = line.split("=")
        module, name = place.split(":")
        setattr(importlib.import_module(module), name, int(value))
    # In this order: who imports a function by name gets the watched one.
    for place in os.environ.get("SABOTAGE_STEPS", "").split():
        module, name = place.split(":")
        holder = importlib.import_module(module)
        *path, last = name.split(".")
        for part in path:
            holder = getattr(holder, part)
        setattr(holder, last, watched(name, getattr(holder, last)))
"""


def environment(folder: Path, constants: Mapping[str, int] | None = None, steps: Iterable[str] = ()) -> dict[str, str]:
    """What a server's environment needs for it.

    Args:
        folder: Holds the order, and what Python runs.
        constants: Whole numbers by `module:NAME`.
        steps: `module:function` or `module:Class.method`; a module stands before those that import from it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(_SITE)
    return {
        "PYTHONPATH": str(folder),
        "SABOTAGE_ORDER": str(folder / "order"),
        "SABOTAGE_CONSTANTS": " ".join(f"{place}={value}" for place, value in (constants or {}).items()),
        "SABOTAGE_STEPS": " ".join(steps),
    }


def order(folder: Path, moment: str, *pids: int) -> None:
    """The next API process that comes to `moment` kills these processes, or itself when none is named; once.

    Args:
        moment: `before` or `after`, and the name of the function without its module.
    """
    # A name that nobody looks for until the text is whole.
    (folder / "order.new").write_text("\n".join([moment, *map(str, pids)]))
    (folder / "order.new").rename(folder / "order")


def is_pending(folder: Path) -> bool:
    """Whether the order was not carried out yet."""
    return (folder / "order").exists()
