"""Each row of each table: a real request through a real Envoy, and who answered; and what istioctl says of each table."""

from __future__ import annotations

import pytest

from mesh.analysis import analyze
from mesh.judge import differences, explain
from mesh.rig import Rig
from mesh.tables import Row, Table
from traffic.conftest import line_of, print_row

EVERYWHERE = {"IST0102": "a namespace is not labelled for injection: the rig's sidecars are started by the tests"}
PORT_NAME = {"IST0118": "a port whose name says no protocol, which is what the table is about"}
EXPLAINED: dict[str, dict[str, str]] = {
    "developers: odd but legal names": PORT_NAME,
    "ports: a targetPort, an appProtocol, a port without a name": PORT_NAME,
    "foreign: with Keep the older one wins: ours": {"IST0109": "two VirtualServices for a host, as Keep allows"},
    "foreign: a private one of another namespace is no claim": {
        "IST0109": "two for a host, but nobody sees both: istioctl takes no account of exportTo"
    },
    "s5-templates: canary": {"IST0101": "the sample's subsets are the user's to name, in a DestinationRule"},
    "s5-templates: the sample once per developer": {
        "IST0112": "the sample's template writes no ports, and orders has two"
    },
}
"""What it finds in a table besides, code by code; all of it must be found, and nothing else."""


def test_row(rig: Rig, table: Table, row: Row, pytestconfig: pytest.Config) -> None:
    answer = rig.ask(row.request)
    found = differences(row, answer)
    print_row(pytestconfig, line_of(table, row.name, row.request, answer, right=not found))
    assert not found, "\n" + explain(row, answer, found, rig.cluster, rig.callers[row.request.caller])


def test_istioctl_analyze_finds_nothing_unexplained(rig: Rig, table: Table) -> None:
    messages = [message for message in analyze(rig) if message.code not in EVERYWHERE]
    assert {message.code for message in messages} == set(EXPLAINED.get(table.name, ())), "\n" + "\n".join(
        map(str, messages)
    )
