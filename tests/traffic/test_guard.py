"""The guard: where an Envoy goes on by an old configuration, the rig says so instead of taking its answers for true."""

from __future__ import annotations

import subprocess

import pytest

from mesh.errors import StaleConfigurationError
from mesh.requests import Request
from mesh.rig import Rig
from traffic.conftest import FRESH, stand
from traffic.objects import developers, namespaces, policy, service

SHOP = (
    *namespaces("shop", "alice"),
    service("reviews", "shop"),
    service("reviews", "alice"),
    policy("defaults", developers=developers("alice")),
)
TO_ALICE = Request("shop", "reviews.shop", headers={"x-developer": "alice"})
pytestmark = pytest.mark.parametrize("rig", [FRESH], indirect=True, scope="session", ids=["fresh"])


def test_a_change_that_does_not_reach_envoy_is_stale(rig: Rig) -> None:
    """The answer of before is still given, and would be taken for the right one if nobody looked."""
    stand(rig, SHOP)
    hold_back("--append")
    try:
        rig.apply([policy("defaults", developers=developers("bob"))])
        with pytest.raises(StaleConfigurationError, match="does not have the cluster's present configuration"):
            rig.settle(seconds=6)
        assert rig.ask(TO_ALICE).who == "reviews.alice"
    finally:
        hold_back("--delete")
    rig.settle(seconds=60)  # Envoy waits longer after each time that it could not connect
    assert rig.ask(TO_ALICE).who == "reviews.shop"


def hold_back(change: str) -> None:
    """Have the node drop what istiod sends to Envoys; or no more."""
    rule = ("OUTPUT", "--protocol", "tcp", "--sport", "15010", "--jump", "DROP")
    subprocess.run(["iptables", "--wait", change, *rule], check=True, timeout=30)


def test_an_update_that_envoy_refuses_is_stale(rig: Rig) -> None:
    """Upstream Envoy lacks filters that Istio's has; it refuses the whole update, and the old routes go on answering."""
    stand(rig, SHOP)
    assert rig.ask(TO_ALICE).who == "reviews.alice"
    rig.apply([unknown_filter()])
    with pytest.raises(StaleConfigurationError, match=r"refused an update(?s:.*)no\.such\.filter"):
        rig.settle(seconds=20)
    with pytest.raises(StaleConfigurationError, match="answers by the old configuration"):
        rig.ask(TO_ALICE)


def unknown_filter() -> dict[str, object]:
    """Return an EnvoyFilter that puts a filter which Envoy does not know before the router."""
    value = {
        "name": "no.such.filter",
        "typed_config": {"@type": "type.googleapis.com/udpa.type.v1.TypedStruct", "type_url": "no.such.filter"},
    }
    patch = {
        "applyTo": "HTTP_FILTER",
        "match": {
            "context": "SIDECAR_OUTBOUND",
            "listener": {"filterChain": {"filter": {"name": "envoy.filters.network.http_connection_manager"}}},
        },
        "patch": {"operation": "INSERT_BEFORE", "value": value},
    }
    metadata = {"name": "unknown", "namespace": "istio-system"}
    return {"kind": "EnvoyFilter", "metadata": metadata, "spec": {"configPatches": [patch]}}
