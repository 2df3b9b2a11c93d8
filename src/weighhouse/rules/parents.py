"""The direct parents that a package's card and configuration files name (metrics specification, section 11)."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal, cast

from weighhouse.rules.front_matter import load_metadata

Relation = Literal["finetune", "adapter", "merge", "quantized"]

RELATIONS: frozenset[str] = frozenset({"finetune", "adapter", "merge", "quantized"})
MAX_PARENTS = 32
CARD = "README.md"

_ADAPTER, _CONFIG = "adapter_config.json", "config.json"
_MERGE = frozenset({"mergekit_config.yaml", "mergekit_config.yml"})
_MAX_FILES = 8

_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?"
_NAME = re.compile(rf"(?:({_PART})/)?({_PART})")
_HUB_ADDRESS = re.compile(r"https?://[^/\s]+/((?:[^/\s]+/)?[^/\s]+?)(?:/(?:tree|blob|resolve)/.*)?/?")
# `outputs/checkpoint-500` has the form of an id and is where a trainer left its work.
_LEFTOVER = re.compile(
    r"(checkpoint|global_step|step|epoch)[-_]?\d+|output|outputs|results|checkpoints?|tmp", re.IGNORECASE
)


@dataclass(frozen=True)
class ParentRef:
    """A parent as a file names it.

    `named_in` is the file's path. With `maybe_local_name` the name counts only if a package of the registry bears it: in a
    `config.json` a bare word is as often a folder on its author's machine.
    """

    name: str
    relation: Relation
    named_in: str
    maybe_local_name: bool = False


def files_to_read(paths: Iterable[str]) -> Sequence[str]:
    """The configuration files among `paths` that can name a parent, those nearest the root first.

    Adapters and merges count wherever they are, `config.json` only nearest the root: deeper ones belong to parts of a pipeline.
    """
    ordered = sorted(paths, key=lambda path: (path.count("/"), path))
    names = {path: PurePosixPath(path).name for path in ordered}
    special = [path for path, name in names.items() if name == _ADAPTER or name in _MERGE]
    configs = [path for path, name in names.items() if name == _CONFIG]
    return special[:_MAX_FILES] + configs[:1]


def parent_references(
    front_matter: Mapping[str, Any], texts: Mapping[str, str], *, own_names: Iterable[str] = ()
) -> Sequence[ParentRef]:
    """Every direct parent, each once, in the order card, adapter, merge and model configuration.

    A relation that the card states wins; else the file that names the parent implies it. What is not JSON or YAML names nothing.

    Args:
        texts: Text of each of `files_to_read` by path.
        own_names: The package's name and the model's id, which are no parents.
    """
    own = {name.lower() for name in own_names}
    stated = _stated_relation(front_matter)
    found: dict[str, ParentRef] = {}
    for reference in [*_from_card(front_matter, stated), *_from_files(texts)]:
        key = reference.name.lower()
        if key in own or (key not in found and len(found) >= MAX_PARENTS):
            continue
        found[key] = _merged(found[key], reference, stated) if key in found else reference
    return tuple(found.values())


def _merged(first: ParentRef, second: ParentRef, stated: Relation | None) -> ParentRef:
    relation = first.relation
    if stated is None and relation == "finetune":
        relation = second.relation
    return ParentRef(first.name, relation, first.named_in, first.maybe_local_name and second.maybe_local_name)


def _stated_relation(front_matter: Mapping[str, Any]) -> Relation | None:
    stated = front_matter.get("base_model_relation")
    return cast(Relation, stated) if isinstance(stated, str) and stated in RELATIONS else None


def _from_card(front_matter: Mapping[str, Any], stated: Relation | None) -> Iterator[ParentRef]:
    listed = front_matter.get("base_model")
    names = [name for one in (listed if isinstance(listed, list) else [listed]) if (name := _name(one))]
    # The hub reads several bases without a relation as a merge.
    implied: Relation = "merge" if len(set(names)) > 1 else "finetune"
    for name in names:
        yield ParentRef(name, stated or implied, CARD)


def _from_files(texts: Mapping[str, str]) -> Iterator[ParentRef]:
    for path, text in texts.items():
        name = PurePosixPath(path).name
        if name == _ADAPTER:
            yield from _named(path, [_json(text).get("base_model_name_or_path")], "adapter")
        elif name in _MERGE:
            yield from _named(path, _merge_models(load_metadata(text)[0]), "merge")
        elif name == _CONFIG:
            yield from _from_config(path, _json(text))


def _from_config(path: str, config: Mapping[str, Any]) -> Iterator[ParentRef]:
    relation: Relation = "quantized" if isinstance(config.get("quantization_config"), dict) else "finetune"
    for reference in _named(path, [config.get("_name_or_path")], relation):
        parts = reference.name.split("/")
        if not any(_LEFTOVER.fullmatch(part) for part in parts):
            yield ParentRef(reference.name, relation, path, maybe_local_name=len(parts) == 1)


def _named(path: str, values: Iterable[object], relation: Relation) -> Iterator[ParentRef]:
    for value in values:
        if name := _name(value):
            yield ParentRef(name, relation, path)


def _merge_models(config: Mapping[str, Any]) -> Iterator[object]:
    """Models of a merge: `models`, `slices`, `base_model`; `base+lora` names two."""
    entries = [config.get("base_model")]
    for listed in (config.get("models"), *(one.get("sources") for one in _mappings(config.get("slices")))):
        entries += [one.get("model") for one in _mappings(listed)]
    for entry in entries:
        inner = entry.get("model", entry) if isinstance(entry, dict) else entry
        value = inner.get("path") if isinstance(inner, dict) else inner
        if isinstance(value, str):
            yield from (part.split("@")[0] for part in value.split("+"))


def _mappings(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _json(text: str) -> Mapping[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _name(value: object) -> str | None:
    """An id of the form `owner/name` or `name`, also from an address on a hub; `None` for all else, such as a path."""
    if not isinstance(value, str) or len(value) > 400:
        return None
    value = value.strip()
    if address := _HUB_ADDRESS.fullmatch(value):
        value = address[1]
    return value if _NAME.fullmatch(value) and ".." not in value else None
