"""What a package says of itself in its own card and configuration files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from weighhouse.rules.front_matter import load_metadata, split_front_matter
from weighhouse.rules.licenses import normalise, recognise
from weighhouse.rules.parents import ParentRef, files_to_read, parent_references

MAX_TEXT_BYTES = 1024 * 1024
"""Larger text files are kept, but not read."""
MAX_TEXTS = 64

_MAX_LICENSE_CHARACTERS = 100
_LICENSE_STEMS = frozenset({"license", "licence", "copying", "unlicense"})
_READ = frozenset({"readme.md", "config.json", "adapter_config.json", "mergekit_config.yaml", "mergekit_config.yml"})


@dataclass(frozen=True)
class SelfReport:
    """What stands in a package's own files; nothing of it was checked elsewhere."""

    card: str
    license: str | None
    version: str | None
    parents: Sequence[ParentRef]


def is_read(path: str) -> bool:
    """Whether `read_self_report` wants the file at `path`.

    >>> is_read("my-model/README.md"), is_read("weights/model.safetensors")
    (True, False)
    """
    name = path.rpartition("/")[2].lower()
    return name in _READ or (name.rpartition(".")[0] or name) in _LICENSE_STEMS


def read_self_report(texts: Mapping[str, bytes], *, own_names: Sequence[str] = ()) -> SelfReport:
    """What the files say; anything may stand in them, and what cannot be read says nothing.

    Args:
        texts: Bytes of each file that `is_read`, by path.
        own_names: The package's name and the model's id, which are no parents.
    """
    decoded = {path: content.decode("utf-8", "replace").replace("\0", "") for path, content in texts.items()}
    card = _nearest(decoded, "readme.md")
    metadata, _ = load_metadata(split_front_matter(card)[0])
    configs = {path: decoded[path] for path in files_to_read(decoded)}
    stated = normalise(metadata.get("license"), name=metadata.get("license_name"))
    license_name = stated.raw if stated.state == "named" or stated.raw else None
    return SelfReport(
        card=card,
        license=(license_name or _shipped_license(decoded) or "")[:_MAX_LICENSE_CHARACTERS] or None,
        version=_version(metadata) or _version(_json_object(_nearest(decoded, "config.json"))),
        parents=parent_references(metadata, configs, own_names=own_names),
    )


def _nearest(texts: Mapping[str, str], name: str) -> str:
    """Text of the file of that name nearest the root, `""` when there is none."""
    paths = [path for path in texts if PurePosixPath(path).name.lower() == name]
    return texts[min(paths, key=lambda path: (path.count("/"), path))] if paths else ""


def _shipped_license(texts: Mapping[str, str]) -> str | None:
    for path, text in sorted(texts.items(), key=lambda item: (item[0].count("/"), item[0])):
        is_license = PurePosixPath(path.lower()).stem in _LICENSE_STEMS
        if is_license and (found := recognise(text)) is not None:
            return found.display
    return None


def _version(metadata: Mapping[str, object]) -> str | None:
    stated = metadata.get("version")
    # YAML reads `version: 1.0` as a number, and means the text.
    return str(stated).strip() if isinstance(stated, str | int | float) and not isinstance(stated, bool) else None


def _json_object(text: str) -> Mapping[str, object]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
