"""
A test for each reason of the status, named after it, on the real API server; kstatus reads each policy on the way.

Reasons that take an API server of their own have their tests elsewhere: `ELSEWHERE` names them.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.kstatus import Kstatus, kstatus
from cluster.test_consent import consent
from cluster.world import COPY_OF, Json, World, eventually, only, shop_with_alice
from virtualservice_operator.api.conditions import Reason

HERE = Path(__file__).parent
ELSEWHERE = {
    Reason.PENDING: "test_status.py::test_a_new_policy_is_pending_until_the_operator_has_seen_it",
    Reason.FORBIDDEN: "test_process.py::test_missing_kinds_and_rights_are_said_waited_for_and_healed",
    Reason.ISTIO_NOT_INSTALLED: "test_process.py::test_missing_kinds_and_rights_are_said_waited_for_and_healed",
    Reason.PROGRESSING: "test_counts.py::test_a_thousand_services_cost_a_thousand_writes_a_restart_and_a_minute_at_rest_none",
}
BAD = [{"type": "Header", "name": "x-dev", "matchType": "Regex", "value": "({{ DeveloperName }}"}]


def entry(world: World, reason: str, service: str = "reviews", policy: str = "defaults") -> Json:
    """Return a Service's entry as soon as it has a reason; kstatus must be able to read the policy it is in."""

    def found() -> Json | None:
        item = world.entry(policy, "shop", service)
        return item if item.get("reason") == reason else None

    item = eventually(f"{service}: {reason}; {world.status(policy, 'shop')}", found)
    reads(world, policy)
    return dict(item)


def reads(world: World, policy: str = "defaults") -> Kstatus:
    """Return what kstatus makes of a policy as it is stored; never both a final and a progressing word."""
    stored = world.stored_policy(policy, "shop")
    conditions = {item["type"]: item["status"] for item in stored["status"]["conditions"]}
    assert not {"Reconciling", "Stalled"} <= conditions.keys()
    assert {"Accepted", "ResolvedRefs", "Programmed", "Ready"} <= conditions.keys()
    for kind in ("Conflicted", "Suspended", "Observed", "Reconciling", "Stalled"):
        assert conditions.get(kind, "True") == "True"
    return kstatus(stored)


def settled(world: World, expected: Kstatus, policy: str = "defaults") -> None:
    eventually(f"kstatus says {expected}", lambda: reads(world, policy) is expected)


# ---- what is well


def test_reason_accepted(world: World) -> None:
    shop_with_alice(world, "reviews")
    assert world.condition("defaults", "shop", "Accepted") == ("True", "Accepted")


def test_reason_resolved_refs(world: World) -> None:
    shop_with_alice(world, "reviews")
    assert world.condition("defaults", "shop", "ResolvedRefs") == ("True", "ResolvedRefs")


def test_reason_programmed(world: World) -> None:
    shop_with_alice(world, "reviews")
    assert entry(world, "Programmed")["state"] == "Programmed"
    settled(world, Kstatus.CURRENT)


def test_reason_no_matching_services(world: World) -> None:
    shop_with_alice(world, "reviews")
    world.policy("none", "shop", services={"names": ["nobody"]}, developersFrom=only(world))
    world.wait_condition("none", "shop", "Ready", ("True", "NoMatchingServices"))
    assert "has no Service named nobody" in world.message("none", "shop", "Ready")
    settled(world, Kstatus.CURRENT, "none")


# ---- Accepted


def test_reason_invalid_spec(world: World) -> None:
    shop_with_alice(world, "reviews")
    world.policy("bad", "shop", developersFrom=only(world, "alice"), matches=BAD)
    world.wait_condition("bad", "shop", "Accepted", ("False", "InvalidSpec"))
    assert "spec.matches[0].value" in world.message("bad", "shop", "Accepted")
    settled(world, Kstatus.FAILED, "bad")


def test_reason_invalid_template(world: World) -> None:
    shop_with_alice(world, "reviews")
    template = {"virtualService": '{% extends "base" %}\n{{ Nothing }}'}
    world.policy("bad", "shop", developersFrom=only(world, "alice"), template=template)
    world.wait_condition("bad", "shop", "Accepted", ("False", "InvalidTemplate"))
    assert "template virtualService, line 2: 'Nothing' is not a variable" in world.message("bad", "shop", "Accepted")
    settled(world, Kstatus.FAILED, "bad")


