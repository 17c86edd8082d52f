from typing import Any

import pytest

from builders import (
    developers,
    entry,
    namespaces,
    plan,
    policy,
    routes,
    rules,
    service,
    snapshot,
    written,
)
from virtualservice_operator.core.objects import ClusterObject, Service
from virtualservice_operator.core.resolution import PlanSettings
from virtualservice_operator.core.snapshot import Snapshot

ALICE_AND_BOB = {"developers": developers("alice", "bob")}


def given(*objects: ClusterObject) -> Snapshot:
    """Return a cluster where shop has reviews, and the namespaces alice and bob are there."""
    return snapshot(service("shop/reviews"), *namespaces("alice", "bob", "team"), *objects)


def header(match_type: str | None = None, value: str | None = None, name: str = "x") -> dict[str, Any]:
    found = {"type": "Header", "name": name, "matchType": match_type, "value": value}
    return {key: said for key, said in found.items() if said is not None}


def short(cluster: Snapshot) -> list[str]:
    """Return the http rules by their matches: header, comparison and value."""
    found = []
    for rule in rules(cluster):
        said = [
            f"{name} {comparison} {value}"
            for match in rule.get("match", ())
            for name, operation in match.get("headers", {}).items()
            for comparison, value in operation.items()
        ]
        found.append(f"{rule['name']}: {' | '.join(said) or 'all'}")
    return found


# ---- one policy


def test_without_any_copy_there_is_the_catch_all_only() -> None:
    assert rules(given(policy("shop/defaults", ALICE_AND_BOB))) == [
        {"name": "default", "route": [{"destination": {"host": "reviews.shop.svc.cluster.local"}}]}
    ]


def test_a_developer_with_a_copy_has_a_rule_before_the_catch_all() -> None:
    assert rules(given(policy("shop/defaults", ALICE_AND_BOB), service("alice/reviews"))) == [
        {
            "name": "defaults.alice",
            "match": [{"headers": {"x-developer": {"exact": "alice"}}}],
            "route": [{"destination": {"host": "reviews.alice.svc.cluster.local"}}],
        },
        {"name": "default", "route": [{"destination": {"host": "reviews.shop.svc.cluster.local"}}]},
    ]


def test_rules_are_ordered_by_developer_whatever_the_order_of_the_list() -> None:
    spec = {"developers": developers("bob", "alice")}
    cluster = given(policy("shop/defaults", spec), service("alice/reviews"), service("bob/reviews"))
    assert routes(cluster) == [
        "defaults.alice -> reviews.alice",
        "defaults.bob -> reviews.bob",
        "default -> reviews.shop",
    ]


def test_hosts_end_in_the_clusters_domain() -> None:
    cluster = snapshot(
        policy("shop/defaults", ALICE_AND_BOB),
        *namespaces("alice"),
        service("shop/reviews"),
        service("alice/reviews"),
        settings=PlanSettings(cluster_domain="example.org"),
    )
    spec = written(cluster)["spec"]
    assert spec["hosts"] == ["reviews.shop.svc.example.org"]
    assert [rule["route"][0]["destination"]["host"] for rule in spec["http"]] == [
        "reviews.alice.svc.example.org",
        "reviews.shop.svc.example.org",
    ]


def test_exact_values_go_before_prefixes_the_longest_first_and_those_before_regular_expressions() -> None:
    spec = {
        "developers": developers(al=["bob"], alice=["alice"]),
        "matches": [header("Regex"), header("Prefix"), header("Exact")],
    }
    cluster = given(policy("shop/defaults", spec), service("alice/reviews"), service("bob/reviews"))
    assert short(cluster) == [
        "defaults.al: x exact al",
        "defaults.alice: x exact alice",
        "defaults.alice: x prefix alice",
        "defaults.al: x prefix al",
        "defaults.al: x regex al",
        "defaults.alice: x regex alice",
        "default: all",
    ]


def test_matches_of_one_kind_make_one_rule() -> None:
    spec = {"developers": developers("alice"), "matches": [header(name="b"), header(name="a")]}
    cluster = given(policy("shop/defaults", spec), service("alice/reviews"))
    assert short(cluster) == ["defaults.alice: b exact alice | a exact alice", "default: all"]


