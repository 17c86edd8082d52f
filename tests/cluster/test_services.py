"""A Service of the policy's namespace appears, changes, is deleted; and the ones that are never routed."""

import pytest

from cluster.world import World, eventually, only, shop_with_alice, steadily


def test_a_new_service_gets_its_virtual_service(world: World) -> None:
    shop_with_alice(world, "reviews")
    world.service("ratings", "shop")
    written = eventually("ratings is written", lambda: world.written("ratings", "shop"))
    assert written["spec"] == {
        "hosts": [world.host("ratings", "shop")],
        "http": [{"name": "default", "route": [{"destination": {"host": world.host("ratings", "shop")}}]}],
    }
    assert written["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "virtualservice-operator",
        "virtualservice-operator.dev/service": "ratings",
    }
    assert written["metadata"]["annotations"] == {"virtualservice-operator.dev/policies": "defaults"}


def test_update_of_a_service_in_the_default_namespace(world: World) -> None:
    shop_with_alice(world, "orders")
    world.service("orders", "shop", ("http", 80), ("grpc", 9090))
    rules = ["defaults.alice.http", "default.http", "default.grpc"]
    eventually("each port has a catch-all", lambda: world.rules("orders", "shop") == rules)
    world.service("orders", "alice", ("http", 8080), ("grpc", 9090))
    eventually("alice's grpc is routed too", lambda: "defaults.alice.grpc" in world.rules("orders", "shop"))
    ports = {rule["name"]: rule["route"][0]["destination"]["port"]["number"] for rule in world.http("orders", "shop")}
    assert ports == {
        "defaults.alice.grpc": 9090,
        "defaults.alice.http": 8080,
        "default.http": 80,
        "default.grpc": 9090,
    }


def test_a_deleted_service_takes_its_virtual_service_with_it(world: World) -> None:
    shop_with_alice(world, "reviews", "ratings")
    world.delete_service("ratings", "shop")
    eventually("it is gone", lambda: world.written("ratings", "shop") is None)
    assert world.rules("reviews", "shop") == ["defaults.alice", "default"]


def test_a_service_that_is_deleted_and_made_again_at_once_is_routed(world: World) -> None:
    shop_with_alice(world, "reviews")
    for _ in range(10):
        world.delete_service("reviews", "shop")
        world.service("reviews", "shop")
    eventually("it is routed", lambda: world.rules("reviews", "shop") == ["defaults.alice", "default"])
    steadily("it stays", lambda: world.rules("reviews", "shop") == ["defaults.alice", "default"], 1)


@pytest.mark.parametrize(
    ("reason", "ports", "spec", "annotations", "labels"),
    [
        ("ExternalName", (("http", 80),), {"type": "ExternalName", "externalName": "example.com"}, {}, {}),
        ("Headless", (("http", 80),), {"clusterIP": "None"}, {}, {}),
        ("NoHTTPPort", (("tcp", 6379),), {}, {}, {}),
        ("Ignored", (("http", 80),), {}, {"virtualservice-operator.dev/ignore": "true"}, {}),
        ("Gateway", (("http", 80),), {}, {}, {"gateway.networking.k8s.io/gateway-name": "public"}),
    ],
    ids=["ExternalName", "Headless", "NoHTTPPort", "Ignored", "Gateway"],
)
def test_a_service_is_skipped_with_its_reason(
    world: World,
    reason: str,
    ports: tuple[tuple[str, int], ...],
    spec: dict[str, str],
    annotations: dict[str, str],
    labels: dict[str, str],
) -> None:
    world.namespace("shop")
    world.service("odd", "shop", *ports, annotations=annotations, labels=labels, **spec)
    world.policy("defaults", "shop", developersFrom=only(world))
    world.wait_ready("defaults", "shop")
    entry = eventually("the entry is there", lambda: world.entry("defaults", "shop", "odd"))
    assert (entry["state"], entry["reason"]) == ("Skipped", reason)
    assert world.written("odd", "shop") is None


def test_a_service_that_becomes_ignored_loses_its_virtual_service(world: World) -> None:
    shop_with_alice(world, "reviews")
    world.service("reviews", "shop", annotations={"virtualservice-operator.dev/ignore": "true"})
    eventually("it is withdrawn", lambda: world.written("reviews", "shop") is None)
    world.service("reviews", "shop")
    eventually("it is back", lambda: world.rules("reviews", "shop") == ["defaults.alice", "default"])
