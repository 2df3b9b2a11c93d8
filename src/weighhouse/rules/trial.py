"""How a demonstration ended that was really run, and whose fault it was when it failed."""

import re
from dataclasses import dataclass
from enum import StrEnum

_LAST_ERROR = re.compile(r"^(?P<kind>[A-Za-z_][\w.]*)(?:: (?P<text>.*))?$")
_ABSENT_MODULE = re.compile(r"No module named '([\w]+)")
_NEEDS_PACKAGE = re.compile(r"requires? the (?:\*\*)?([\w-]+)(?:\*\*)? library|Please install [`']?([\w-]+)")
# How the libraries of model cards say that they were refused the network, or found no GPU. Only where no other error
# came last: what the program itself says about its own fault does not excuse it.
_NETWORK_KINDS = frozenset(
    [
        "ConnectionError",
        "ConnectionRefusedError",
        "ConnectError",
        "ConnectTimeout",
        "gaierror",
        "URLError",
        "MaxRetryError",
        "NewConnectionError",
        "LocalEntryNotFoundError",
        "OfflineModeIsEnabled",
        "NameResolutionError",
    ]
)
_NETWORK = re.compile(
    r"name resolution|Name or service not known|Network is unreachable|offline mode|couldn't connect to|"
    r"Cannot reach|HF_HUB_OFFLINE"
)
_GPU = re.compile(r"CUDA|NVIDIA driver|No GPU|Torch not compiled with", re.IGNORECASE)


WANTS_NETWORK = "it wanted the network, which the sandbox refuses"
WANTS_GPU = "it wanted a GPU"
PACKAGE_PATH = "/package"
"""Where the sandbox has the package."""


class Ending(StrEnum):
    """How a run ended."""

    PASSED = "passed"
    FAILED = "failed"
    """The code is at fault."""
    PREVENTED = "prevented"
    """The environment is: a library, the network, a GPU or more memory or time was wanted."""


@dataclass(frozen=True)
class Trial:
    """How a program ended in the sandbox, and why, in words for a reason."""

    ending: Ending
    why: str = ""

    @property
    def can_be_mended(self) -> bool:
        """Whether the mechanical repairs could make another end of it: they bring no library, memory or time."""
        return self.ending is Ending.FAILED or self.why in (WANTS_NETWORK, WANTS_GPU)


def trial_of(exit_code: int, output: str) -> Trial:
    """What an exit status and the end of what was printed to standard error mean.

    >>> trial_of(1, "Traceback …\\nModuleNotFoundError: No module named 'torch'").why
    'runner lacks torch'
    >>> trial_of(1, "NameError: name 'model' is not defined").ending
    <Ending.FAILED: 'failed'>
    """
    if exit_code == 0:
        return Trial(Ending.PASSED)
    kind, text = _last_error(output)
    if kind in {"ModuleNotFoundError", "ImportError"}:
        absent = _ABSENT_MODULE.search(text) or _NEEDS_PACKAGE.search(text)
        if absent:
            return Trial(Ending.PREVENTED, f"runner lacks {next(filter(None, absent.groups()))}")
    if kind == "MemoryError":
        return Trial(Ending.PREVENTED, "it wanted more memory than the sandbox gives")
    if kind in _NETWORK_KINDS or (kind in {"OSError", "RuntimeError"} and _NETWORK.search(text)):
        return Trial(Ending.PREVENTED, WANTS_NETWORK)
    if kind in {"RuntimeError", "AssertionError", "OSError"} and _GPU.search(text):
        return Trial(Ending.PREVENTED, WANTS_GPU)
    if kind:
        return Trial(Ending.FAILED, f"it failed with {kind}" + (f": {text}" if text else ""))
    return Trial(Ending.FAILED, f"it ended with status {exit_code}")


def _last_error(output: str) -> tuple[str, str]:
    """Name, without its module, and text of the exception that ended a Python program; empty when it says none."""
    for line in reversed(output.splitlines()):
        found = _LAST_ERROR.match(line)
        if found and found["kind"].rpartition(".")[2][:1].isupper():
            return found["kind"].rpartition(".")[2], (found["text"] or "").strip()
        if found and found["kind"].endswith("gaierror"):
            return "gaierror", (found["text"] or "").strip()
    return "", ""
