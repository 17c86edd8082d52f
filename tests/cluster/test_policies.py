"""A policy appears, is edited, is deleted, is not accepted; two policies for one Service."""

import time

from cluster.world import World, eventually, only, shop_with_alice, steadily


def test_a_configuration_change_is_written(world: World) -> None:
    shop_with_alice(world, "reviews")
    matches = [
        {"type": "Header", "name": "x-developer"},
        {"type": "Header", "name": "x-branch", "matchType": "Prefix", "value": "{{ DeveloperName }}-"},
        {"type": "Header", "name": "x-mail", "matchType": "Regex", "value": "{{ DeveloperName }}@.*"},
    ]
    world.policy("defaults", "shop", developersFrom=only(world, "alice"), matches=matches)
    world.wait_ready("defaults", "shop")
    assert [rule.get("match") for rule in world.http("reviews", "shop")] == [
        [{"headers": {"x-developer": {"exact": "alice"}}}],
        [{"headers": {"x-branch": {"prefix": "alice-"}}}],
        [{"headers": {"x-mail": {"regex": "alice@.*"}}}],
        None,
    ]


def test_a_narrowed_selection_withdraws_what_it_no_longer_governs(world: World) -> None:
    shop_with_alice(world, "reviews", "ratings")
    world.policy("defaults", "shop", developersFrom=only(world, "alice"), services={"excludedNames": ["ratings"]})
    eventually("ratings is withdrawn", lambda: world.written("ratings", "shop") is None)
    world.wait_ready("defaults", "shop")
    assert world.status("defaults", "shop")["servicesReady"] == "1/1"


def test_a_deleted_policy_takes_its_virtual_services_with_it(world: World) -> None:
    shop_with_alice(world, "reviews", "ratings")
    world.delete_policy("defaults", "shop")
    eventually(
        "both are gone", lambda: world.written("reviews", "shop") is None and world.written("ratings", "shop") is None
    )


def test_a_policy_that_selects_nothing_is_ready(world: World) -> None:
    world.namespace("shop")
    world.policy("p", "shop", services={"names": ["nobody"]})
    eventually("it says so", lambda: world.condition("p", "shop", "Ready") == ("True", "NoMatchingServices"))
    assert "no Service named nobody" in world.message("p", "shop", "Ready")


def test_the_higher_priority_takes_the_route_and_the_loser_names_it(world: World) -> None:
    shop_with_alice(world, "payments", "reviews")
    world.namespace("qa")
    world.service("payments", "qa")
    world.policy(
        "strict",
        "shop",
        priority=10,
        services={"names": ["payments"]},
        developers=[{"name": "alice", "namespaces": [world.ns("qa")]}],
    )
    world.wait_ready("strict", "shop")
    assert world.rules("payments", "shop") == ["strict.alice", "default"]
    assert world.destination("payments", "shop", "strict.alice") == world.host("payments", "qa")
    eventually(
        "the loser says so",
        lambda: world.condition("defaults", "shop", "Programmed") == ("True", "PartiallyProgrammed"),
    )
    entry = world.entry("defaults", "shop", "payments")
    assert (entry["state"], entry["reason"]) == ("Overridden", "RouteOverridden")
    assert entry["message"] == "x-developer=alice: strict wins by priority 10 over 0"
    assert world.condition("defaults", "shop", "Ready") == ("True", "PartiallyProgrammed")
    assert world.condition("defaults", "shop", "Conflicted") is None
    written = world.written("payments", "shop")
    assert written is not None
    assert written["metadata"]["annotations"]["virtualservice-operator.dev/policies"] == "strict,defaults"
    assert [owner["name"] for owner in written["metadata"]["ownerReferences"]] == ["strict", "defaults"]


def test_routes_of_two_policies_are_united(world: World) -> None:
    shop_with_alice(world, "reviews")
    world.namespace("bob")
    world.service("reviews", "bob")
    world.policy("second", "shop", developers=[{"name": "bob", "namespaces": [world.ns("bob")]}])
    world.wait_ready("second", "shop")
    assert world.rules("reviews", "shop") == ["defaults.alice", "second.bob", "default"]
    world.delete_policy("second", "shop")
    eventually("bob's is gone", lambda: world.rules("reviews", "shop") == ["defaults.alice", "default"])


def test_only_a_tie_is_a_conflict_and_both_say_so(world: World) -> None:
    shop_with_alice(world, "reviews")
    world.namespace("qa")
    world.service("reviews", "qa")
    world.policy("second", "shop", developers=[{"name": "alice", "namespaces": [world.ns("qa")]}])
    for policy in ("defaults", "second"):
        world.wait_condition(policy, "shop", "Conflicted", ("True", "RouteTie"))
    assert world.destination("reviews", "shop", "defaults.alice") == world.host("reviews", "alice")
    assert "give one of them a higher priority" in world.message("second", "shop", "Conflicted")
    world.policy("second", "shop", priority=1, developers=[{"name": "alice", "namespaces": [world.ns("qa")]}])
    eventually(
        "the conflict is over",
        lambda: not any(world.condition(policy, "shop", "Conflicted") for policy in ("defaults", "second")),
    )


