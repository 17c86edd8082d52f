from pathlib import Path

import pytest

from faults.table import BEGIN, END, Row, Table, read_results, write_between, write_results


def report(
    when: str, properties: list[tuple[str, object]], *, failed: bool = False, fault: str = "F01"
) -> pytest.TestReport:
    return pytest.TestReport(
        nodeid="tests/x.py::test_x",
        location=("tests/x.py", 1, "test_x"),
        keywords={},
        outcome="failed" if failed else "passed",
        longrepr=None,
        when=when,  # type: ignore[arg-type] # one of its three words
        user_properties=[("fault", fault), *properties],
    )


def test_a_row_shows_runs_recoveries_writes_and_what_broke() -> None:
    row = Row()
    row.take([("runs", 3), ("recovery", 0.5), ("recovery", 2.0), ("recovery", 1.0), ("extra writes", 0)])
    row.take([("runs", 1), ("broken", "I1: left behind"), ("failed", "tests/x.py::test_x")])
    assert row.cells() == ("4", "1.0 / 2.0", "0", "1")


def test_a_test_that_only_fails_counts_as_broken() -> None:
    table = Table()
    table.pytest_runtest_logreport(report("call", [], failed=True))
    table.pytest_runtest_logreport(report("teardown", []))
    assert table.rows["F01"].cells() == ("1", "none", "not counted", "1")


def test_the_table_is_in_the_order_of_the_faults() -> None:
    table = Table({"tests/x.py::test_y": [("fault", "F12"), ("recovery", 1.25)]})
    table.pytest_runtest_logreport(report("teardown", [("recovery", 1.25), ("extra writes", 0)], fault="F02"))
    assert table.lines()[2:] == [
        "| F02 | a write's answer lost | 1 | 1.2 / 1.2 | 0 | 0 |",
        "| F12 | 500, 503, 504 for a share of all requests | 1 | 1.2 / 1.2 | not counted | 0 |",
    ]


def test_results_are_kept_for_later_runs_and_replaced_by_them(tmp_path: Path) -> None:
    path = tmp_path / "build/faults.json"
    assert read_results(path) == {}
    write_results(path, {"tests/x.py::test_x": [("fault", "F01"), ("recovery", 9.0)]})
    table = Table(read_results(path))
    assert table.rows["F01"].recoveries == [9.0]
    table.pytest_runtest_logreport(report("teardown", [("recovery", 1.0)]))
    assert table.rows["F01"].recoveries == [1.0]


def test_the_page_keeps_what_stands_around_the_table(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"above\n\n{BEGIN}\nold\n{END}\n\nbelow\n")
    write_between(page, ["new"])
    assert page.read_text() == f"above\n\n{BEGIN}\n\nnew\n\n{END}\n\nbelow\n"


def test_a_page_without_the_marks_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing\n")
    with pytest.raises(ValueError, match="lacks the lines"):
        write_between(page, [])
