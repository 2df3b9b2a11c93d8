"""Which files of a tree of code are read, by path and size alone."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

MAX_PROGRAM_BYTES = 200_000
MAX_PROGRAMS = 400

_VENDORED = frozenset({"vendor", "third_party", "node_modules", "site-packages", "dist", "build"})
_SOURCE_FILE = re.compile(
    r"\.(?:py|ipynb|cc?|cpp|cu|h|hpp|java|js|ts|go|rs|rb|sh|jl|r|cs|kt|swift|scala|lua|sql)$", re.IGNORECASE
)
# Of the history's metrics; the programs that are read leave out installed packages as well.
_NOT_WRITTEN_HERE = frozenset({"vendor", "third_party", "node_modules", "dist", "build"})
_CI_FILE = re.compile(
    r"\.github/workflows/[^/]+\.ya?ml|\.gitlab-ci\.ya?ml|\.circleci/config\.ya?ml|\.?azure-pipelines\.ya?ml|\.travis\.ya?ml"
    r"|bitbucket-pipelines\.ya?ml|appveyor\.ya?ml|\.cirrus\.ya?ml|\.woodpecker(/[^/]+)?\.ya?ml|\.drone\.ya?ml|jenkinsfile",
    re.IGNORECASE,
)


def programs_to_read(sizes: Mapping[str, int]) -> Sequence[str]:
    """Python files and notebooks of at most 200 kB outside vendored folders; of more than 400 those whose paths hash lowest.

    The hash makes the choice even and hard to steer, and the same on every machine.

    Args:
        sizes: Bytes of every file by path.
    """
    programs = [
        path
        for path, size in sizes.items()
        if path.lower().endswith((".py", ".ipynb")) and size <= MAX_PROGRAM_BYTES and not is_vendored(path)
    ]
    return sorted(sorted(programs, key=lambda path: hashlib.sha256(path.encode()).digest())[:MAX_PROGRAMS])


def is_vendored(path: str) -> bool:
    """Whether a file lies in a folder of other people's or of generated code.

    >>> is_vendored("third_party/lib/a.py"), is_vendored("src/build.py")
    (True, False)
    """
    return not _VENDORED.isdisjoint(PurePosixPath(path.lower()).parts[:-1])


def is_source(path: str) -> bool:
    """Whether people of the project write the file at `path`: a source file, and not a vendored one.

    >>> is_source("src/a.py"), is_source("a/vendor/b.go"), is_source("model.bin")
    (True, False, False)
    """
    return _SOURCE_FILE.search(path) is not None and _NOT_WRITTEN_HERE.isdisjoint(path.split("/")[:-1])


def is_ci_file(path: str) -> bool:
    """Whether a file tells a continuous-integration service what to run.

    >>> is_ci_file(".github/workflows/tests.yml"), is_ci_file("docs/workflows/tests.yml")
    (True, False)
    """
    return _CI_FILE.fullmatch(path) is not None