def test_prefixes_of_one_length_make_one_rule() -> None:
    spec = {
        "developers": developers("alice"),
        "matches": [header("Prefix", "a-{{ DeveloperName }}"), header("Prefix", "b-{{ DeveloperName }}")],
    }
    cluster = given(policy("shop/defaults", spec), service("alice/reviews"))
    assert short(cluster) == ["defaults.alice: x prefix a-alice | x prefix b-alice", "default: all"]


# ---- ports


def with_ports(original: Service, copy: Service) -> Snapshot:
    return snapshot(policy("shop/defaults", ALICE_AND_BOB), *namespaces("alice", "bob"), original, copy)


def test_one_port_of_the_same_number_is_not_written() -> None:
    cluster = with_ports(service("shop/reviews", http=80), service("alice/reviews", http=80))
    assert routes(cluster) == ["defaults.alice -> reviews.alice", "default -> reviews.shop"]


def test_one_port_of_another_number_is_written_for_the_copy() -> None:
    cluster = with_ports(service("shop/reviews", http=80), service("alice/reviews", http=8080))
    assert rules(cluster) == [
        {
            "name": "defaults.alice",
            "match": [{"port": 80, "headers": {"x-developer": {"exact": "alice"}}}],
            "route": [{"destination": {"host": "reviews.alice.svc.cluster.local", "port": {"number": 8080}}}],
        },
        {"name": "default", "route": [{"destination": {"host": "reviews.shop.svc.cluster.local"}}]},
    ]


def test_the_port_is_written_where_the_copy_has_several() -> None:
    cluster = with_ports(service("shop/reviews", http=80), service("alice/reviews", http=80, grpc=9090))
    assert routes(cluster) == ["defaults.alice -> reviews.alice:80", "default -> reviews.shop"]


def test_several_ports_have_a_rule_and_a_catch_all_each() -> None:
    both = {"grpc": 9090, "http": 80}
    cluster = with_ports(service("shop/reviews", **both), service("alice/reviews", **both))
    assert routes(cluster) == [
        "defaults.alice.http -> reviews.alice:80",
        "defaults.alice.grpc -> reviews.alice:9090",
        "default.http -> reviews.shop:80",
        "default.grpc -> reviews.shop:9090",
    ]


def test_the_catch_all_of_a_port_matches_that_port() -> None:
    cluster = with_ports(service("shop/reviews", http=80, grpc=9090), service("bob/ratings"))
    assert [rule["match"] for rule in rules(cluster)] == [[{"port": 80}], [{"port": 9090}]]


def test_a_port_that_the_copy_lacks_goes_to_the_default() -> None:
    cluster = with_ports(service("shop/reviews", http=80, grpc=9090), service("alice/reviews", http=80))
    assert routes(cluster) == [
        "defaults.alice.http -> reviews.alice:80",
        "default.http -> reviews.shop:80",
        "default.grpc -> reviews.shop:9090",
    ]


def test_where_unknown_developers_are_rejected_a_port_that_the_copy_lacks_has_a_rule_to_the_default() -> None:
    cluster = snapshot(
        policy("shop/defaults", {"developers": developers("alice"), "copies": {"unknownDeveloper": "Reject"}}),
        *namespaces("shop", "alice"),
        service("shop/reviews", http=80, grpc=9090),
        service("alice/reviews", http=80),
    )
    answered = [rule for rule in rules(cluster) if "directResponse" not in rule]
    assert [(rule["name"], rule["route"][0]["destination"]["host"]) for rule in answered] == [
        ("defaults.alice.http", "reviews.alice.svc.cluster.local"),
        ("defaults.alice.grpc", "reviews.shop.svc.cluster.local"),
        ("default.http", "reviews.shop.svc.cluster.local"),
        ("default.grpc", "reviews.shop.svc.cluster.local"),
    ]


def test_a_port_that_is_not_http_is_in_no_rule_and_makes_the_others_explicit() -> None:
    both = {"http": 80, "tcp": 5432}
    cluster = with_ports(service("shop/reviews", **both), service("alice/reviews", **both))
    assert routes(cluster) == ["defaults.alice.http -> reviews.alice:80", "default.http -> reviews.shop:80"]


