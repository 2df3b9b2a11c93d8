"""What is weighed."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from weighhouse.rules.manifest import File


@dataclass(frozen=True)
class Subject:
    """What is weighed: a package, or what is about to become one.

    Args:
        verdict: What the scan found.
        package_id: `None` before it is a package.
        revision: The commit of the model that its files came from.
    """

    name: str
    files: Sequence[File]
    package_id: UUID | None = None
    model_url: str | None = None
    dataset_url: str | None = None
    code_url: str | None = None
    revision: str | None = None
    verdict: str = "unscanned"
