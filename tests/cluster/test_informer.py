"""The network breaks for real: what happened meanwhile is found, Services and policies alike."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.conftest import ACCOUNT, FLAGS
from cluster.world import World, eventually, shop_with_alice
from controlplane.cutter import Cutter
from controlplane.server import ControlPlane
from operator_process import OperatorProcess


@pytest.fixture
def wire(own_plane: ControlPlane) -> Iterator[Cutter]:
    """The only way from the operator to the API server."""
    with Cutter(own_plane.port) as cutter:
        yield cutter


@pytest.fixture
def own_world(own_plane: ControlPlane, wire: Cutter, tmp_path: Path) -> Iterator[World]:
    kubeconfig = own_plane.kubeconfig_for_service_account(*ACCOUNT)
    with OperatorProcess(own_plane.kubeconfig_through(wire.port, kubeconfig), tmp_path, *FLAGS):
        yield World.new(own_plane)


def test_a_watch_that_is_cut_goes_on_where_it_was(own_world: World, wire: Cutter) -> None:
    shop_with_alice(own_world, "reviews", "ratings")
    wire.cut()
    own_world.delete_service("reviews", "alice")
    eventually("the deletion is seen", lambda: own_world.rules("reviews", "shop") == ["default"])
    assert own_world.rules("ratings", "shop") == ["defaults.alice", "default"]


def test_deletions_missed_while_the_network_was_away_are_found(own_world: World, wire: Cutter) -> None:
    shop_with_alice(own_world, "reviews", "ratings")
    wire.refuse()
    wire.cut()
    own_world.delete_service("reviews", "alice")
    own_world.delete_service("ratings", "shop")
    wire.accept()
    eventually("the copy's", lambda: own_world.rules("reviews", "shop") == ["default"])
    eventually("the Service's", lambda: own_world.written("ratings", "shop") is None)


def test_deletions_are_found_after_a_410(own_plane: ControlPlane, own_world: World, wire: Cutter) -> None:
    shop_with_alice(own_world, "reviews", "ratings")
    wire.refuse()
    wire.cut()
    own_world.delete_service("reviews", "alice")
    own_world.delete_service("ratings", "shop")
    own_world.label("alice", developer=None)
    # The history before now is gone, from etcd and from the API server's memory: the old watch meets 410.
    own_plane.kill_api_server()
    own_plane.compact()
    own_plane.start_api_server()
    wire.accept()
    eventually("the copy's", lambda: own_world.rules("reviews", "shop") == ["default"])
    eventually("the Service's", lambda: own_world.written("ratings", "shop") is None)


def test_a_policy_deleted_while_the_network_was_away_is_found(own_world: World, wire: Cutter) -> None:
    """kopf reports no deletion that its watch has missed; the list beside it does."""
    shop_with_alice(own_world, "reviews")
    # A second owner that stays, so that the garbage collector does not do the operator's work.
    own_world.policy("other", "shop", developers=[{"name": "nobody", "namespaces": [own_world.ns("alice")]}])
    own_world.wait_ready("other", "shop")
    wire.refuse()
    wire.cut()
    own_world.delete_policy("defaults", "shop")
    wire.accept()
    eventually("its route is gone", lambda: own_world.rules("reviews", "shop") == ["other.nobody", "default"])


def test_policies_are_followed_again_after_the_network_was_away(own_world: World, wire: Cutter) -> None:
    shop_with_alice(own_world, "reviews")
    wire.refuse()
    wire.cut()
    wire.accept()
    own_world.policy("defaults", "shop", services={"names": ["nothing"]})
    eventually("the edit is seen", lambda: own_world.written("reviews", "shop") is None)


def test_a_frozen_connection_is_noticed(own_world: World, wire: Cutter) -> None:
    """Nothing closes, nothing answers: a write gives up after 30 s, and goes through when the network is back."""
    shop_with_alice(own_world, "reviews")
    wire.freeze()
    own_world.delete_service("reviews", "alice")
    wire.cut()
    wire.thaw()
    eventually("the deletion is seen", lambda: own_world.rules("reviews", "shop") == ["default"])
