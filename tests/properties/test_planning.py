"""What must hold for every cluster, shown on random ones."""

import json
import random
from dataclasses import replace
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

import builders
from builders import SETTINGS
from properties.strategies import (
    DEVELOPER_NAMESPACES,
    POLICY_NAMESPACES,
    SERVICES,
    changes,
    clusters,
    foreign,
    held_policies,
    namespaces,
)
from virtualservice_operator.core.changes import Change, PlaceholderChange, ServicePlan
from virtualservice_operator.core.objects import ClusterObject, Key, Policy, Service, VirtualService
from virtualservice_operator.core.ownership import assigned_key, clients_of, share_clients
from virtualservice_operator.core.plan import plan_service
from virtualservice_operator.core.precedence import in_precedence
from virtualservice_operator.core.resolution import PlanSettings, permits
from virtualservice_operator.core.selection import governs
from virtualservice_operator.core.snapshot import Snapshot
from virtualservice_operator.core.touch import touched_keys

CONSENTS = [
    replace(SETTINGS, requires_consent=True),
    replace(SETTINGS, requires_placeholder_consent=False),
    replace(SETTINGS, requires_consent=True, requires_placeholder_consent=False),
]
KEYS = [Key(where, name) for where in (*POLICY_NAMESPACES, *DEVELOPER_NAMESPACES) for name in SERVICES]


def snapshot_of(objects: list[ClusterObject]) -> Snapshot:
    return Snapshot(SETTINGS, objects)


def plan_all(snapshot: Snapshot) -> dict[Key, ServicePlan]:
    return {key: plan_service(snapshot, key) for key in KEYS}


def carry_out(snapshot: Snapshot) -> None:
    """Enter what the API server would store, key by key: of two that want one placeholder, the first has it."""
    for key in KEYS:
        builders.carry_out(snapshot, plan_service(snapshot, key))


def settled(objects: list[ClusterObject]) -> Snapshot:
    """Return the cluster after everything planned was carried out."""
    snapshot = snapshot_of(objects)
    carry_out(snapshot)
    return snapshot


def changes_of(plans: dict[Key, ServicePlan]) -> list[Change]:
    """Return the changes of VirtualServices."""
    return [change for plan in plans.values() for change in plan.changes if isinstance(change, Change)]


def placeholders_of(plans: dict[Key, ServicePlan]) -> set[Key]:
    """Return where placeholders are written, or go."""
    found = (change for plan in plans.values() for change in plan.changes)
    return {change.target for change in found if isinstance(change, PlaceholderChange)}


def documents(plans: dict[Key, ServicePlan]) -> list[dict[str, Any]]:
    return [change.document for change in changes_of(plans) if change.document is not None]


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
    plans = plan_all(snapshot_of(objects))
    theirs = {item.key for item in objects if isinstance(item, VirtualService)}
    assert theirs.isdisjoint({change.target for change in changes_of(plans)})
    assert placeholders_of(plans).isdisjoint({item.key for item in objects if isinstance(item, Service)})


@given(clusters())
def test_each_port_with_a_rule_has_a_catch_all_and_it_comes_last(objects: list[ClusterObject]) -> None:
    for document in documents(plan_all(snapshot_of(objects))):
        matches = [match for rule in document["spec"]["http"] for match in rule.get("match", [{}])]
        caught = {match.get("port") for match in matches if not match.keys() - {"port"}}
        assert None in caught or {match.get("port") for match in matches} <= caught
        kinds = ["default" in rule["name"].split(".")[0] for rule in document["spec"]["http"]]
        assert kinds == sorted(kinds)
        assert kinds[-1]