def test_reason_namespace_not_allowed(world: World) -> None:
    shop_with_alice(world, "reviews")
    world.policy("defaults", "shop", developers=[{"name": "root", "namespaces": ["kube-system"]}])
    world.wait_condition("defaults", "shop", "ResolvedRefs", ("False", "NamespaceNotAllowed"))
    settled(world, Kstatus.CURRENT)


# ---- ResolvedRefs


def test_reason_namespace_not_found(world: World) -> None:
    shop_with_alice(world, "reviews")
    world.policy("defaults", "shop", developers=[{"name": "nobody-at-all"}])
    world.wait_condition("defaults", "shop", "ResolvedRefs", ("False", "NamespaceNotFound"))
    assert "create it, or correct the entry" in world.message("defaults", "shop", "ResolvedRefs")


def test_reason_ref_not_permitted(world: World) -> None:
    shop_with_alice(world, "reviews")
    consent(world, "alice", "somebody-else")
    world.wait_condition("defaults", "shop", "ResolvedRefs", ("False", "RefNotPermitted"))
    assert "kubectl annotate namespace" in world.message("defaults", "shop", "ResolvedRefs")


def test_reason_ambiguous_copy(world: World) -> None:
    shop_with_alice(world, "reviews")
    annotations = {COPY_OF: f"{world.ns('shop')}/reviews"}
    for name in ("one", "two"):
        world.service(name, "alice", annotations=annotations)
    found = entry(world, "AmbiguousCopy")
    assert found["state"] == "PartiallyProgrammed"
    assert "one, two in" in found["message"]


def test_reason_port_mismatch(world: World) -> None:
    shop_with_alice(world, "reviews")
    world.service("reviews", "shop", ("http", 80), ("grpc", 9090))
    assert "grpc (9090)" in entry(world, "PortMismatch")["message"]


def test_reason_partially_programmed(world: World) -> None:
    shop_with_alice(world, "reviews")
    world.service("reviews", "shop", ("http", 80), ("grpc", 9090))
    world.wait_condition("defaults", "shop", "Programmed", ("True", "PartiallyProgrammed"))
    settled(world, Kstatus.CURRENT)


# ---- conflicts


def test_reason_route_overridden(world: World) -> None:
    shop_with_alice(world, "reviews")
    world.namespace("qa")
    world.service("reviews", "qa")
    world.policy("first", "shop", priority=5, developers=[{"name": "alice", "namespaces": [world.ns("qa")]}])
    found = entry(world, "RouteOverridden")
    assert found["state"] == "Overridden"
    assert "first wins by priority 5 over 0" in found["message"]


def test_reason_route_tie(world: World) -> None:
    shop_with_alice(world, "reviews")
    world.namespace("qa")
    world.service("reviews", "qa")
    world.policy("another", "shop", developers=[{"name": "alice", "namespaces": [world.ns("qa")]}])
    for policy in ("defaults", "another"):
        world.wait_condition(policy, "shop", "Conflicted", ("True", "RouteTie"))
        world.wait_event("RouteTie", policy, "shop")
    assert "give one of them a higher priority" in world.message("defaults", "shop", "Conflicted")
    settled(world, Kstatus.CURRENT)


def foreign(world: World, name: str, namespace: str, *hosts: str) -> None:
    rule = {"route": [{"destination": {"host": "elsewhere.example"}}]}
    world.virtual_service(name, namespace, {"hosts": list(hosts), "http": [rule]})


def test_reason_host_taken(world: World) -> None:
    shop_with_alice(world, "reviews", "ratings")
    foreign(world, "by-hand", "shop", "reviews")
    assert entry(world, "HostTaken")["state"] == "Skipped"
    world.wait_condition("defaults", "shop", "Conflicted", ("True", "HostTaken"))
    world.wait_event("HostTaken", "defaults", "shop")
    settled(world, Kstatus.CURRENT)


def test_reason_host_taken_is_told_beside_a_tie(world: World) -> None:
    """The condition has one reason; what begins beside it is an Event as well, and each only once."""
    shop_with_alice(world, "reviews", "ratings")
    world.namespace("qa")
    world.service("reviews", "qa")
    world.policy("another", "shop", developers=[{"name": "alice", "namespaces": [world.ns("qa")]}])
    world.wait_event("RouteTie", "defaults", "shop")
    foreign(world, "by-hand", "shop", "ratings")
    world.wait_event("HostTaken", "defaults", "shop")
    assert world.condition("defaults", "shop", "Conflicted") == ("True", "RouteTie")
    world.service("details", "shop")
    eventually("more news", lambda: world.status("defaults", "shop")["matchedServices"] == 3)
    world.wait_ready("defaults", "shop")
    told = [reason for reason, policy in world.events("shop") if policy == "defaults"]
    assert (told.count("RouteTie"), told.count("HostTaken")) == (1, 1)


