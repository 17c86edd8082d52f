"""Nothing is left behind and nothing is lost while the operator is away. Each test has an API server of its own."""

from pathlib import Path

import pytest

from cluster.conftest import ACCOUNT, FLAGS, PLACEHOLDER_RIGHTS
from cluster.test_placeholders import placeholder, shop_with_placeholders
from cluster.world import World, eventually, shop_with_alice, steadily
from controlplane.server import ControlPlane
from operator_process import OperatorProcess

MARK = {"app.kubernetes.io/managed-by": "virtualservice-operator"}


@pytest.fixture
def own_operator(own_plane: ControlPlane, tmp_path: Path) -> OperatorProcess:
    """Return an operator that the test starts and stops itself."""
    return OperatorProcess(own_plane.kubeconfig_for_service_account(*ACCOUNT), tmp_path, *FLAGS)


@pytest.fixture
def own_world(own_plane: ControlPlane) -> World:
    return World.new(own_plane)


def test_the_last_policy_deleted_while_the_operator_is_down_takes_everything_with_it(
    own_world: World, own_operator: OperatorProcess
) -> None:
    with own_operator:
        shop_with_alice(own_world, "reviews", "ratings")
    own_world.delete_policy("defaults", "shop")
    eventually(
        "Kubernetes' garbage collector has removed both",
        lambda: own_world.written("reviews", "shop") is None and own_world.written("ratings", "shop") is None,
    )


def test_what_was_deleted_while_the_operator_was_down_is_healed_at_start(
    own_world: World, own_operator: OperatorProcess
) -> None:
    with own_operator:
        shop_with_alice(own_world, "reviews", "ratings", "orders")
    own_world.delete_service("reviews", "shop")
    own_world.delete_service("ratings", "alice")
    own_world.delete_virtual_service("orders-virtual-service", "shop")
    own_world.virtual_service("stray", "shop", {"hosts": ["nobody"]}, labels=MARK)
    with own_operator:
        eventually("no Service, no VirtualService", lambda: own_world.written("reviews", "shop") is None)
        eventually("no copy, no route", lambda: own_world.rules("ratings", "shop") == ["default"])
        eventually("written again", lambda: own_world.rules("orders", "shop") == ["defaults.alice", "default"])
        path = f"/apis/networking.istio.io/v1/namespaces/{own_world.ns('shop')}/virtualservices/stray"
        eventually("orphans are found by their label", lambda: own_world.get(path) is None)


def test_an_orphan_is_left_alone_where_its_owner_says_so(own_world: World, own_operator: OperatorProcess) -> None:
    own_world.namespace("shop")
    kept = {"virtualservice-operator.dev/managed": "false"}
    own_world.virtual_service("kept", "shop", {"hosts": ["nobody"]}, labels=MARK, annotations=kept)
    path = f"/apis/networking.istio.io/v1/namespaces/{own_world.ns('shop')}/virtualservices/kept"
    with own_operator:
        eventually("released", lambda: not (own_world.get(path) or {})["metadata"].get("labels"))
        steadily("and there", lambda: own_world.get(path) is not None, 1)


def test_a_kill_in_the_middle_is_healed_by_the_next_start(own_world: World, own_operator: OperatorProcess) -> None:
    own_world.namespace("shop")
    for number in range(60):
        own_world.service(f"s{number}", "shop")
    own_operator.start()
    own_operator.wait_ready()
    own_world.policy("p", "shop")
    eventually("it has begun", lambda: own_world.written("s0", "shop") or own_world.written("s59", "shop"))
    own_operator.kill()
    with own_operator:
        own_world.wait_ready("p", "shop")
        assert own_world.status("p", "shop")["servicesReady"] == "60/60"


def test_no_object_ever_gets_a_finalizer_or_a_mark_from_the_framework(
    own_world: World, own_operator: OperatorProcess
) -> None:
    with own_operator:
        shop_with_alice(own_world, "reviews")
        policy = own_world.stored_policy("defaults", "shop")
        written = own_world.written("reviews", "shop")
    assert written is not None
    for item in (policy, written):
        assert "finalizers" not in item["metadata"]
    assert "annotations" not in policy["metadata"]


def test_after_a_restart_it_is_remembered_that_alice_had_a_copy(
    own_world: World, own_operator: OperatorProcess
) -> None:
    own_world.plane.kubectl("apply", "-f", PLACEHOLDER_RIGHTS)
    with own_operator:
        shop_with_placeholders(own_world, mode="NoEndpoints")
    own_world.delete_service("reviews", "alice")
    with own_operator:
        eventually("a placeholder", lambda: placeholder(own_world))
        assert own_world.rules("reviews", "shop") == ["defaults.alice", "default"]
    with own_operator:
        own_world.wait_ready("defaults", "shop")
        steadily("it stays", lambda: placeholder(own_world) is not None, 1)
