"""A card's YAML front matter, read as data: no tags, no bombs, no exceptions."""

from collections.abc import Mapping
from typing import Any

import yaml

MAX_YAML_BYTES = 1 << 20
MAX_DEPTH = 64
MAX_NODES = 100_000
"""Values in the document once every alias is written out. The largest honest cards (benchmark tables) have about 20,000."""
MAX_ALIASES = 100
MAX_NUMBER_CHARACTERS = 64

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# Constructors of PyYAML raise whatever their conversion raises: `!!timestamp x` an AttributeError, `!!bool x` a KeyError.
_YAML_FAILURES = (
    yaml.YAMLError,
    ValueError,
    ArithmeticError,
    LookupError,
    TypeError,
    AttributeError,
    RecursionError,
)


class _Refused(ValueError):
    """The document is built to exhaust its reader."""


class _DataLoader(_Loader):  # type: ignore[misc]  # the base is chosen at run time: libyaml where PyYAML was built with it
    """The safe loader, without numbers that take quadratic time."""


def _bounded(construct: Any) -> Any:
    def number(loader: Any, node: yaml.ScalarNode) -> Any:
        # `1:1:1:…` is a number in base 60 to YAML 1.1 and takes quadratic time in its digits.
        return node.value if len(node.value) > MAX_NUMBER_CHARACTERS else construct(loader, node)

    return number


_DataLoader.add_constructor("tag:yaml.org,2002:int", _bounded(yaml.SafeLoader.construct_yaml_int))
_DataLoader.add_constructor("tag:yaml.org,2002:float", _bounded(yaml.SafeLoader.construct_yaml_float))


def split_front_matter(text: str) -> tuple[str, str]:
    """The YAML between the leading `---` lines, and the text after it; `("", text)` without front matter.

    >>> split_front_matter("---\\nlicense: mit\\n---\\n# Title")
    ('license: mit\\n', '# Title')
    """
    text = text.removeprefix("\ufeff")
    lines = text.lstrip().splitlines(keepends=True)
    if not lines or lines[0].rstrip() != "---":
        return "", text
    for number, line in enumerate(lines[1:], start=1):
        if line.rstrip() == "---":
            return "".join(lines[1:number]), "".join(lines[number + 1 :])
    return "", text


def load_metadata(text: str) -> tuple[Mapping[str, Any], str | None]:
    """The mapping that YAML `text` stands for, and a note when it could not be read (the mapping is then empty).

    Args:
        text: YAML without the `---` lines. It may come from anybody.
    """
    if len(text.encode(errors="replace")) > MAX_YAML_BYTES:
        return {}, "the metadata is larger than 1 MiB"
    try:
        _refuse_bombs(text)
        # The loader derives from the safe one: it builds plain values only.
        loaded = yaml.load(text, Loader=_DataLoader)  # noqa: S506 - it derives from the safe one
    except _Refused as refused:
        return {}, str(refused)
    except _YAML_FAILURES:
        return {}, "the metadata is not valid YAML"
    if loaded is None:
        return {}, None
    if not isinstance(loaded, dict):
        return {}, "the metadata is not a mapping"
    return {key: value for key, value in loaded.items() if isinstance(key, str)}, None


def _refuse_bombs(text: str) -> None:
    """Walks the events before anything is built, counting what aliases would grow to.

    Raises:
        _Refused: Too deep, too many values or aliases, or an anchor inside itself.
        yaml.YAMLError: Not YAML.
    """
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []
    nodes = aliases = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            aliases += 1
            if event.anchor not in sizes:
                raise _Refused("the metadata has an alias to nothing or to itself")
            nodes += sizes[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            nodes += 1
            sizes[event.anchor or ""] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, nodes))
            nodes += 1
            sizes.pop(event.anchor or "", None)
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            sizes[anchor or ""] = nodes - before
        if len(open_nodes) > MAX_DEPTH:
            raise _Refused(f"the metadata is nested deeper than {MAX_DEPTH} levels")
        if nodes > MAX_NODES or aliases > MAX_ALIASES:
            raise _Refused("the metadata repeats itself through aliases or has too many values")