def test_one_number_for_tcp_and_udp_counts_as_several_ports() -> None:
    ports = [
        {"name": "http", "port": 80, "protocol": "TCP"},
        {"name": "quic", "port": 80, "protocol": "UDP"},
    ]
    cluster = with_ports(service("shop/reviews", ports=ports), service("alice/reviews", http=80))
    assert routes(cluster) == ["defaults.alice.http -> reviews.alice:80", "default.http -> reviews.shop:80"]


def test_an_unnamed_port_gives_its_number_to_no_rule_where_it_is_alone() -> None:
    cluster = with_ports(service("shop/reviews", ports=[{"port": 80}]), service("alice/reviews", ports=[{"port": 80}]))
    assert routes(cluster) == ["defaults.alice -> reviews.alice", "default -> reviews.shop"]


# ---- several policies


def test_the_routes_of_several_policies_are_united_in_precedence() -> None:
    cluster = given(
        policy("shop/defaults", {"developers": developers("alice")}),
        policy("shop/payments", {"developers": developers("bob"), "priority": 10}),
        service("alice/reviews"),
        service("bob/reviews"),
    )
    assert routes(cluster) == [
        "payments.bob -> reviews.bob",
        "defaults.alice -> reviews.alice",
        "default -> reviews.shop",
    ]


def test_equal_routes_make_one_rule_and_both_policies_are_credited() -> None:
    cluster = given(policy("shop/a", ALICE_AND_BOB), policy("shop/b", ALICE_AND_BOB), service("alice/reviews"))
    assert routes(cluster) == ["a.alice -> reviews.alice", "default -> reviews.shop"]
    assert (entry(cluster, policy_name="a").developers, entry(cluster, policy_name="b").developers) == (
        ("alice",),
        ("alice",),
    )
    assert entry(cluster, policy_name="b").state == "Programmed"


def contested(first: dict[str, Any], second: dict[str, Any]) -> Snapshot:
    """Return a cluster where policy `a` sends alice to alice, and policy `b` to team."""
    return given(
        policy("shop/a", {"developers": developers(alice=["alice"]), **first}),
        policy("shop/b", {"developers": developers(alice=["team"]), **second}),
        service("alice/reviews"),
        service("team/reviews"),
    )


def test_the_same_match_goes_where_the_first_policy_sends_it() -> None:
    assert routes(contested({}, {"priority": 1})) == ["b.alice -> reviews.team", "default -> reviews.shop"]


def test_the_policy_that_lost_all_is_overridden_and_says_by_what() -> None:
    found = entry(contested({}, {"priority": 1}), policy_name="a")
    assert (found.state, found.reason, found.developers) == ("Overridden", "RouteOverridden", ())
    assert found.message == "x-developer=alice: b wins by priority 1 over 0"


def test_the_policy_that_won_is_programmed() -> None:
    found = entry(contested({}, {"priority": 1}), policy_name="b")
    assert (found.state, found.reason, found.developers, found.ties) == ("Programmed", "Programmed", ("alice",), ())


def test_what_was_decided_by_priority_is_no_tie() -> None:
    cluster = contested({}, {"priority": 1})
    assert entry(cluster, policy_name="a").ties == ()


def test_what_was_decided_by_specificity_is_no_tie() -> None:
    cluster = contested({}, {"services": {"names": ["reviews"]}})
    assert entry(cluster, policy_name="a").ties == ()
    assert entry(cluster, policy_name="a").message == "x-developer=alice: b wins by naming the Service"


def test_what_was_decided_by_names_only_is_a_tie_that_both_say() -> None:
    cluster = contested({}, {})
    said = "reviews: x-developer=alice goes to alice by a (priority 0), not by b: by name only; give one of them a higher priority"
    assert entry(cluster, policy_name="a").ties == (said,)
    assert entry(cluster, policy_name="b").ties == (said,)


def test_a_tie_that_would_be_is_a_conflict_to_a_policy_that_observes_and_to_no_other() -> None:
    winning = contested({"mode": "Observe"}, {})
    remedy = "by name only; give one of them a higher priority"
    seen = entry(winning, policy_name="a")
    assert (seen.state, seen.planned_change) == ("Observed", "conflict")
    assert seen.message == (
        f"x-developer=alice goes to alice by a (priority 0), not by b: {remedy}; would add a.alice; remove b.alice"
    )
    assert entry(winning, policy_name="b").ties == ()
    losing = entry(contested({}, {"mode": "Observe"}), policy_name="b")
    assert losing.planned_change == "conflict"
    assert losing.message == (
        f"x-developer=alice goes to alice by a (priority 0), not by b: {remedy}; would change nothing"
    )


