"""Where in a file a scan is: the file itself or a member of an archive in it, and how deep."""

from collections.abc import Callable

from weighhouse.rules.scan.source import Budget, View
from weighhouse.rules.scan.verdict import Level, Report, shown


class Place:
    """Takes the findings at one place, and leads into the places inside."""

    def __init__(
        self,
        report: Report,
        name: str,
        scan: "Callable[[View, Place], None]",
        *,
        inner_path: str | None = None,
        depth: int = 0,
    ) -> None:
        self.report = report
        self.name = name
        self.depth = depth
        self._inner_path = inner_path
        self._scan = scan

    def add(self, level: Level, kind: str, message: str, position: int | None = None) -> None:
        """Notes a finding here."""
        self.report.add(level, kind, message, position, self._inner_path)

    def descend(self, view: View, name: str) -> None:
        """Scans what is inside, up to four levels deep."""
        view.budget.spend("members", 1)
        if self.depth >= Budget.MAX_DEPTH:
            self.add(Level.SUSPICIOUS, "nested-archive", f"Archives are nested deeper than {Budget.MAX_DEPTH} levels.")
            return
        short = shown(name, 200)
        path = short if self._inner_path is None else f"{self._inner_path}!{short}"
        self._scan(view, Place(self.report, name, self._scan, inner_path=path, depth=self.depth + 1))

    @property
    def extension(self) -> str:
        """What follows the last dot of the name, in lower case."""
        return self.name.lower().rpartition("/")[2].rpartition(".")[2] if "." in self.name else ""
