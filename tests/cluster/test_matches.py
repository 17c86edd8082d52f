"""How a request names its developer, as it is written for Istio."""

from cluster.world import World, eventually, only, shop_with_alice


def test_baggage_cookie_and_the_callers_namespace_are_written_in_their_order(world: World) -> None:
    shop_with_alice(world, "reviews")
    matches = [
        {"type": "SourceNamespace"},
        {"type": "Cookie", "name": "developer"},
        {"type": "Baggage", "name": "dev.name"},
        {"type": "Header", "name": "x-developer"},
    ]
    world.policy("defaults", "shop", developersFrom=only(world, "alice"), matches=matches)
    world.wait_ready("defaults", "shop")
    copy = [{"destination": {"host": world.host("reviews", "alice")}}]
    assert world.http("reviews", "shop") == [
        {
            "name": "defaults.alice",
            "match": [
                {"headers": {"cookie": {"regex": r"(.*;\s*)?developer=alice(;.*)?"}}},
                {"headers": {"baggage": {"regex": r"(.*,)?\s*dev\.name=alice\s*([,;].*)?"}}},
                {"headers": {"x-developer": {"exact": "alice"}}},
            ],
            "route": copy,
        },
        {"name": "defaults.alice.source", "match": [{"sourceNamespace": world.ns("alice")}], "route": copy},
        {"name": "default", "route": [{"destination": {"host": world.host("reviews", "shop")}}]},
    ]


def test_a_callers_namespace_comes_after_every_explicit_rule(world: World) -> None:
    shop_with_alice(world, "reviews")
    world.namespace("bob", developer="bob")
    world.service("reviews", "bob")
    world.policy(
        "defaults", "shop", priority=5, developersFrom=only(world, "alice"), matches=[{"type": "SourceNamespace"}]
    )
    world.policy("second", "shop", developersFrom=only(world, "bob"))
    eventually(
        "bob's header goes before alice's namespace",
        lambda: world.rules("reviews", "shop") == ["second.bob", "defaults.alice.source", "default"],
    )
