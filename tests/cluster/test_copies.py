"""A developer's copy appears, changes, is deleted; whose copy it is; where no copy is."""

from cluster.world import COPY_OF, World, eventually, only, shop_with_alice


def test_a_copy_that_comes_and_goes_moves_the_route(world: World) -> None:
    shop_with_alice(world, "reviews")
    assert world.destination("reviews", "shop", "defaults.alice") == world.host("reviews", "alice")
    world.delete_service("reviews", "alice")
    eventually("requests fall back", lambda: world.rules("reviews", "shop") == ["default"])
    world.service("reviews", "alice")
    eventually("the route is back", lambda: world.rules("reviews", "shop") == ["defaults.alice", "default"])


def test_a_renumbered_copy_is_followed(world: World) -> None:
    shop_with_alice(world, "reviews")
    world.service("reviews", "alice", ("http", 8080))
    eventually(
        "the port is written",
        lambda: (
            world.http("reviews", "shop")[0]
            == {
                "name": "defaults.alice",
                "match": [{"port": 80, "headers": {"x-developer": {"exact": "alice"}}}],
                "route": [{"destination": {"host": world.host("reviews", "alice"), "port": {"number": 8080}}}],
            }
        ),
    )


def test_a_copy_without_a_port_is_said_so(world: World) -> None:
    shop_with_alice(world, "reviews")
    world.service("reviews", "alice", ("web", 9999))
    eventually("the route is taken away", lambda: world.rules("reviews", "shop") == ["default"])
    eventually("and named", lambda: world.condition("defaults", "shop", "ResolvedRefs") == ("False", "PortMismatch"))
    assert world.condition("defaults", "shop", "Ready") == ("True", "PartiallyProgrammed")


def test_requests_fall_through_the_namespaces_in_order(world: World) -> None:
    for name in ("shop", "alice", "team"):
        world.namespace(name)
    world.service("api", "shop")
    world.service("api", "team")
    world.policy("p", "shop", developers=[{"name": "alice", "namespaces": [world.ns("alice"), world.ns("team")]}])
    world.wait_ready("p", "shop")
    assert world.destination("api", "shop", "p.alice") == world.host("api", "team")
    world.service("api", "alice")
    eventually("mine", lambda: world.destination("api", "shop", "p.alice") == world.host("api", "alice"))
    world.delete_service("api", "alice")
    eventually("my team's", lambda: world.destination("api", "shop", "p.alice") == world.host("api", "team"))
    world.delete_service("api", "team")
    eventually("the default", lambda: world.rules("api", "shop") == ["default"])


def test_an_annotation_makes_a_service_of_another_name_the_copy(world: World) -> None:
    shop_with_alice(world, "reviews")
    world.service("reviews-v2", "alice", annotations={COPY_OF: f"{world.ns('shop')}/reviews"})
    eventually(
        "the annotated one",
        lambda: world.destination("reviews", "shop", "defaults.alice") == world.host("reviews-v2", "alice"),
    )
    world.delete_service("reviews-v2", "alice")
    eventually(
        "the namesake again",
        lambda: world.destination("reviews", "shop", "defaults.alice") == world.host("reviews", "alice"),
    )


def test_an_ignored_copy_is_no_copy(world: World) -> None:
    shop_with_alice(world, "reviews")
    world.service("reviews", "alice", annotations={"virtualservice-operator.dev/ignore": "true"})
    eventually("no route", lambda: world.rules("reviews", "shop") == ["default"])


def test_an_ambiguous_copy_gets_no_route_until_an_annotation_decides(world: World) -> None:
    for name in ("shop", "checkout", "alice"):
        world.namespace(name)
    world.label("alice", developer="alice")
    for name in ("shop", "checkout", "alice"):
        world.service("api", name)
    world.policy("p", "shop", developersFrom=only(world, "alice"))
    world.policy("p", "checkout", developersFrom=only(world, "alice"))
    for name in ("shop", "checkout"):
        world.wait_condition("p", name, "ResolvedRefs", ("False", "AmbiguousCopy"))
        assert world.rules("api", name) == ["default"]
    remedy = f"kubectl annotate service api -n {world.ns('alice')} {COPY_OF}={world.ns('shop')}/api"
    assert remedy in world.message("p", "shop", "ResolvedRefs")
    world.service("api", "alice", annotations={COPY_OF: f"{world.ns('shop')}/api"})
    eventually("shop is routed", lambda: world.rules("api", "shop") == ["p.alice", "default"])
    eventually(
        "both are content",
        lambda: (
            {world.condition("p", name, "ResolvedRefs") for name in ("shop", "checkout")} == {("True", "ResolvedRefs")}
        ),
    )
    assert world.rules("api", "checkout") == ["default"]
