from builders import copy_of, developers, key, managed, namespace, policy, resolved, service, snapshot, virtual_service
from virtualservice_operator.api import names
from virtualservice_operator.core.objects import ClusterObject, Key, Namespace, Policy, Service, VirtualService
from virtualservice_operator.core.snapshot import Snapshot, virtual_service_key

SHOP = policy("shop/defaults", {"developers": developers("alice")})
MARKET = policy("market/defaults", {"developers": developers("alice")})
ALICE = namespace("alice")


def keys(*found: ClusterObject) -> list[str]:
    return [str(item.key) for item in found]


# ---- what was put is found


def test_a_service_is_found_by_its_key() -> None:
    found = service("shop/reviews")
    assert snapshot(found).service(Key("shop", "reviews")) == found


def test_what_was_never_put_is_absent() -> None:
    cluster = snapshot()
    place = Key("shop", "reviews")
    assert (cluster.service(place), cluster.namespace("shop"), cluster.policy(place)) == (None, None, None)
    assert cluster.virtual_service(place) is None


def test_the_services_of_a_namespace_are_listed() -> None:
    cluster = snapshot(service("shop/a"), service("shop/b"), service("market/a"))
    assert sorted(keys(*cluster.services_in("shop"))) == ["shop/a", "shop/b"]


def test_put_replaces_and_returns_what_was_there() -> None:
    before, after = service("shop/reviews", http=80), service("shop/reviews", http=81)
    cluster = snapshot(before)
    assert cluster.put(after) == before
    assert cluster.services_in("shop") == (after,)


def test_put_of_something_new_returns_nothing() -> None:
    assert snapshot().put(service("shop/reviews")) is None


def test_remove_returns_what_was_there() -> None:
    found = service("shop/reviews")
    cluster = snapshot(found)
    assert cluster.remove(Service, found.key) == found
    assert cluster.service(found.key) is None


def test_remove_of_what_is_not_there_returns_nothing() -> None:
    kinds: tuple[type[ClusterObject], ...] = (Service, Namespace, Policy, VirtualService)
    assert [snapshot().remove(kind, Key("shop", "a")) for kind in kinds] == [None] * 4


def test_every_object_of_a_kind_is_listed() -> None:
    cluster = snapshot(service("a/x"), service("b/y"), ALICE, SHOP, virtual_service("shop/v"))
    assert sorted(keys(*cluster.all_of(Service))) == ["a/x", "b/y"]
    assert list(cluster.all_of(Namespace)) == [ALICE]
    assert list(cluster.all_of(Policy)) == [SHOP]
    assert keys(*cluster.all_of(VirtualService)) == keys(*cluster.all_virtual_services()) == ["shop/v"]


# ---- copies


def test_annotated_copies_are_found_wherever_they_are() -> None:
    cluster = snapshot(copy_of("shop/reviews", "alice/a"), copy_of("shop/reviews", "bob/b"), service("bob/reviews"))
    assert sorted(keys(*cluster.annotated_copies(key("shop/reviews")))) == ["alice/a", "bob/b"]


def test_a_copy_that_loses_its_annotation_is_no_longer_found() -> None:
    cluster = snapshot(copy_of("shop/reviews", "alice/a"))
    cluster.put(service("alice/a"))
    assert cluster.annotated_copies(key("shop/reviews")) == ()


def test_a_copy_that_is_removed_is_no_longer_found() -> None:
    cluster = snapshot(copy_of("shop/reviews", "alice/a"))
    cluster.remove(Service, key("alice/a"))
    assert cluster.annotated_copies(key("shop/reviews")) == ()


# ---- policies


def test_policies_are_ordered_by_name() -> None:
    cluster = snapshot(policy("shop/b"), policy("shop/a"), policy("market/c"))
    assert [found.policy.key.name for found in cluster.policies("shop")] == ["a", "b"]


def test_only_accepted_policies_are_accepted() -> None:
    cluster = snapshot(policy("shop/a"), policy("shop/b", {"priority": 1001}))
    assert [found.policy.key.name for found in cluster.accepted("shop")] == ["a"]


def test_a_policy_sees_a_namespace_that_comes_later() -> None:
    cluster = snapshot(SHOP)
    assert resolved(cluster).namespaces == frozenset()
    cluster.put(ALICE)
    assert resolved(cluster).namespaces == {"alice"}


def test_a_policy_sees_that_a_namespace_goes() -> None:
    cluster = snapshot(SHOP, ALICE)
    assert resolved(cluster).namespaces == {"alice"}
    cluster.remove(Namespace, ALICE.key)
    assert resolved(cluster).namespaces == frozenset()


def test_a_policy_sees_that_a_namespace_gets_and_loses_its_label() -> None:
    cluster = snapshot(policy("shop/defaults"), namespace("dev"))
    found = [resolved(cluster).namespaces]
    for changed in (namespace("dev", developer="alice"), namespace("dev")):
        cluster.put(changed)
        found.append(resolved(cluster).namespaces)
    assert found == [frozenset(), {"dev"}, frozenset()]


def test_a_policy_that_is_edited_is_resolved_anew() -> None:
    cluster = snapshot(SHOP, ALICE, namespace("bob"))
    assert resolved(cluster).namespaces == {"alice"}
    cluster.put(policy("shop/defaults", {"developers": developers("bob")}))
    assert resolved(cluster).namespaces == {"bob"}


def test_the_namespaces_whose_policies_reach_a_developer_are_known() -> None:
    cluster = snapshot(SHOP, MARKET, ALICE, policy("other/defaults", {"developers": developers("bob")}))
    assert cluster.policy_namespaces_reaching("alice") == {"shop", "market"}
    assert cluster.policy_namespaces_reaching("nowhere") == frozenset()


