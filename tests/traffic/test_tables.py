"""Each row of each table: a real request through a real Envoy, and who answered."""

from __future__ import annotations

import pytest

from mesh.judge import differences, explain
from mesh.rig import Rig
from mesh.tables import Row, Table
from traffic.conftest import line_of, print_row


def test_row(rig: Rig, table: Table, row: Row, pytestconfig: pytest.Config) -> None:
    answer = rig.ask(row.request)
    found = differences(row, answer)
    print_row(pytestconfig, line_of(table, row.name, row.request, answer, right=not found))
    assert not found, "\n" + explain(row, answer, found, rig.cluster, rig.callers[row.request.caller])
