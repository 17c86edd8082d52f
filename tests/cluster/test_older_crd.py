"""The operator is newer than the CRD of its cluster: what the CRD lets pass is said of the policy, and harms nothing."""

from pathlib import Path
from typing import Any

import pytest

from cluster.conftest import ACCOUNT, FLAGS
from cluster.world import World, eventually, only, shop_with_alice, steadily
from controlplane.server import ControlPlane
from operator_process import OperatorProcess

CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/routingpolicies.virtualservice-operator.dev"
LATER = {"x-kubernetes-validations", "pattern"}


def without_rules(schema: Any) -> Any:
    """Return a schema as it was before it had rules and patterns."""
    if isinstance(schema, list):
        return [without_rules(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: without_rules(value) for key, value in schema.items() if key not in LATER}


@pytest.fixture
def world(own_plane: ControlPlane) -> World:
    own_plane.request("PUT", CRD, without_rules(own_plane.request("GET", CRD)))
    return World.new(own_plane)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("defaultRoute", {"timeout": "0s"}, "spec.defaultRoute.timeout: '0s': must be 1ms or more"),
        ("exportTo", ["*", "web"], "spec.exportTo: '*' stands for all namespaces: write it alone"),
        (
            "matches",
            [{"type": "Header", "name": "X-Dev"}],
            "spec.matches[0].name: 'X-Dev': header names are lower case: write x-dev",
        ),
    ],
    ids=["of a field", "of a list", "of an object"],
)
def test_a_policy_that_an_older_crd_let_pass_is_not_accepted_and_freezes(
    own_plane: ControlPlane, world: World, tmp_path: Path, field: str, value: Any, message: str
) -> None:
    kubeconfig = own_plane.kubeconfig_for_service_account(*ACCOUNT)
    with OperatorProcess(kubeconfig, tmp_path, *FLAGS) as process:
        shop_with_alice(world, "reviews")
        world.policy("defaults", "shop", developersFrom=only(world, "alice"), **{field: value})
        eventually("refused", lambda: world.condition("defaults", "shop", "Accepted") == ("False", "InvalidSpec"))
        assert message in world.message("defaults", "shop", "Accepted")
        world.delete_service("reviews", "alice")
        steadily("what stood stays", lambda: world.rules("reviews", "shop") == ["defaults.alice", "default"], 1)
        assert "bug:" not in process.log.read_text()
