"""Repositories of the hub that tests start: files by commit, with the digests that the Hub's protocol names."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

_LFS_ENDS = (".safetensors", ".bin", ".pt", ".gguf", ".onnx", ".h5", ".msgpack", ".parquet", ".ckpt")
_LFS_BYTES = 10 * 1024 * 1024

Files = Mapping[str, bytes | str | Path]


@dataclass(frozen=True)
class Kept:
    """A file of one commit."""

    place: Path
    size_bytes: int
    sha256: str
    git_sha1: str
    is_lfs: bool

    @property
    def etag(self) -> str:
        return self.sha256 if self.is_lfs else self.git_sha1


@dataclass
class Repo:
    """A model or a dataset: commits, newest last, and what the hub says of it."""

    id: str
    kind: str
    facts: dict[str, Any]
    gated: bool = False
    open_card: bool = True
    """Whether the README of a gated repository can be read by everybody."""
    private: bool = False
    readers: frozenset[str] = frozenset()
    croissant: Any = None
    commits: list[dict[str, Any]] = field(default_factory=list)
    trees: dict[str, dict[str, Kept]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    @property
    def sha(self) -> str:
        return self.branches["main"]


def keep(folder: Path, content: bytes | str | Path, path: str) -> Kept:
    """A file as the hub keeps it: what is no file yet is written into `folder`."""
    if not isinstance(content, Path):
        raw = content.encode() if isinstance(content, str) else content
        content = folder / hashlib.sha256(raw).hexdigest()
        content.write_bytes(raw)
    size = content.stat().st_size
    sha256, sha1 = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % size)
    with content.open("rb") as file:
        while piece := file.read(1 << 20):
            sha256.update(piece)
            sha1.update(piece)
    is_lfs = size > _LFS_BYTES or path.endswith(_LFS_ENDS)
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n" % (
        sha256.hexdigest().encode(),
        size,
    )
    git_sha1 = hashlib.sha1(b"blob %d\0%s" % (len(pointer), pointer)).hexdigest() if is_lfs else sha1.hexdigest()
    return Kept(content, size, sha256.hexdigest(), git_sha1, is_lfs)


def sibling(path: str, kept: Kept, with_blobs: bool) -> dict[str, Any]:
    """A file in the facts of a repository."""
    if not with_blobs:
        return {"rfilename": path}
    lfs = {"lfs": {"sha256": kept.sha256, "size": kept.size_bytes, "pointerSize": 130}} if kept.is_lfs else {}
    return {"rfilename": path, "size": kept.size_bytes, "blobId": kept.git_sha1, **lfs}


def date(at: datetime) -> str:
    """An instant as the hub writes it."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.000Z")