@given(clusters(), st.sampled_from([SETTINGS, *CONSENTS]))
def test_each_destination_is_the_service_or_a_copy_that_a_policy_may_use(
    objects: list[ClusterObject], settings: PlanSettings
) -> None:
    snapshot = Snapshot(settings, objects)
    plans = plan_all(snapshot)
    placed = placeholders_of(plans)
    for document in documents(plans):
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
                assert namespace == own or consents(snapshot, namespace, own, unless_said=not settings.requires_consent)
                assert snapshot.service(Key(namespace, name)) is not None or Key(namespace, name) in placed
    for source, plan in plans.items():
        for place in placeholders_of({source: plan}):
            unless_said = not settings.requires_placeholder_consent
            assert snapshot.namespace(place.namespace) is not None
            assert consents(snapshot, place.namespace, source.namespace, unless_said=unless_said)


def consents(snapshot: Snapshot, namespace: str, policies_of: str, *, unless_said: bool) -> bool:
    """Tell whether a namespace admits the policies of another, by its annotation."""
    said = getattr(snapshot.namespace(namespace), "consents_to", None)
    return unless_said if said is None else not {"*", policies_of}.isdisjoint(said)


@given(st.data())
def test_removing_a_policy_removes_what_only_it_wanted(data: st.DataObject) -> None:
    """
    Where others have placeholders, it matters too who has had a copy, and who was first.

    So it does where a VirtualService of another namespace claims the host: the older one has it.
    """
    objects = data.draw(clusters())
    policies = [item for item in objects if isinstance(item, Policy)]
    if not policies:
        return
    removed = data.draw(st.sampled_from(policies))
    rest = [item for item in objects if item is not removed]
    assume(not any(item.spec and item.spec.placeholder for item in policies if item is not removed))
    begun = snapshot_of(objects)
    assume(not any(claim.key.namespace != key.namespace for key in KEYS for claim in begun.claims(key)))
    snapshot = settled(objects)
    snapshot.remove(Policy, removed.key)
    carry_out(snapshot)
    assert list(snapshot.all_placeholders()) == []
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


@given(st.data())
def test_what_a_held_policy_wrote_stays_unless_consent_denial_or_a_claim_we_yield_to_says_so(
    data: st.DataObject,
) -> None:
    snapshot = settled(data.draw(clusters()))
    policies = [found.policy for found in snapshot.all_policies() if found.is_in_force]
    if not policies:
        return
    known = data.draw(st.sampled_from(policies))
    snapshot.put(data.draw(held_policies(known)))
    snapshot.put(data.draw(foreign(f"{known.key.namespace}/by-hand")))
    for _ in range(data.draw(st.integers(0, 2))):
        snapshot.put(data.draw(namespaces(data.draw(st.sampled_from(DEVELOPER_NAMESPACES)))))
    touched = {change.target for change in changes_of(plan_all(snapshot))}
    for item in snapshot.managed_in(known.key.namespace):
        if known.key.name in (item.policies or "").split(",") and _is_safe(snapshot, item):
            assert (item.key in touched) == _is_yielded(snapshot, item)


def _is_safe(snapshot: Snapshot, item: VirtualService) -> bool:
    """Tell whether each namespace that routes lead to still permits it, or is gone."""
    own = item.key.namespace
    found = (snapshot.namespace(name) for name in item.destinations if name != own)
    return all(where is None or permits(where, own, SETTINGS) for where in found)


def _is_yielded(snapshot: Snapshot, item: VirtualService) -> bool:
    """Tell whether a foreign one of the namespace claims what ours is for, to the same clients, and nobody keeps ours."""
    key = assigned_key(item)
    claims = [claim for claim in snapshot.claims(key) if claim.key.namespace == key.namespace]
    service = snapshot.service(key)
    if service is None or not any(share_clients(clients_of(claim), clients_of(item)) for claim in claims):
        return False
    named = (item.policies or "").split(",")
    asked = in_precedence(
        found
        for found in snapshot.policies(key.namespace)
        if (found.freezes and found.policy.key.name in named) or (found.is_in_force and governs(found.spec, service))
    )
    return next((said for found in asked if (said := found.spec.foreign_virtual_services)), "Yield") == "Yield"


def _known(snapshot: Snapshot, item: ClusterObject) -> ClusterObject | None:
    return next((known for known in snapshot.all_of(type(item)) if known.key == item.key), None)
