"""What must hold for every cluster, shown on random ones."""

import json
import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

import builders
from builders import SETTINGS
from properties.strategies import DEVELOPER_NAMESPACES, POLICY_NAMESPACES, SERVICES, changes, clusters
from virtualservice_operator.core.changes import ServicePlan
from virtualservice_operator.core.objects import ClusterObject, Key, Policy, VirtualService
from virtualservice_operator.core.plan import plan_service
from virtualservice_operator.core.snapshot import Snapshot
from virtualservice_operator.core.touch import touched_keys

KEYS = [Key(where, name) for where in (*POLICY_NAMESPACES, *DEVELOPER_NAMESPACES) for name in SERVICES]


def snapshot_of(objects: list[ClusterObject]) -> Snapshot:
    return Snapshot(SETTINGS, objects)


def plan_all(snapshot: Snapshot) -> dict[Key, ServicePlan]:
    return {key: plan_service(snapshot, key) for key in KEYS}


def carry_out(snapshot: Snapshot, plans: dict[Key, ServicePlan]) -> None:
    """Enter what the API server would store."""
    for plan in plans.values():
        builders.carry_out(snapshot, plan)


def settled(objects: list[ClusterObject]) -> Snapshot:
    """Return the cluster after everything planned was carried out."""
    snapshot = snapshot_of(objects)
    carry_out(snapshot, plan_all(snapshot))
    return snapshot


def documents(plans: dict[Key, ServicePlan]) -> list[dict[str, Any]]:
    return [change.document for plan in plans.values() for change in plan.changes if change.document is not None]


def said(plan: ServicePlan) -> str:
    """Return everything of a plan that is written somewhere, as one text."""
    written = [(change.action, change.target, change.document) for change in plan.changes]
    entries = {
        name: (
            *(entry.state, entry.reason, entry.message, entry.virtual_service, entry.developers, entry.routes),
            *(entry.ties, [finding.message for finding in entry.findings], [item.where for item in entry.overrides]),
        )
        for name, entry in plan.entries.items()
    }
    return json.dumps([written, entries], sort_keys=True)


@given(clusters())
def test_planning_what_was_carried_out_changes_nothing(objects: list[ClusterObject]) -> None:
    again = plan_all(settled(objects))
    assert [change for plan in again.values() for change in plan.changes] == []


@given(clusters(), st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(objects: list[ClusterObject], order: random.Random) -> None:
    first = {key: said(plan) for key, plan in plan_all(snapshot_of(objects)).items()}
    shuffled = list(objects)
    order.shuffle(shuffled)
    assert {key: said(plan) for key, plan in plan_all(snapshot_of(shuffled)).items()} == first


@given(clusters())
def test_nothing_that_is_not_ours_is_a_target(objects: list[ClusterObject]) -> None:
    foreign = {item.key for item in objects if isinstance(item, VirtualService)}
    plans = plan_all(snapshot_of(objects))
    assert foreign.isdisjoint({change.target for plan in plans.values() for change in plan.changes})


@given(clusters())
def test_each_port_with_a_rule_has_a_catch_all_and_it_comes_last(objects: list[ClusterObject]) -> None:
    for document in documents(plan_all(snapshot_of(objects))):
        matches = [match for rule in document["spec"]["http"] for match in rule.get("match", [{}])]
        caught = {match.get("port") for match in matches if not match.keys() - {"port"}}
        assert None in caught or {match.get("port") for match in matches} <= caught
        kinds = ["default" in rule["name"].split(".")[0] for rule in document["spec"]["http"]]
        assert kinds == sorted(kinds)
        assert kinds[-1]


@given(clusters())
def test_each_destination_is_the_service_or_a_copy_that_a_policy_may_use(objects: list[ClusterObject]) -> None:
    snapshot = snapshot_of(objects)
    for document in documents(plan_all(snapshot)):
        own = document["metadata"]["namespace"]
        contributing = document["metadata"]["annotations"]["virtualservice-operator.dev/policies"].split(",")
        allowed = {own}
        for name in contributing:
            resolved = snapshot.policy(Key(own, name))
            assert resolved is not None
            allowed |= resolved.namespaces
        assert "kube-system" not in allowed
        for rule in document["spec"]["http"]:
            for route in rule.get("route", ()):
                name, namespace = route["destination"]["host"].split(".")[:2]
                assert namespace in allowed
                consent = getattr(snapshot.namespace(namespace), "consents_to", None)
                assert namespace == own or consent is None or {"*", own} & set(consent)
                assert snapshot.service(Key(namespace, name)) is not None


@given(st.data())
def test_removing_a_policy_removes_what_only_it_wanted(data: st.DataObject) -> None:
    objects = data.draw(clusters())
    policies = [item for item in objects if isinstance(item, Policy)]
    if not policies:
        return
    removed = data.draw(st.sampled_from(policies))
    rest = [item for item in objects if item is not removed]
    snapshot = settled(objects)
    snapshot.remove(Policy, removed.key)
    carry_out(snapshot, plan_all(snapshot))
    fresh = settled(rest)
    for namespace in POLICY_NAMESPACES:
        left = {(item.key, item.spec_digest, item.policies) for item in snapshot.managed_in(namespace)}
        assert left == {(item.key, item.spec_digest, item.policies) for item in fresh.managed_in(namespace)}


@given(st.data())
def test_a_change_touches_every_key_whose_plan_it_changes(data: st.DataObject) -> None:
    """Why working on touched keys alone comes to the same as planning everything anew."""
    objects = data.draw(clusters())
    action, item = data.draw(changes(objects))
    snapshot = settled(objects)
    before = {key: said(plan) for key, plan in plan_all(snapshot).items()}
    known = _known(snapshot, item)
    touched = set(touched_keys(snapshot, known)) if known is not None else set()
    if action == "put":
        snapshot.put(item)
        touched |= touched_keys(snapshot, item)
    else:
        snapshot.remove(type(item), item.key)
    after = {key: said(plan) for key, plan in plan_all(snapshot).items()}
    assert {key for key in KEYS if before[key] != after[key]} <= touched


def _known(snapshot: Snapshot, item: ClusterObject) -> ClusterObject | None:
    return next((known for known in snapshot.all_of(type(item)) if known.key == item.key), None)