def test_reason_host_conflict(world: World) -> None:
    world.namespace("elsewhere")
    foreign(world, "grab", "elsewhere", world.host("reviews", "shop"))
    time.sleep(1.1)  # Istio ranks by the second
    world.namespace("shop")
    world.service("reviews", "shop")
    world.policy("defaults", "shop", developersFrom=only(world))
    assert entry(world, "HostConflict")["state"] == "Failed"
    settled(world, Kstatus.FAILED)


def test_reason_name_conflict(world: World) -> None:
    world.namespace("shop")
    foreign(world, "reviews-virtual-service", "shop", "old.example")
    world.service("reviews", "shop")
    world.policy("defaults", "shop", developersFrom=only(world))
    assert "virtualservice-operator.dev/adopt=true" in entry(world, "NameConflict")["message"]
    world.wait_event("NameConflict", "defaults", "shop")
    settled(world, Kstatus.FAILED)


# ---- writing


@pytest.fixture
def admission(world: World) -> Iterator[None]:
    """An admission policy that lets nobody write VirtualServices in this test's namespaces."""
    group = "/apis/admissionregistration.k8s.io/v1"
    name = f"no-virtual-services-{world.prefix}"
    rule = {"apiGroups": ["networking.istio.io"], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"]}
    only_here = f"request.namespace.startsWith('{world.prefix}-')"
    spec: Json = {
        "matchConstraints": {"resourceRules": [{**rule, "resources": ["virtualservices"]}]},
        "matchConditions": [{"name": "here", "expression": only_here}],
        "validations": [{"expression": "false", "message": "the house has closed"}],
    }
    binding: Json = {"policyName": name, "validationActions": ["Deny"]}
    for kind, body in (("validatingadmissionpolicies", spec), ("validatingadmissionpolicybindings", binding)):
        world.plane.request("POST", f"{group}/{kind}", {"metadata": {"name": name}, "spec": body})
    time.sleep(2)  # the API server takes a moment to hear of its own admission policies
    yield
    for kind in ("validatingadmissionpolicybindings", "validatingadmissionpolicies"):
        world.plane.request("DELETE", f"{group}/{kind}/{name}")


def test_reason_admission_rejected(world: World, admission: None) -> None:
    world.namespace("shop")
    world.service("reviews", "shop")
    world.policy("defaults", "shop", developersFrom=only(world))
    found = entry(world, "AdmissionRejected")
    assert found["state"] == "Failed"
    assert "the house has closed" in found["message"]
    world.wait_event("AdmissionRejected", "defaults", "shop")
    settled(world, Kstatus.IN_PROGRESS)


def test_reason_progressing_with_retry(world: World, admission: None) -> None:
    world.namespace("shop")
    world.service("reviews", "shop")
    world.policy("defaults", "shop", developersFrom=only(world))
    world.wait_condition("defaults", "shop", "Reconciling", ("True", "ProgressingWithRetry"))


def test_reason_apply_failed(world: World) -> None:
    """Somebody who changes a VirtualService again and again is named."""
    shop_with_alice(world, "reviews")

    def fight() -> bool:
        world.edit_virtual_service("reviews", "shop", {"spec": {"exportTo": ["."]}})
        time.sleep(0.3)
        return world.entry("defaults", "shop", "reviews").get("reason") == "ApplyFailed"

    eventually("said", fight)
    assert "user keeps changing or deleting VirtualService" in entry(world, "ApplyFailed")["message"]


TO_SECRETS = """\
{% extends "base" %}
{% block rules_before_default %}
{% if ServiceName == "ratings" %}
- name: secrets
  match: [{uri: {prefix: /secrets}}]
  route: [{destination: {host: secrets.kube-system.svc.cluster.local}}]
{% endif %}
{% endblock %}
"""


def test_reason_output_not_allowed(world: World) -> None:
    """A template that leads elsewhere for one Service costs that Service, and no other."""
    shop_with_alice(world, "reviews")
    world.service("ratings", "shop")
    world.policy("defaults", "shop", developersFrom=only(world, "alice"), template={"virtualService": TO_SECRETS})
    found = entry(world, "OutputNotAllowed", "ratings")
    assert found["state"] == "Failed"
    assert (
        'destination.host: "secrets.kube-system.svc.cluster.local" is neither the Service nor a copy'
        in found["message"]
    )
    assert entry(world, "Programmed")["state"] == "Programmed"
    settled(world, Kstatus.FAILED)


# ---- frozen and observed


def test_reason_frozen(world: World) -> None:
    shop_with_alice(world, "reviews")
    world.policy("other", "shop", services={"names": ["reviews"]}, developersFrom=only(world))
    eventually("it contributes", lambda: world.status("other", "shop").get("programmedServices") == 1)
    world.policy("other", "shop", services={"names": ["reviews"]}, developersFrom=only(world, "alice"), matches=BAD)
    world.wait_condition("defaults", "shop", "Programmed", ("False", "Frozen"))
    settled(world, Kstatus.IN_PROGRESS)


def test_reason_policy_not_accepted(world: World) -> None:
    shop_with_alice(world, "reviews")
    world.policy("defaults", "shop", developersFrom=only(world, "alice"), matches=BAD)
    assert entry(world, "PolicyNotAccepted")["state"] == "Frozen"
    settled(world, Kstatus.FAILED)


def test_reason_suspended(world: World) -> None:
    shop_with_alice(world, "reviews")
    world.policy("defaults", "shop", mode="Suspended", developersFrom=only(world, "alice"))
    world.wait_condition("defaults", "shop", "Suspended", ("True", "Suspended"))
    settled(world, Kstatus.IN_PROGRESS)


def test_reason_policy_suspended(world: World) -> None:
    shop_with_alice(world, "reviews")
    world.policy("defaults", "shop", mode="Suspended", developersFrom=only(world, "alice"))
    assert entry(world, "PolicySuspended")["state"] == "Frozen"


def test_reason_observed(world: World) -> None:
    shop_with_alice(world, "reviews")
    world.policy("trial", "shop", mode="Observe", developersFrom=only(world))
    assert entry(world, "Observed", policy="trial")["plannedChange"] == "none"
    settled(world, Kstatus.CURRENT, "trial")


# ---- skipped


@pytest.mark.parametrize(
    ("reason", "service"),
    [
        ("ExternalName", {"type": "ExternalName", "externalName": "example.com", "selector": None}),
        ("Headless", {"clusterIP": "None"}),
        ("NoHTTPPort", {"ports": [{"name": "tcp-db", "port": 5432}]}),
        ("Ignored", {"annotations": {"virtualservice-operator.dev/ignore": "true"}}),
        ("Placeholder", {"annotations": {"virtualservice-operator/placeholder-service": "true"}}),
        ("Gateway", {"labels": {"gateway.networking.k8s.io/gateway-name": "public"}}),
    ],
)
def test_reason_of_a_skipped_service(world: World, reason: str, service: Json) -> None:
    shop_with_alice(world, "reviews")
    world.service("odd", "shop", **service)
    assert entry(world, reason, "odd")["state"] == "Skipped"
    settled(world, Kstatus.CURRENT)


def test_reason_nothing_to_route(world: World) -> None:
    shop_with_alice(world, "reviews")
    world.service("ratings", "shop")
    world.policy("defaults", "shop", developersFrom=only(world, "alice"), virtualServiceFor="RoutedServices")
    assert entry(world, "NothingToRoute", "ratings")["state"] == "Skipped"


def test_reason_system(world: World) -> None:
    policies = "/apis/virtualservice-operator.dev/v1alpha1/namespaces/default/routingpolicies"
    document = {
        "apiVersion": "virtualservice-operator.dev/v1alpha1",
        "kind": "RoutingPolicy",
        "metadata": {"name": world.prefix},
        "spec": {"services": {"names": ["kubernetes"]}, "developers": []},
    }
    world.plane.request("POST", policies, document)

    def reasons() -> list[str]:
        stored = world.get(f"{policies}/{world.prefix}") or {"status": {}}
        return [item["reason"] for item in stored["status"].get("services", ())]

    eventually("skipped", lambda: reasons() == ["System"])
    world.plane.request("DELETE", f"{policies}/{world.prefix}")


def test_every_reason_has_a_test_that_is_named_after_it() -> None:
    text = Path(__file__).read_text()
    named = {reason for reason in Reason if f"def test_reason_{_snake(reason)}(" in text or f'("{reason}", {{' in text}
    assert {str(reason) for reason in Reason} == {str(reason) for reason in (named | ELSEWHERE.keys())}
    assert not named & ELSEWHERE.keys()
    for place in ELSEWHERE.values():
        file, _, test = place.partition("::")
        assert f"def {test}(" in (HERE / file).read_text()


def _snake(reason: Reason) -> str:
    return reason.name.lower()
