from dataclasses import replace
from typing import Any

import pytest

from builders import (
    copy_of,
    developers,
    managed,
    namespace,
    namespaces,
    policy,
    service,
    snapshot,
    virtual_service,
)
from virtualservice_operator.core.objects import ClusterObject
from virtualservice_operator.core.touch import matters, touched_keys

SHOP = policy("shop/defaults", {"developers": developers("alice")})
MARKET = policy("market/defaults", {"developers": developers("alice")})
CLUSTER = (
    SHOP,
    *namespaces("alice", "bob"),
    service("shop/reviews"),
    service("shop/ratings"),
    service("alice/reviews"),
)


def touched(item: ClusterObject, *others: ClusterObject) -> list[str]:
    """Return the keys that an object touches in a cluster of these and itself."""
    return sorted(str(found) for found in touched_keys(snapshot(*others, item), item))


# ---- what matters at all


def test_something_new_matters() -> None:
    assert matters(None, service("shop/reviews"))


def test_something_gone_matters() -> None:
    assert matters(service("shop/reviews"), None)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(service("shop/a"), replace(service("shop/a"), version=2), id="another version of a Service"),
        pytest.param(namespace("a"), replace(namespace("a"), version=2), id="another version of a Namespace"),
        pytest.param(
            policy("shop/a"), policy("shop/a", status={"observedGeneration": 1}, resourceVersion="2"), id="a new status"
        ),
    ],
)
def test_what_changes_no_plan_does_not_matter(before: ClusterObject, after: ClusterObject) -> None:
    assert not matters(before, after)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(service("shop/a", http=80), service("shop/a", http=81), id="a port"),
        pytest.param(service("shop/a"), service("shop/a", labels={"a": "b"}), id="a label of a Service"),
        pytest.param(service("shop/a"), copy_of("shop/b", "shop/a"), id="an annotation of a Service"),
        pytest.param(namespace("a"), namespace("a", developer="alice"), id="a label of a Namespace"),
        pytest.param(namespace("a"), namespace("a", terminating=True), id="a Namespace's end"),
        pytest.param(policy("shop/a"), policy("shop/a", generation=2), id="a new generation"),
        pytest.param(policy("shop/a"), policy("shop/a", uid="another"), id="a policy made anew"),
        pytest.param(policy("shop/a"), replace(policy("shop/a"), departing=True), id="a policy's end"),
        pytest.param(
            virtual_service("shop/a"),
            virtual_service("shop/a", resourceVersion="2"),
            id="another version of a VirtualService, which our next write must name",
        ),
    ],
)
def test_what_may_change_a_plan_matters(before: ClusterObject, after: ClusterObject) -> None:
    assert matters(before, after)


# ---- what a Service touches


def test_a_service_touches_itself() -> None:
    assert touched(service("other/reviews"), *CLUSTER) == ["other/reviews"]


def test_a_service_touches_what_it_may_be_the_namesake_of() -> None:
    assert touched(service("alice/ratings"), *CLUSTER) == ["alice/ratings", "shop/ratings"]


def test_a_service_that_nobody_reaches_touches_no_other() -> None:
    assert touched(service("bob/ratings"), *CLUSTER) == ["bob/ratings"]


def test_a_service_touches_what_it_is_annotated_as_a_copy_of() -> None:
    assert set(touched(copy_of("shop/ratings", "alice/next"), *CLUSTER)) >= {"alice/next", "shop/next", "shop/ratings"}


def test_a_service_touches_its_namesake_that_competes_for_the_same_copies() -> None:
    assert touched(service("market/reviews"), MARKET, *CLUSTER) == ["market/reviews", "shop/reviews"]


# ---- what a Namespace touches


def test_a_namespace_touches_what_its_services_may_be_copies_of() -> None:
    assert set(touched(namespace("alice", labels={"a": "b"}), *CLUSTER)) >= {"shop/reviews"}


def test_a_developers_namespace_touches_all_services_where_something_is_said_of_missing_copies() -> None:
    """A template may list developers without a copy."""
    for block in ({"copies": {"whenMissing": "Reject"}}, {"template": {"virtualService": "{{ Developers | tojson }}"}}):
        asks = policy("shop/defaults", {"developers": developers("alice"), **block})
        assert set(touched(namespace("alice"), *CLUSTER[1:], asks)) >= {"shop/reviews", "shop/ratings"}


def test_a_namespace_of_nobody_touches_no_policys_services() -> None:
    assert [found for found in touched(namespace("bob"), *CLUSTER) if found.startswith("shop/")] == []


# ---- what a policy touches


def test_a_policy_touches_what_it_governs() -> None:
    assert touched(SHOP, *CLUSTER) == ["shop/ratings", "shop/reviews"]


@pytest.mark.parametrize(
    ("services", "expected"),
    [
        pytest.param({"names": ["reviews"]}, ["shop/reviews"], id="by name"),
        pytest.param({"excludedNames": ["reviews"]}, ["shop/ratings"], id="not excluded"),
        pytest.param({"names": ["nowhere"]}, [], id="nothing"),
    ],
)
def test_a_policy_touches_what_it_selects_only(services: dict[str, Any], expected: list[str]) -> None:
    assert touched(policy("shop/other", {"services": services}), *CLUSTER) == expected


def test_a_policy_touches_what_it_contributed_to() -> None:
    contributed = managed("shop/gone-virtual-service", policies="first,defaults")
    assert touched(policy("shop/defaults", {"services": {"names": ["nowhere"]}}), contributed) == ["shop/gone"]


def test_a_policy_that_does_not_fit_the_schema_touches_what_it_contributed_to() -> None:
    broken = policy("shop/defaults", {"priority": 1001})
    contributed = managed("shop/reviews-virtual-service")
    assert touched(broken, contributed, service("shop/reviews"), service("shop/ratings")) == ["shop/reviews"]


def test_a_policy_touches_the_namesakes_of_its_rivals() -> None:
    found = touched(SHOP, MARKET, *namespaces("alice"), service("shop/reviews"), service("market/reviews"))
    assert found == ["market/reviews", "shop/reviews"]


# ---- what a VirtualService touches


def test_ours_touches_the_service_it_belongs_to() -> None:
    assert touched(managed("shop/reviews-virtual-service")) == ["shop/reviews"]


def test_a_foreign_one_touches_what_it_claims_and_what_its_name_is_ours_for() -> None:
    found = touched(virtual_service("shop/ratings-virtual-service", "reviews", "orders.market.svc.cluster.local"))
    assert found == ["market/orders", "shop/ratings", "shop/reviews"]


@pytest.mark.parametrize(
    ("placeholder", "expected"),
    [
        ({"mode": "Alias", "createFor": "AllServices"}, ["shop/ratings", "shop/reviews"]),
        ({"mode": "ExternalName"}, ["shop/reviews"]),
        (None, []),
    ],
    ids=["for all", "where one is remembered", "none"],
)
def test_a_policy_touches_what_was_told_who_reaches_a_namespace(
    placeholder: dict[str, Any] | None, expected: list[str]
) -> None:
    spec = {"developers": developers("alice"), **({"placeholder": placeholder} if placeholder else {})}
    remembered = {"virtualservice-operator.dev/deleted-copies": "alice"}
    found = touched(
        policy("pay/p", {"developers": developers("alice")}),
        *namespaces("alice"),
        policy("shop/defaults", spec),
        *(
            service(place)
            for place in (
                "shop/reviews",
                "shop/ratings",
            )
        ),
        managed("shop/reviews-virtual-service", annotations=remembered),
        managed("shop/ratings-virtual-service"),
    )
    assert found == expected
