"""The demonstrations of a package, run in the sandbox where the operator wants that (metrics specification, section 9)."""

import functools
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from weighhouse.app import App
from weighhouse.registry.subject import Subject
from weighhouse.rules.manifest import File
from weighhouse.rules.trial import Ending, Trial
from weighhouse.settings import Settings
from weighhouse.sources.sandbox import Sandbox

MAX_PACKAGE_BYTES = 20 * 1024**3
"""A larger package is not laid out for a run: it would not fit into the sandbox's memory either."""

_TRUSTS_CODE = re.compile(r"trust_remote_code\s*=\s*True")


class Demonstration:
    """Runs programs beside the files of one package, which are laid out before the first.

    Args:
        folder: An empty one, for the files.
    """

    def __init__(self, app: App, subject: Subject, model_id: str, folder: Path) -> None:
        self._app = app
        self._subject = subject
        self._model_id = model_id
        self._folder = folder
        self._guard = threading.Lock()
        self._is_laid_out = False

    def run(self, program: str) -> Trial:
        """How the program ends.

        Raises:
            Away: The store does not answer.
        """
        sandbox = sandbox_of(self._app.settings)
        if sandbox.fault is not None:
            return Trial(Ending.PREVENTED, f"this server has no sandbox: {sandbox.fault}")
        if _TRUSTS_CODE.search(program) and self._app.settings.sandbox != "all":
            return Trial(Ending.PREVENTED, "it trusts code of the model's own, which is not run here")
        if sum(file.size_bytes for file in self._subject.files) > MAX_PACKAGE_BYTES:
            return Trial(Ending.PREVENTED, "the package is too large for the sandbox")
        with self._guard:
            if not self._is_laid_out:
                self._lay_out()
                self._is_laid_out = True
        return sandbox.run(program, self._folder, self._model_id)

    def _lay_out(self) -> None:
        # Anybody may read them: as root, the sandbox runs as nobody.
        self._folder.chmod(0o755)
        for file in self._subject.files:
            self._place(file)

    def _place(self, file: File) -> None:
        target = self._folder / file.path
        for parent in reversed(target.relative_to(self._folder).parents[:-1]):
            (self._folder / parent).mkdir(mode=0o755, exist_ok=True)
        with target.open("wb") as out:
            for chunk in self._app.blobs.read(file.sha256):
                out.write(chunk)
        target.chmod(0o644)


@contextmanager
def open_demonstration(app: App, subject: Subject, model_id: str) -> Iterator[Demonstration | None]:
    """What runs a subject's demonstrations within the block; `None` where they are not to be run."""
    if not _may_run(app, subject):
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="wh-package-") as folder:
        yield Demonstration(app, subject, model_id, Path(folder))


def _may_run(app: App, subject: Subject) -> bool:
    wanted = app.settings.sandbox
    return wanted == "all" or (wanted == "safe" and subject.verdict == "safe")


def sandbox_of(settings: Settings) -> Sandbox:
    """Where this registry runs demonstrations."""
    return _sandbox(str(settings.sandbox_python))


@functools.cache
def _sandbox(python: str) -> Sandbox:
    # One for all evaluations of a process: whether anything can be isolated here is tried out once.
    return Sandbox(python)
