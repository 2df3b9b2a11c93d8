"""Runs the tests and ends with the line that other programs read. Use it as `./run test [PATH or pytest options]`."""

import os
import signal
import sys
import tempfile
from pathlib import Path

import coverage
import pytest

ROOT = Path(__file__).parents[1]


class Tally:
    """Counts what passed, and keeps what was skipped for want of a program."""

    def __init__(self) -> None:
        self.passed: set[str] = set()
        self.failed: set[str] = set()
        self.skipped: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Takes down the outcome of one phase of a test."""
        if report.failed:
            self.failed.add(report.nodeid)
        elif report.skipped:
            self.skipped[report.nodeid] = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        elif report.when == "call":
            self.passed.add(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that cannot be collected is a failure."""
        if report.failed:
            self.failed.add(report.nodeid)


def main(arguments: list[str]) -> int:
    """The exit status: 0 only when every test passed."""
    is_long = "--long" in arguments
    arguments = [argument for argument in arguments if argument != "--long"]
    if not is_long and "-m" not in arguments:
        arguments += ["-m", "not long"]
    if not any(argument.startswith(("-n", "--pdb")) for argument in arguments):
        # Many tests wait for a server or a disk: two processes keep two cores busy. A file stays in one of them.
        arguments += ["-n", "2", "--dist", "loadfile"]
    # A shell has what it starts in the background ignore Ctrl-C, and so would every command under test.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    tally = Tally()
    os.chdir(ROOT)
    with tempfile.TemporaryDirectory() as folder:
        # Beside the checkout, so that an interrupted run leaves no files of its own in it.
        os.environ["COVERAGE_FILE"] = f"{folder}/coverage"
        measured = coverage.Coverage(config_file=str(ROOT / "pyproject.toml"))
        measured.start()
        status = int(pytest.main(arguments, plugins=[tally]))
        measured.stop()
        measured.save()
        measured.combine(data_paths=[folder])
        with open(os.devnull, "w") as nowhere:
            percent = measured.report(file=nowhere)
    passed = len(tally.passed - tally.failed)
    for nodeid, reason in tally.skipped.items():
        print(f"skipped: {nodeid}: {reason}")
    print(f"{passed}/{passed + len(tally.failed)} test cases passed. {int(percent)}% line coverage achieved.")
    return 1 if status or tally.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
