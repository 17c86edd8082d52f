"""Blocks: what holds for a Service, whole from the first policy that sets it."""

from cluster.world import World, eventually, only, shop_with_alice, steadily


def test_a_missing_copy_is_rejected_and_routed_as_soon_as_it_is_there(world: World) -> None:
    shop_with_alice(world, "reviews")
    world.delete_service("reviews", "alice")
    strict = {
        "whenMissing": "Reject",
        "reject": {"status": 404, "body": "{{ DeveloperName }} has no {{ ServiceName }}"},
    }
    world.policy("defaults", "shop", developersFrom=only(world, "alice"), copies=strict)
    world.wait_ready("defaults", "shop")
    assert world.http("reviews", "shop")[0] == {
        "name": "defaults.alice.reject",
        "match": [{"headers": {"x-developer": {"exact": "alice"}}}],
        "directResponse": {"status": 404, "body": {"string": "alice has no reviews"}},
    }
    world.service("reviews", "alice")
    eventually("routed", lambda: world.rules("reviews", "shop") == ["defaults.alice", "default"])


def test_unknown_developers_are_rejected_and_known_ones_are_not(world: World) -> None:
    shop_with_alice(world, "reviews", "ratings")
    world.delete_service("ratings", "alice")
    world.policy("defaults", "shop", developersFrom=only(world, "alice"), copies={"unknownDeveloper": "Reject"})
    world.wait_ready("defaults", "shop")
    assert world.rules("reviews", "shop") == ["defaults.alice", "unknown-developer", "default"]
    assert world.rules("ratings", "shop") == ["defaults.alice", "unknown-developer", "default"]
    assert world.destination("ratings", "shop", "defaults.alice") == world.host("ratings", "shop")


def test_a_specific_policy_changes_only_the_blocks_it_names(world: World) -> None:
    shop_with_alice(world, "reviews", "payments")
    everywhere = {"developersFrom": only(world, "alice")}
    world.policy("defaults", "shop", **everywhere, routedToHeader="x-routed-to", developerRoute={"timeout": "5s"})
    world.policy("slow", "shop", services={"names": ["payments"]}, developers=[], developerRoute={"timeout": "60s"})
    world.wait_ready("defaults", "shop")
    world.wait_ready("slow", "shop")
    timeouts = {service: world.http(service, "shop")[0]["timeout"] for service in ("reviews", "payments")}
    assert timeouts == {"reviews": "5s", "payments": "60s"}
    receipt = {"response": {"set": {"x-routed-to": f"{world.ns('alice')}/payments"}}}
    assert world.http("payments", "shop")[0]["headers"] == receipt


def test_only_routed_services_get_a_virtual_service(world: World) -> None:
    shop_with_alice(world, "reviews")
    world.service("lonely", "shop")
    world.policy(
        "defaults", "shop", developersFrom=only(world, "alice"), virtualServiceFor="RoutedServices", exportTo=["."]
    )
    world.wait_ready("defaults", "shop")
    assert world.written("lonely", "shop") is None
    assert world.entry("defaults", "shop", "lonely")["reason"] == "NothingToRoute"
    assert (world.written("reviews", "shop") or {})["spec"]["exportTo"] == ["."]
    world.service("lonely", "alice")
    eventually("routed", lambda: world.rules("lonely", "shop") == ["defaults.alice", "default"])


def test_keep_writes_beside_a_younger_one_and_names_it(world: World) -> None:
    shop_with_alice(world, "reviews")
    world.policy("defaults", "shop", developersFrom=only(world, "alice"), foreignVirtualServices="Keep")
    world.wait_ready("defaults", "shop")
    world.virtual_service(
        "by-hand", "shop", {"hosts": ["reviews"], "http": [{"route": [{"destination": {"host": "reviews"}}]}]}
    )
    entry = eventually("named", lambda: (found := world.entry("defaults", "shop", "reviews")).get("message") and found)
    assert entry["state"] in ("Programmed", "Failed")  # within one second their names decide the rank
    assert f"{world.ns('shop')}/by-hand" in entry["message"]
    steadily("ours stays", lambda: world.rules("reviews", "shop") == ["defaults.alice", "default"], 1)


def test_keep_does_not_write_beside_an_older_one(world: World) -> None:
    world.namespace("shop")
    world.service("reviews", "shop")
    world.virtual_service(
        "by-hand", "shop", {"hosts": ["reviews"], "http": [{"route": [{"destination": {"host": "reviews"}}]}]}
    )
    world.policy("p", "shop", developersFrom=only(world), foreignVirtualServices="Keep")
    world.wait_condition("p", "shop", "Programmed", ("False", "HostConflict"))
    assert world.written("reviews", "shop") is None
