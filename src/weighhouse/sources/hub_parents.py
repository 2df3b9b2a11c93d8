"""What the hub adds about parents: configuration files that the package lacks, and facts of parents not registered here."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Protocol

from weighhouse.rules.evidence import HubModel, Missing, Parent
from weighhouse.rules.parents import files_to_read
from weighhouse.rules.weights import smallest, variants_by_size

MAX_TEXTS = 3
MAX_LOOKS = 2
"""Parents that the hub is asked about: one question each, and one more for the first whose size is wanted."""


class ModelHub(Protocol):
    """The part of the hub that is asked here."""

    def model(self, model_id: str) -> HubModel: ...

    def listed(self, model_id: str) -> HubModel:
        """The facts of a model that one question tells: its files and license, not its parameters."""

    def text(self, model_id: str, path: str) -> str | None: ...


def hub_texts(hub: ModelHub, model: HubModel, paths: Iterable[str], *, limit: int = MAX_TEXTS) -> Mapping[str, str]:
    """Configuration files of the model that can name a parent and have no namesake among the package's `paths`.

    Args:
        limit: How many are asked for.

    Raises:
        Missing: One of them could not be had.
    """
    names = {PurePosixPath(path).name for path in paths}
    wanted = [path for path in files_to_read(model.file_sizes) if PurePosixPath(path).name not in names]
    texts = {path: hub.text(model.id, path) for path in wanted[:limit]}
    return {path: text for path, text in texts.items() if text is not None}


def with_hub_facts(hub: ModelHub, parents: Sequence[Parent]) -> Sequence[Parent]:
    """The parents, with the license and the size that the hub knows where this registry knows none."""
    looks = 0
    is_weighed = False
    completed = []
    for parent in parents:
        lacks_size = parent.relation == "adapter" and parent.weights_bytes is None
        if (lacks_size or not parent.license) and not parent.closes_cycle and looks < MAX_LOOKS:
            looks += 1
            # Parameters tell a decoy among the weights; they are a question more, and one size is enough.
            parent = _completed(parent, hub.model if lacks_size and not is_weighed else hub.listed)
            is_weighed = is_weighed or lacks_size
        completed.append(parent)
    return completed


def _completed(parent: Parent, look: Callable[[str], HubModel]) -> Parent:
    try:
        model = look(parent.name)
    except Missing:
        # Unknown stays unknown: the metrics say so, and none of them takes it for an absence.
        return parent
    weights = smallest(
        variants_by_size(model.file_sizes, parameters=model.parameters, gguf_parameters=model.gguf_parameters)
    )
    size = weights.size_bytes if weights and not weights.adapter and weights.size_bytes > 0 else None
    return replace(
        parent,
        license=parent.license or model.license,
        weights_bytes=parent.weights_bytes if parent.weights_bytes is not None else size,
    )
