"""Request tables and what else needs a mesh; one rig for all tests of a mode, and one line for each row, as it is asked."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh.callers import Mode
from mesh.cluster import identity
from mesh.lines import Json
from mesh.machine import is_ci, refusal
from mesh.programs import ensure_programs
from mesh.requests import Answer
from mesh.rig import Rig, running_rig
from mesh.tables import Table, read_tables

HERE = Path(__file__).resolve().parent
FILES = sorted(HERE.glob("*.yaml"))
SMALL_FILES = ("s0-smallest", "s1-parity", "s2-sandboxes", "s3-two-policies", "quickstart")
"""What is asked a second time of bare Envoys: their answers must be the same."""
FRESH = "fresh"
"""A small rig of a test's own, which may be spoilt."""
CALLERS = ("shop", "other", "alice", "dev-alice")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what is ours, keep it in order, and leave it to the end: the rig moves this process into a network of its own."""
    ours = [item for item in items if HERE in item.path.parents]
    for item in ours:
        item.add_marker(pytest.mark.mesh)
    others = [item for item in items if item not in ours]
    items[:] = [*others, *sorted(ours, key=_place)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "row" in metafunc.fixturenames:
        found = [(mode, table) for mode, files in _files() for file in files for table in tables_of(file)]
        values = [
            pytest.param(mode, table, row, id=f"{mode} {table.name}: {row.name}")
            for mode, table in found
            for row in table.rows
        ]
        metafunc.parametrize(("rig", "table", "row"), values, indirect=["rig", "table"], scope="session")
    elif "table" in metafunc.fixturenames:
        tables = [table for file in FILES for table in tables_of(file)]
        whole = [pytest.param(Mode.FULL, table, id=table.name) for table in tables]
        metafunc.parametrize(("rig", "table"), whole, indirect=True, scope="session")
    elif "rig" in metafunc.fixturenames and not any(
        mark.name == "parametrize" and mark.args[0] == "rig" for mark in metafunc.definition.iter_markers()
    ):
        metafunc.parametrize("rig", [Mode.FULL], indirect=True, scope="session", ids=[""])


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Say of each test why it cannot run; in CI that is a failure."""
    if refused := refusal(item.nodeid):
        (pytest.fail if is_ci() else pytest.skip)(refused)


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """Leave out the dot of a row: its line in the table says more."""
    is_row = "test_tables.py::test_row" in report.nodeid and report.when == "call" and report.passed
    return ("passed", "", "") if is_row else None


@pytest.fixture(scope="session")
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """Start a rig; what is missing is built first, with its progress shown."""
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        ensure_programs()
    started = time.monotonic()
    with running_rig(Mode.SMALL if request.param == FRESH else request.param) as running:
        running.callers.ensure(CALLERS[:1] if request.param == FRESH else CALLERS)
        print_row(request.config, f"  a mesh ({request.param}) is up after {time.monotonic() - started:.1f} s")
        yield running
        log = running.operator.log.read_text()
        assert "bug:" not in log, log


@pytest.fixture(scope="session")
def table(rig: Rig, request: pytest.FixtureRequest) -> Table:
    """Bring the cluster to what a table says; what went wrong then is each row's failure."""
    found: Table = request.param
    stand(rig, found.documents, continues=found.continues)
    return found


@pytest.fixture
def clean(rig: Rig) -> Rig:
    """A rig whose cluster is empty."""
    stand(rig, ())
    return rig


def stand(rig: Rig, documents: tuple[Json, ...], *, continues: bool = False) -> None:
    """Make the cluster what the documents say: anew, or by changing what is there."""
    if not continues:
        rig.cluster.clear()
    else:
        wanted = {identity(item) for item in documents}
        for found in [item for item in rig.cluster.made if item not in wanted and item[0] != "EndpointSlice"]:
            rig.remove(*found)
    rig.apply(documents)
    rig.settle()


@functools.cache
def tables_of(file: Path) -> list[Table]:
    """Return the tables of a file, the same values each time: by them pytest knows what is set up already."""
    return read_tables(file)


def print_row(config: pytest.Config, line: str) -> None:
    """Show a line at once, whatever pytest captures."""
    reporter = config.pluginmanager.getplugin("terminalreporter")
    with config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        reporter.write_line(line)


def line_of(table: Table, name: str, request: object, answer: Answer, *, right: bool) -> str:
    """Return the line of a row in the printed table."""
    verdict = "ok  " if right else "WRONG"
    return f"  {verdict} {table.file.stem:<16} {request!s:<64} {answer!s:<52} {name}"


def _files() -> list[tuple[Mode, list[Path]]]:
    return [(Mode.FULL, FILES), (Mode.SMALL, [file for file in FILES if file.stem in SMALL_FILES])]


def _place(item: pytest.Item) -> tuple[int, str, int, bool]:
    """Tables first in their own order, each with all that is asked of it; what asks the small rig comes last."""
    callspec = getattr(item, "callspec", None)
    params = {} if callspec is None else callspec.params
    rig = [Mode.FULL, "", Mode.SMALL, FRESH].index(params.get("rig", ""))
    if "table" not in params:
        return rig, item.path.name, 0, False
    table: Table = params["table"]
    return rig, "", FILES.index(table.file) * 100 + table.number, "row" not in params
