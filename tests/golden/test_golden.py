"""
A folder per case: `cluster.yaml` is given; what is written, said in status, and planned must be as the other files say.

    cluster.yaml          in: Namespaces, Services, RoutingPolicies, VirtualServices as they are stored
    virtualservices.yaml  out: every VirtualService that is created or updated, whole; placeholders too
    status.yaml           out: the status of every policy
    plan.txt              out: a line for each change, and for each policy of a Service that is not simply programmed
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from builders import SETTINGS, carry_out, decode
from rendered import plan_rendered
from virtualservice_operator.controller.ledger import Ledger, editions_of
from virtualservice_operator.core.changes import PlaceholderChange, ServicePlan
from virtualservice_operator.core.objects import Key, Service
from virtualservice_operator.core.ownership import assigned_key
from virtualservice_operator.core.report import policy_status
from virtualservice_operator.core.snapshot import Snapshot

HERE: Final = Path(__file__).parent
CASES: Final = sorted(path.parent for path in HERE.glob("*/cluster.yaml"))
NOW: Final = "2026-06-01T12:00:00Z"


def read_cluster(case: Path) -> Snapshot:
    text = (case / "cluster.yaml").read_text()
    return Snapshot(SETTINGS, [decode(document) for document in yaml.safe_load_all(text) if document is not None])


def plan_all(snapshot: Snapshot) -> list[ServicePlan]:
    """Return the plan of every key there is: those of Services, and those that a VirtualService may belong to."""
    services = {item.key for item in snapshot.all_of(Service)}
    belonging = {assigned_key(item) for item in snapshot.all_virtual_services()}
    sources = {item.placed.source for item in snapshot.all_placeholders() if item.placed is not None}
    return [plan_rendered(snapshot, key) for key in sorted(services | belonging | sources)]


def show_virtual_services(_snapshot: Snapshot, plans: list[ServicePlan]) -> str:
    documents = [change.document for plan in plans for change in plan.changes if change.document is not None]
    return "---\n".join(_yaml(document) for document in documents) or "# nothing is written\n"


def show_statuses(snapshot: Snapshot, plans: list[ServicePlan]) -> str:
    ledger = Ledger()
    for plan in plans:
        carry_out(snapshot, plan)
        ledger.record(plan.key, plan.entries, editions_of(snapshot, plan.key.namespace))
    statuses: dict[str, Any] = {}
    for resolved in sorted(snapshot.all_policies(), key=lambda found: found.policy.key):
        policy = resolved.policy
        standing = ledger.standing(snapshot, resolved, policy.observed_generation)
        statuses[str(policy.key)] = policy_status(standing, policy.conditions, NOW)
    return _yaml(statuses)


def show_plan(_snapshot: Snapshot, plans: list[ServicePlan]) -> str:
    return "".join(f"{line}\n" for plan in plans for line in _lines(plan)) or "nothing to do\n"


def _lines(plan: ServicePlan) -> Iterator[str]:
    for change in plan.changes:
        what = "placeholder " if isinstance(change, PlaceholderChange) else ""
        yield f"{change.action} {what}{change.target}: {change.why}"
    if plan.waiting:
        yield f"wait {plan.key}"
    if plan.entries and not plan.changes and all(entry.virtual_service for entry in plan.entries.values()):
        yield f"keep {Key(plan.key.namespace, next(iter(plan.entries.values())).virtual_service or '')}"
    for name, entry in sorted(plan.entries.items()):
        if entry.state != "Programmed" or entry.message:
            reason = "" if str(entry.reason) == str(entry.state) else f" {entry.reason}"
            yield f"  {entry.state}{reason} {plan.key} for {name}: {entry.message}"


def _yaml(value: Any) -> str:
    return yaml.dump(
        value, Dumper=_PlainDumper, sort_keys=False, default_flow_style=None, width=1000, allow_unicode=True
    )


class _PlainDumper(yaml.SafeDumper):
    """Writes equal parts twice rather than with anchors."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        return True


FILES: Final[dict[str, Callable[[Snapshot, list[ServicePlan]], str]]] = {
    "virtualservices.yaml": show_virtual_services,
    "status.yaml": show_statuses,
    "plan.txt": show_plan,
}


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_cluster_comes_to_what_its_folder_says(case: Path, file: str, *, refresh: bool) -> None:
    snapshot = read_cluster(case)
    found = FILES[file](snapshot, plan_all(snapshot))
    if refresh:
        (case / file).write_text(found)
    assert found == (case / file).read_text()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_planning_what_was_carried_out_changes_nothing(case: Path) -> None:
    snapshot = read_cluster(case)
    for plan in plan_all(snapshot):
        carry_out(snapshot, plan)
    assert [str(change.target) for plan in plan_all(snapshot) for change in plan.changes] == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_says_what_it_shows(case: Path) -> None:
    assert (case / "cluster.yaml").read_text().startswith("# ")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_holds_these_files_only(case: Path) -> None:
    assert {path.name for path in case.iterdir()} == {"cluster.yaml", *FILES}
