"""What the fault tests measured, as the table of docs/reliability.md."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"
HEAD = (
    "| Fault | What happens | Runs | Recovery p50 / max, s | Writes above plan | Invariants broken |",
    "|---|---|---|---|---|---|",
)
FAULTS: Mapping[str, str] = {
    "F01": "killed after a write",
    "F02": "a write's answer lost",
    "F03": "killed, or the connection reset, before a write",
    "F06": "deletions missed, then 410",
    "F07": "events dropped, doubled, reordered, late",
    "F08": "deleted and made anew under the same name",
    "F09": "a watch cut in the middle of a line, or silent",
    "F10": "a second writer on the same objects",
    "F11": "429 from the API server's own flow control",
    "F12": "500, 503, 504 for a share of all requests",
    "F13": "every answer takes 5 s longer",
    "F14": "API server killed, and back",
    "F15": "etcd killed, and back; etcd frozen",
    "F16": "etcd put back to an older state",
    "F17": "history compacted while watches are broken",
    "F18": "a deposed leader wakes up",
    "F19": "Lease deleted, stolen, garbage",
    "F20": "clocks apart",
    "F21": "rights denied in one namespace",
    "F22": "rights lost everywhere",
    "F23": "Istio's CRD absent, removed, upgraded",
    "F24": "our CRD removed; policies that no longer fit it",
    "F25": "an admission policy says no",
    "F26": "a webhook that does not answer",
    "F28": "a namespace that is being deleted",
    "F29": "a quota that is full",
    "F33": "our objects edited, relabelled, disowned",
    "F36": "token and certificate authority rotated",
    "F37": "SIGTERM in the middle of many writes",
}


# What a test has said: pairs of a name and a value.
Result = Sequence[tuple[str, object]]


@dataclass
class Row:
    """What all tests of one fault have measured."""

    runs: int = 0
    recoveries: list[float] = field(default_factory=list)
    extra: int | None = None
    broken: list[str] = field(default_factory=list)

    def take(self, result: Result) -> None:
        """Add what one test has said; one that fails without a word of what broke counts as one invariant broken."""
        runs, broken, failed = 1, [], []
        for name, value in result:
            match name, value:
                case "recovery", float():
                    self.recoveries.append(value)
                case "runs", int():
                    runs = value
                case "extra writes", int():
                    self.extra = (self.extra or 0) + value
                case "broken", str():
                    broken.append(value)
                case "failed", str():
                    failed.append(value)
        self.runs += runs
        self.broken += broken or failed

    def cells(self) -> tuple[str, ...]:
        """Return the figures as they are shown."""
        seconds = "none"
        if self.recoveries:
            seconds = f"{statistics.median(self.recoveries):.1f} / {max(self.recoveries):.1f}"
        extra = "not counted" if self.extra is None else str(self.extra)
        return str(self.runs), seconds, extra, str(len(self.broken))


class Table:
    """
    A pytest plugin that collects; tests say what they are about with the marker `fault`.

    `results` has what each test has said, by its name; what an earlier run has left there stays until it runs again.
    """

    def __init__(self, results: Mapping[str, Result] | None = None) -> None:
        self.results: dict[str, Result] = dict(results or {})
        self._failed: set[str] = set()

    def pytest_collection_modifyitems(self, items: Sequence[pytest.Item]) -> None:
        """Put the fault's name where reports show it."""
        for item in items:
            item.user_properties += [("fault", marker.args[0]) for marker in item.iter_markers("fault")]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take a test when all of it is known: its teardown comes last, and says what was measured."""
        if report.failed:
            self._failed.add(report.nodeid)
        if report.when == "teardown":
            failed = [("failed", report.nodeid)] if report.nodeid in self._failed else []
            self.results[report.nodeid] = [*report.user_properties, *failed]

    @property
    def rows(self) -> dict[str, Row]:
        """Return a row for each fault, in their order."""
        found: defaultdict[str, Row] = defaultdict(Row)
        for result in self.results.values():
            for name, value in result:
                if name == "fault":
                    found[str(value)].take(result)
        return dict(sorted(found.items()))

    def lines(self) -> list[str]:
        """Return the table."""
        cells = (("", fault, FAULTS.get(fault, ""), *row.cells(), "") for fault, row in self.rows.items())
        return [*HEAD, *(" | ".join(row).strip() for row in cells)]


def read_results(path: Path) -> dict[str, Result]:
    """Return what earlier runs have left."""
    if not path.exists():
        return {}
    stored: dict[str, list[list[object]]] = json.loads(path.read_text())
    return {test: [(str(name), value) for name, value in result] for test, result in stored.items()}


def write_results(path: Path, results: Mapping[str, Result]) -> None:
    """Leave results for later runs."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")


def write_between(path: Path, lines: Sequence[str]) -> None:
    """Put lines between the marks of a page."""
    before, _, rest = path.read_text().partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"{path} lacks the lines {BEGIN} and {END}")
    path.write_text("\n".join([f"{before}{BEGIN}", "", *lines, "", f"{END}{after}"]))
