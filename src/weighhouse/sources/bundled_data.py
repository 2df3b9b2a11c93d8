"""Data sets that a package bundles, found by where its data files lie."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from weighhouse.rules.evidence import DatasetFacts, Missing
from weighhouse.rules.manifest import Component, File
from weighhouse.sources.files import PackageFiles

MAX_BUNDLED = 3
ROOT_ID = "data files of the package"

_DATA_FOLDERS = frozenset({"data", "datasets"})
_CARDS_IN_FOLDER = ("readme.md", "dataset_card.md", "datasheet.md", "data_card.md", "readme.txt", "readme")
_CARDS_AT_ROOT = ("dataset_card.md", "datasheet.md", "data_card.md", "dataset.md", "data.md")
_CROISSANT = ("croissant.json", "croissant.jsonld", "metadata.json")


def bundled_datasets(files: PackageFiles) -> Sequence[DatasetFacts]:
    """The three largest folders of data files, each as one data set with the card and the Croissant document beside it.

    A folder `data` is one data set, each folder in `datasets` is one; elsewhere the folder that holds the files is.
    """
    folders: dict[str, list[File]] = {}
    for file in files.all:
        if file.component is Component.DATASETS:
            folders.setdefault(_folder_of(file.path), []).append(file)
    by_size = sorted(folders, key=lambda folder: (-sum(file.size_bytes for file in folders[folder]), folder))
    return [_facts(files, folder, folders[folder]) for folder in by_size[:MAX_BUNDLED]]


def _folder_of(path: str) -> str:
    folders = path.split("/")[:-1]
    for place, name in enumerate(folders):
        if name.lower() in _DATA_FOLDERS:
            deeper = name.lower() == "datasets" and place + 1 < len(folders)
            return "/".join(folders[: place + 1 + deeper])
    return "/".join(folders)


def _facts(files: PackageFiles, folder: str, data: Sequence[File]) -> DatasetFacts:
    # A data folder is taken whole, with its scripts; beside weights only the data files themselves are the data set's.
    is_own = any(part.lower() in _DATA_FOLDERS for part in folder.split("/"))
    inside = [file for file in files.all if file.path.startswith(f"{folder}/")] if is_own else data
    beside = {PurePosixPath(file.path).name.lower(): file.path for file in files.all if _parent(file.path) == folder}
    card = _first(beside, _CARDS_IN_FOLDER if is_own else _CARDS_AT_ROOT)
    return DatasetFacts(
        id=folder or ROOT_ID,
        named_by="bundled",
        state="bundled",
        card=files.lenient_text(card) if card else "",
        file_sizes={file.path: file.size_bytes for file in inside},
        croissant=_croissant(files, beside),
    )


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _first(beside: Mapping[str, str], names: Iterable[str]) -> str | None:
    return next((beside[name] for name in names if name in beside), None)


def _croissant(files: PackageFiles, beside: Mapping[str, str]) -> Mapping[str, Any] | None:
    named = [beside[name] for name in _CROISSANT if name in beside]
    named += [path for name, path in beside.items() if name.endswith(".croissant.json")]
    for path in named:
        try:
            document = json.loads(files.text(path))
        except (Missing, ValueError, RecursionError):
            # A document that cannot be read describes nothing; the card beside it may.
            continue
        if isinstance(document, dict) and (
            "recordSet" in document or "croissant" in str(document.get("conformsTo"))[:200]
        ):
            return document
    return None