def test_a_namespace_that_goes_is_reached_by_nobody() -> None:
    cluster = snapshot(SHOP, ALICE)
    assert cluster.policy_namespaces_reaching("alice") == {"shop"}
    cluster.remove(Namespace, ALICE.key)
    assert cluster.policy_namespaces_reaching("alice") == frozenset()


def test_a_policy_that_goes_reaches_nobody() -> None:
    cluster = snapshot(SHOP, MARKET, ALICE)
    assert cluster.policy_namespaces_reaching("alice") == {"shop", "market"}
    cluster.remove(Policy, MARKET.key)
    assert cluster.policy_namespaces_reaching("alice") == {"shop"}


def test_rivals_are_the_other_namespaces_that_reach_a_common_developer() -> None:
    cluster = snapshot(SHOP, MARKET, ALICE)
    assert cluster.rival_namespaces("shop") == {"market"}
    assert cluster.rival_namespaces("market") == {"shop"}


def test_without_a_common_developer_there_are_no_rivals() -> None:
    cluster = snapshot(SHOP, ALICE, policy("market/defaults", {"developers": developers("bob")}), namespace("bob"))
    assert cluster.rival_namespaces("shop") == frozenset()


def test_rivals_go_with_the_policy() -> None:
    cluster = snapshot(SHOP, MARKET, ALICE)
    assert cluster.rival_namespaces("shop") == {"market"}
    cluster.remove(Policy, MARKET.key)
    assert cluster.rival_namespaces("shop") == frozenset()


# ---- VirtualServices


def test_ours_are_found_by_the_service_they_belong_to() -> None:
    wanted, orphan = (
        managed("shop/reviews-virtual-service"),
        managed("shop/old", labels={"virtualservice-operator.dev/service": "reviews"}),
    )
    cluster = snapshot(wanted, orphan)
    assert keys(*cluster.assigned(key("shop/reviews"))) == ["shop/old", "shop/reviews-virtual-service"]


def test_one_without_our_mark_belongs_to_no_service() -> None:
    assert snapshot(virtual_service("shop/reviews-virtual-service", "reviews")).assigned(key("shop/reviews")) == ()


def test_ours_in_a_namespace_are_listed() -> None:
    cluster = snapshot(managed("shop/a-virtual-service"), virtual_service("shop/theirs"), managed("market/b"))
    assert keys(*cluster.managed_in("shop")) == ["shop/a-virtual-service"]


def test_foreign_claims_are_ordered_by_rank() -> None:
    cluster = snapshot(
        virtual_service("shop/young", "reviews", creationTimestamp="2026-02-02T00:00:00Z"),
        virtual_service("shop/b", "reviews", creationTimestamp="2025-01-01T00:00:00Z"),
        virtual_service("other/a", "reviews.shop.svc.cluster.local", creationTimestamp="2025-01-01T00:00:00Z"),
    )
    assert keys(*cluster.claims(key("shop/reviews"))) == ["other/a", "shop/b", "shop/young"]


def test_ours_claims_nothing() -> None:
    assert snapshot(managed("shop/reviews-virtual-service")).claims(key("shop/reviews")) == ()


def test_a_claim_goes_with_its_host() -> None:
    cluster = snapshot(virtual_service("shop/theirs", "reviews"))
    cluster.put(virtual_service("shop/theirs", "ratings"))
    assert cluster.claims(key("shop/reviews")) == ()
    assert keys(*cluster.claims(key("shop/ratings"))) == ["shop/theirs"]


def test_a_claim_goes_with_its_virtual_service() -> None:
    cluster = snapshot(virtual_service("shop/theirs", "reviews"))
    cluster.remove(VirtualService, key("shop/theirs"))
    assert cluster.claims(key("shop/reviews")) == ()


def test_one_that_loses_our_mark_becomes_a_claim() -> None:
    cluster = snapshot(managed("shop/reviews-virtual-service"))
    cluster.put(virtual_service("shop/reviews-virtual-service", "reviews"))
    assert cluster.assigned(key("shop/reviews")) == ()
    assert keys(*cluster.claims(key("shop/reviews"))) == ["shop/reviews-virtual-service"]


def test_our_virtual_service_for_a_service_has_a_fixed_name() -> None:
    assert virtual_service_key(Key("shop", "reviews")) == Key("shop", "reviews-virtual-service")


def test_the_order_in_which_objects_come_does_not_matter() -> None:
    objects: list[ClusterObject] = [SHOP, MARKET, ALICE, service("shop/a"), service("alice/a")]
    first, second = snapshot(*objects), snapshot(*reversed(objects))
    assert [reached(cluster) for cluster in (first, second)] == [[{"market", "shop"}, {"market"}]] * 2


def reached(cluster: Snapshot) -> list[frozenset[str]]:
    return [cluster.policy_namespaces_reaching("alice"), cluster.rival_namespaces("shop")]


def test_nothing_is_kept_of_what_is_gone() -> None:
    objects: list[ClusterObject] = [
        service("shop/reviews"),
        service("alice/mine", annotations={names.COPY_OF_ANNOTATION: "shop/reviews"}),
        managed("shop/reviews-virtual-service"),
        virtual_service("shop/by-hand", "reviews"),
        policy("shop/defaults"),
    ]
    cluster = snapshot(*objects)
    for item in objects:
        cluster.remove(type(item), item.key)
    indices = {name: value for name, value in vars(cluster).items() if isinstance(value, dict)}
    assert {name: value for name, value in indices.items() if value} == {}
