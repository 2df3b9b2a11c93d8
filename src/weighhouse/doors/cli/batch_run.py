"""Many models weighed at once, answered in the order of their lines."""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from weighhouse.doors.cli.batch_environment import Environment
from weighhouse.doors.cli.packing import Member, list_members
from weighhouse.rules.evidence import Parent
from weighhouse.rules.manifest import File, component_of
from weighhouse.rules.metrics.net import Net, weigh
from weighhouse.rules.metrics.result import Result
from weighhouse.rules.parents import ParentRef
from weighhouse.rules.url_file import Line, Unread, datasets_before
from weighhouse.rules.urls import hub_id
from weighhouse.sources.budget import EVALUATION_SECONDS, Budget
from weighhouse.sources.cache import Cache
from weighhouse.sources.files import LooseFiles
from weighhouse.sources.gather import PackageSources
from weighhouse.sources.hub import HubSource
from weighhouse.sources.hub_package import OnlyHub, hub_package
from weighhouse.sources.hub_parents import MAX_TEXTS
from weighhouse.sources.measure import measure_all, milliseconds_since
from weighhouse.sources.repository import GitRepositories

_LAST_SECONDS = 0.5

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Weighed:
    """What came of one line."""

    line: Line
    results: Mapping[str, Result]
    net: Net
    latencies_ms: Mapping[str, int]
    net_latency_ms: int


@dataclass(frozen=True)
class Batch:
    """Models to be weighed, and what with.

    Args:
        lines: In the order of their file.
        local: The files of every line's package; without them those of the hub stand for it.
    """

    lines: Sequence[Line]
    environment: Environment
    cache: Cache
    local: LooseFiles | None = None

    def weigh_all(self, *, at_once: int) -> Iterator[Weighed | Unread]:
        """What comes of each line, in their order, as soon as it and those before it are done.

        Args:
            at_once: Models that are weighed side by side.
        """
        pool = ThreadPoolExecutor(at_once, thread_name_prefix="model")
        try:
            for future in [pool.submit(self._weigh_or_not, line) for line in self.lines]:
                yield future.result()
            pool.shutdown()
        finally:
            # When the reader left, or pressed Ctrl-C, nobody waits for the others.
            pool.shutdown(wait=False, cancel_futures=True)

    def _weigh_or_not(self, line: Line) -> Weighed | Unread:
        try:
            return self._weigh(line)
        except Exception:
            # A defect of ours with one model must not cost the others their lines.
            _log.exception("line %d could not be weighed", line.number)
            return Unread(
                line.number, "It could not be weighed, a defect of the program; LOG_FILE tells more at LOG_LEVEL=1."
            )

    def _weigh(self, line: Line) -> Weighed:
        started = time.monotonic()
        as_of = datetime.now(UTC)
        with self._sources(line) as sources:
            # Looking for the model's own files is what every metric waits for first.
            found_ms = milliseconds_since(started) if self.local is None else 0
            timed = measure_all(sources, as_of, seconds=max(1.0, EVALUATION_SECONDS - found_ms / 1000))
        whole_ms = milliseconds_since(started)
        results = {name: entry.result for name, entry in timed.items()}
        latencies = {name: min(whole_ms, found_ms + entry.latency_ms) for name, entry in timed.items()}
        weighed = Weighed(line, results, weigh(results), latencies, whole_ms)
        for result in results.values():
            _log.debug("%s: %s is %s: %s", line.name, result.metric, result.status.value, result.reasons[0])
        _log.info("%s weighed: net score %s in %d ms", line.name, weighed.net.score, weighed.net_latency_ms)
        return weighed

    @contextlib.contextmanager
    def _sources(self, line: Line) -> Iterator[PackageSources]:
        endpoint, budget = self.environment.hf_endpoint, Budget()
        model = hub_id(line.model_url, "model_url", endpoint=endpoint) if line.model_url else None
        with (
            HubSource(
                endpoint=endpoint,
                token=self.environment.hf_token,
                cache=self.cache,
                budget=budget,
                revisions={model.id: model.revision} if model and model.revision else {},
            ) as hub,
            GitRepositories(
                api_url=self.environment.github_api_url,
                token=self.environment.github_token,
                cache=self.cache,
                budget=budget,
                is_local=True,
            ) as repositories,
        ):
            files = self.local or (hub_package(hub, model.id) if model else LooseFiles())
            yield PackageSources(
                name=model.id if model else line.name,
                files=files.files,
                read=files.read,
                look_up=_no_registry,
                model_url=line.model_url,
                dataset_url=line.dataset_url,
                code_url=line.code_url,
                hub=hub if self.local else OnlyHub(hub),
                repositories=repositories,
                hub_endpoint=endpoint,
                # What the hub has was chosen already, with the license and the results.
                max_hub_texts=MAX_TEXTS if self.local else 0,
                known_datasets=datasets_before(self.lines, line, endpoint=endpoint),
            )


def local_files(folder: Path) -> LooseFiles:
    """The files below a folder, hidden ones left out.

    Raises:
        Refused: There is none, or a link leads out of the folder.
        BadPath: A file has a path that a package cannot hold.
    """
    members = {f"local:{member.path}": member for member in list_members(folder)}

    def read(name: str, start: int, size: int) -> bytes:
        with members[name].source.open("rb") as file:
            file.seek(start)
            return file.read(size)

    return LooseFiles([_as_file(name, member) for name, member in members.items()], read)


def is_at_work() -> bool:
    """Whether a thread is still at work that nobody waits for any more, such as a metric whose time was up."""
    until = time.monotonic() + _LAST_SECONDS
    threads = [one for one in threading.enumerate() if one.name.startswith(("metric", "model"))]
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return any(thread.is_alive() for thread in threads)


def _as_file(name: str, member: Member) -> File:
    # Nothing is looked up by content here, and reading all of it for a digest takes minutes: the path is the name.
    return File(member.path, member.size_bytes, name, 0, component_of(member.path))


def _no_registry(references: Sequence[ParentRef]) -> Sequence[Parent]:
    """The parents as they are named: no registry knows them here."""
    return [Parent(one.name, one.relation, one.named_in) for one in references if not one.maybe_local_name]
