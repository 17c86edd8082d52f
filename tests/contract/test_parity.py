"""Promises of the original design that are kept by what the operator leaves alone."""

from contract.samples import decode, decode_all
from virtualservice_operator.core.objects import Key
from virtualservice_operator.core.plan import plan_service
from virtualservice_operator.core.resolution import PlanSettings
from virtualservice_operator.core.snapshot import Snapshot

PLACEHOLDER = {"virtualservice-operator/placeholder-service": "true"}
CLUSTER = """
kind: Namespace
metadata: {name: shop}
---
kind: Namespace
metadata: {name: alice}
---
kind: RoutingPolicy
metadata: {name: defaults, namespace: shop}
spec: {developers: [{name: alice}]}
"""


def snapshot_of(**annotations: dict[str, str]) -> Snapshot:
    """Return a cluster with the Service `reviews` in each of the namespaces, annotated as is said."""
    services = [
        {
            "kind": "Service",
            "metadata": {"name": "reviews", "namespace": namespace, "annotations": given},
            "spec": {"ports": [{"name": "http", "port": 80}]},
        }
        for namespace, given in annotations.items()
    ]
    return Snapshot(PlanSettings(), [*decode_all([CLUSTER]), *(decode(service) for service in services)])


def test_a_copy_takes_its_developers_requests() -> None:
    plan = plan_service(snapshot_of(shop={}, alice={}), Key("shop", "reviews"))
    assert plan.entries["defaults"].developers == ("alice",)


def test_a_placeholder_is_no_copy() -> None:
    plan = plan_service(snapshot_of(shop={}, alice=PLACEHOLDER), Key("shop", "reviews"))
    assert plan.entries["defaults"].developers == ()


def test_a_placeholder_is_not_routed() -> None:
    plan = plan_service(snapshot_of(shop=PLACEHOLDER, alice={}), Key("shop", "reviews"))
    assert plan.changes == ()
    assert plan.entries["defaults"].reason == "Placeholder"