def test_what_priority_would_decide_is_no_conflict_to_a_policy_that_observes() -> None:
    found = entry(contested({}, {"mode": "Observe", "priority": -1}), policy_name="b")
    assert (found.planned_change, found.message) == (
        "none",
        "would change nothing; x-developer=alice: a wins by priority 0 over -1",
    )


def test_of_several_ties_that_would_be_one_is_said_and_the_others_counted() -> None:
    matches = [header(name=name) for name in ("x", "y", "z")]
    found = entry(contested({"matches": matches}, {"mode": "Observe", "matches": matches}), policy_name="b")
    assert found.message.endswith("give one of them a higher priority; and 2 more; would change nothing")


def test_a_policy_that_lost_one_developer_keeps_the_others() -> None:
    cluster = given(
        policy("shop/a", {"developers": developers(alice=["alice"])}),
        policy("shop/b", {"developers": developers(alice=["team"], bob=["bob"])}),
        service("alice/reviews"),
        service("team/reviews"),
        service("bob/reviews"),
    )
    assert routes(cluster) == ["a.alice -> reviews.alice", "b.bob -> reviews.bob", "default -> reviews.shop"]
    found = entry(cluster, policy_name="b")
    assert (found.state, found.reason, found.developers) == ("PartiallyProgrammed", "RouteOverridden", ("bob",))


def test_of_several_matches_only_the_one_that_lost_is_dropped() -> None:
    cluster = contested({"matches": [header()]}, {"matches": [header(), header(name="y")]})
    assert short(cluster) == ["a.alice: x exact alice", "b.alice: y exact alice", "default: all"]


def test_two_developers_with_one_value_are_decided_by_their_place_in_the_list() -> None:
    spec = {
        "developers": developers(bob=["team", "bob"], alice=["team", "alice"]),
        "matches": [header(value="{{ DeveloperNamespace }}")],
    }
    cluster = given(policy("shop/defaults", spec), service("bob/reviews"), service("alice/reviews"))
    assert routes(cluster) == ["defaults.bob -> reviews.bob", "default -> reviews.shop"]
    found = entry(cluster)
    assert (found.state, found.developers, found.ties) == ("PartiallyProgrammed", ("bob",), ())
    assert found.message == "x=team: defaults wins by its place in the policy"


def test_the_same_match_on_another_port_is_another_route() -> None:
    both = {"http": 80, "grpc": 9090}
    cluster = snapshot(
        *namespaces("alice", "team"),
        policy("shop/a", {"developers": developers(alice=["alice"])}),
        policy("shop/b", {"developers": developers(alice=["team"])}),
        service("shop/reviews", **both),
        service("alice/reviews", http=80),
        service("team/reviews", grpc=9090),
    )
    assert routes(cluster) == [
        "a.alice.http -> reviews.alice:80",
        "b.alice.grpc -> reviews.team:9090",
        "default.http -> reviews.shop:80",
        "default.grpc -> reviews.shop:9090",
    ]


def test_values_that_differ_in_case_are_different_matches() -> None:
    cluster = given(
        policy("shop/defaults", {"developers": developers(Alice=["alice"], alice=["team"])}),
        service("alice/reviews"),
        service("team/reviews"),
    )
    assert routes(cluster) == [
        "defaults.Alice -> reviews.alice",
        "defaults.alice -> reviews.team",
        "default -> reviews.shop",
    ]


@pytest.mark.parametrize("count", [1, 30])
def test_every_developer_with_a_copy_has_a_rule(count: int) -> None:
    listed = [f"d{index:02}" for index in range(count)]
    cluster = snapshot(
        policy("shop/defaults", {"developers": developers(*listed)}),
        *namespaces(*listed),
        service("shop/reviews"),
        *(service(f"{name}/reviews") for name in listed),
    )
    assert [rule["name"] for rule in rules(cluster)] == [*(f"defaults.{name}" for name in listed), "default"]
    assert plan(cluster).entries["defaults"].developers == tuple(listed)