BAD = [{"type": "Header", "name": "x-developer", "matchType": "Regex", "value": "(?=x){{ DeveloperName }}"}]


def test_a_bad_configuration_freezes_and_mending_goes_on(world: World) -> None:
    shop_with_alice(world, "reviews", "ratings")
    world.policy("defaults", "shop", developersFrom=only(world, "alice"), matches=BAD)
    eventually("refused", lambda: world.condition("defaults", "shop", "Accepted") == ("False", "InvalidSpec"))
    message = world.message("defaults", "shop", "Accepted")
    assert "spec.matches[0].value: '(?=x){{ DeveloperName }}' is not an RE2 regular expression" in message
    assert world.condition("defaults", "shop", "Stalled") == ("True", "InvalidSpec")
    assert world.condition("defaults", "shop", "Ready") == ("False", "InvalidSpec")
    world.delete_service("reviews", "alice")
    steadily("what stood stays", lambda: world.rules("reviews", "shop") == ["defaults.alice", "default"], 1.5)
    eventually(
        "its entries say so", lambda: world.entry("defaults", "shop", "reviews").get("reason") == "PolicyNotAccepted"
    )
    world.policy("defaults", "shop", developersFrom=only(world, "alice"))
    world.wait_ready("defaults", "shop")
    assert world.rules("reviews", "shop") == ["default"]
    assert world.rules("ratings", "shop") == ["defaults.alice", "default"]


def test_a_policy_that_never_was_accepted_freezes_nothing(world: World) -> None:
    shop_with_alice(world, "reviews")
    world.policy("bad", "shop", matches=BAD, priority=100)
    eventually("refused", lambda: world.condition("bad", "shop", "Accepted") == ("False", "InvalidSpec"))
    world.delete_service("reviews", "alice")
    eventually("the others go on", lambda: world.rules("reviews", "shop") == ["default"])
    assert world.condition("defaults", "shop", "Ready") == ("True", "Programmed")


def test_a_frozen_virtual_service_is_frozen_for_every_policy(world: World) -> None:
    shop_with_alice(world, "reviews")
    world.policy("other", "shop", services={"names": ["reviews"]}, developersFrom=only(world, "alice"))
    world.wait_ready("other", "shop")
    world.policy("other", "shop", services={"names": ["reviews"]}, matches=BAD)
    eventually("named", lambda: world.condition("defaults", "shop", "Programmed") == ("False", "Frozen"))
    assert "until policy other is accepted" in world.message("defaults", "shop", "Programmed")
    world.delete_policy("other", "shop")
    eventually("thawed", lambda: world.condition("defaults", "shop", "Ready") == ("True", "Programmed"))


def test_a_policy_in_a_denied_namespace_is_not_accepted(world: World) -> None:
    path = "/apis/virtualservice-operator.dev/v1alpha1/namespaces/kube-system/routingpolicies"
    policy = {
        "apiVersion": "virtualservice-operator.dev/v1alpha1",
        "kind": "RoutingPolicy",
        "metadata": {"name": world.prefix},
        "spec": {},
    }
    world.plane.request("POST", path, policy)

    def accepted() -> list[str]:
        conditions = (world.get(f"{path}/{world.prefix}") or {})["status"]["conditions"]
        return [item["reason"] for item in conditions if item["type"] == "Accepted" and item["status"] == "False"]

    assert eventually("refused", accepted) == ["NamespaceNotAllowed"]
    world.plane.request("DELETE", f"{path}/{world.prefix}")


def test_a_developers_namespace_that_is_denied_costs_that_developer_only(world: World) -> None:
    shop_with_alice(world, "reviews")
    developers = [
        {"name": "alice", "namespaces": [world.ns("alice")]},
        {"name": "root", "namespaces": ["kube-system"]},
        {"name": "self", "namespaces": [world.ns("shop")]},
    ]
    world.policy("defaults", "shop", developers=developers)
    world.wait_ready("defaults", "shop")
    assert world.condition("defaults", "shop", "ResolvedRefs") == ("False", "NamespaceNotAllowed")
    message = world.message("defaults", "shop", "ResolvedRefs")
    assert "developer root: kube-system is a system namespace" in message
    assert "is the policy's own namespace" in message
    assert world.rules("reviews", "shop") == ["defaults.alice", "default"]


def test_a_policy_made_anew_within_its_grace_loses_no_route(world: World) -> None:
    shop_with_alice(world, "reviews")
    before = world.written("reviews", "shop")
    assert before is not None
    world.delete_policy("defaults", "shop")
    world.policy("defaults", "shop", developersFrom=only(world, "alice"))
    world.wait_ready("defaults", "shop")
    after = world.written("reviews", "shop")
    assert after is not None
    assert after["spec"] == before["spec"]
    time.sleep(0.5)  # past the grace
    assert world.rules("reviews", "shop") == ["defaults.alice", "default"]
