"""A namespace appears, gets and loses a label, is deleted."""

from cluster.world import World, eventually, only, shop_with_alice


def test_a_label_adds_a_developer_and_its_removal_takes_them_away(world: World) -> None:
    shop_with_alice(world, "reviews")
    world.namespace("bob")
    world.service("reviews", "bob")
    world.policy("defaults", "shop", developersFrom=only(world, "alice", "bob") | {"stripPrefix": f"{world.prefix}-"})
    world.wait_ready("defaults", "shop")
    assert world.rules("reviews", "shop") == ["defaults.alice", "defaults.bob", "default"]
    world.label("bob", developer="robert")
    eventually("renamed", lambda: "defaults.robert" in world.rules("reviews", "shop"))
    world.label("bob", developer=None)
    eventually("the namespace's name again", lambda: "defaults.bob" in world.rules("reviews", "shop"))


def test_the_smallest_policy_follows_the_label(world: World) -> None:
    world.namespace("shop")
    world.namespace("zoe")
    world.service("only-here", "shop")
    world.service("only-here", "zoe")
    world.policy("defaults", "shop")
    world.wait_ready("defaults", "shop")
    assert world.rules("only-here", "shop") == ["default"]
    world.label("zoe", developer="zoe")
    eventually("labelled", lambda: world.rules("only-here", "shop") == ["defaults.zoe", "default"])
    world.label("zoe", developer=None)
    eventually("unlabelled", lambda: world.rules("only-here", "shop") == ["default"])


def test_a_missing_namespace_costs_its_developer_only(world: World) -> None:
    world.namespace("shop")
    world.namespace("alice")
    world.service("api", "shop")
    world.service("api", "alice")
    developers = [{"name": name, "namespaces": [world.ns(name)]} for name in ("alice", "bob")]
    world.policy("p", "shop", developers=developers)
    world.wait_ready("p", "shop")
    assert world.rules("api", "shop") == ["p.alice", "default"]
    assert world.condition("p", "shop", "ResolvedRefs") == ("False", "NamespaceNotFound")
    assert f"there is no namespace {world.ns('bob')}" in world.message("p", "shop", "ResolvedRefs")
    world.namespace("bob")
    world.service("api", "bob")
    eventually("bob is routed", lambda: world.rules("api", "shop") == ["p.alice", "p.bob", "default"])
    eventually("and found", lambda: world.condition("p", "shop", "ResolvedRefs") == ("True", "ResolvedRefs"))


def test_a_deleted_namespace_takes_its_routes_with_it(world: World) -> None:
    shop_with_alice(world, "reviews")
    world.delete_namespace("alice")
    eventually("no route", lambda: world.rules("reviews", "shop") == ["default"])
    eventually("no developer", lambda: world.status("defaults", "shop")["developers"] == 0)


def test_a_deleted_policy_namespace_is_left_empty_without_complaint(world: World) -> None:
    shop_with_alice(world, "reviews", "ratings")
    world.delete_namespace("shop")
    eventually("the namespace is gone", lambda: world.get(f"/api/v1/namespaces/{world.ns('shop')}") is None)


def test_a_prefix_without_its_dash_costs_that_developer_only(world: World) -> None:
    world.namespace("shop")
    world.service("api", "shop")
    for name in ("bob", "carol"):
        world.namespace(name)
        world.service("api", name)
    world.label("carol", developer="carol")
    world.policy("p", "shop", developersFrom=only(world, "bob", "carol") | {"stripPrefix": world.prefix})
    world.wait_ready("p", "shop")
    world.wait_condition("p", "shop", "ResolvedRefs", ("False", "NamespaceNotAllowed"))
    assert world.rules("api", "shop") == ["p.carol", "default"]
    assert world.message("p", "shop", "ResolvedRefs").endswith(f"write stripPrefix: {world.prefix}-")
