"""Whose fault it was that a demonstration did not run."""

import pytest

from weighhouse.rules.trial import Ending, trial_of

_TRACE = 'Traceback (most recent call last):\n  File "/program/main.py", line 1, in <module>\n'


@pytest.mark.parametrize(
    ("last_line", "ending", "why", "can_be_mended"),
    [
        ("ModuleNotFoundError: No module named 'torch'", Ending.PREVENTED, "runner lacks torch", False),
        ("ModuleNotFoundError: No module named 'a.b'", Ending.PREVENTED, "runner lacks a", False),
        (
            "ImportError: AutoModel requires the PyTorch library but it was not found",
            Ending.PREVENTED,
            "runner lacks PyTorch",
            False,
        ),
        ("ImportError: cannot import name 'x' from 'y'", Ending.FAILED, "ImportError: cannot import name", True),
        ("MemoryError", Ending.PREVENTED, "more memory", False),
        ("requests.exceptions.ConnectionError: no", Ending.PREVENTED, "the network", True),
        ("socket.gaierror: [Errno -3] Temporary failure in name resolution", Ending.PREVENTED, "the network", True),
        ("OSError: We couldn't connect to 'https://hub' to load the files", Ending.PREVENTED, "the network", True),
        ("RuntimeError: Found no NVIDIA driver on your system.", Ending.PREVENTED, "a GPU", True),
        ("AssertionError: Torch not compiled with CUDA enabled", Ending.PREVENTED, "a GPU", True),
        ("NameError: name 'model' is not defined", Ending.FAILED, "NameError: name 'model'", True),
        ("ValueError: no NVIDIA driver, no network", Ending.FAILED, "ValueError", True),
        ("SyntaxError: invalid syntax", Ending.FAILED, "SyntaxError", True),
        ("KeyboardInterrupt", Ending.FAILED, "KeyboardInterrupt", True),
    ],
)
def test_the_last_error_decides(last_line: str, ending: Ending, why: str, can_be_mended: bool) -> None:
    trial = trial_of(1, f"{_TRACE}{last_line}\n")
    assert (trial.ending, trial.can_be_mended) == (ending, can_be_mended)
    assert why in trial.why


def test_an_end_without_an_error_is_told_by_its_status() -> None:
    assert trial_of(0, "warning: Error: x\n").ending is Ending.PASSED
    assert trial_of(3, "bye\n").why == "it ended with status 3"
    assert trial_of(-9, "").ending is Ending.FAILED
