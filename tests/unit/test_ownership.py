from typing import Any

import pytest

from builders import as_stored, key, managed, policy, virtual_service
from virtualservice_operator.core.objects import Key, VirtualService
from virtualservice_operator.core.ownership import (
    assigned_key,
    claimed_keys,
    clients,
    differs,
    digest,
    is_private,
    outranks,
    share_clients,
    stamp,
)

DOMAIN = "cluster.local"
FIRST = policy("shop/first", uid="u1")
SECOND = policy("shop/second", uid="u2")
SPEC = {"hosts": ["reviews.shop.svc.cluster.local"], "http": [{"name": "default"}]}


def stamped(*, developers: tuple[str, ...] = ("alice",)) -> dict[str, Any]:
    return stamp(Key("shop", "reviews"), SPEC, [FIRST, SECOND], developers)


# ---- whose it is


@pytest.mark.parametrize(
    ("place", "label", "expected"),
    [
        pytest.param("shop/reviews-virtual-service", "reviews", "shop/reviews", id="by its name"),
        pytest.param("shop/reviews-virtual-service", "other", "shop/reviews", id="the name goes before the label"),
        pytest.param("shop/custom", "reviews", "shop/reviews", id="by its label"),
        pytest.param("shop/custom", None, "shop/custom", id="by its own name"),
        pytest.param("shop/-virtual-service", None, "shop/-virtual-service", id="nothing but the suffix"),
        pytest.param("shop/a-virtual-service-b", None, "shop/a-virtual-service-b", id="the suffix in the middle"),
        pytest.param("shop/a-virtual-service-virtual-service", None, "shop/a-virtual-service", id="the suffix twice"),
    ],
)
def test_a_virtual_service_belongs_to_one_service(place: str, label: str | None, expected: str) -> None:
    labels = {} if label is None else {"virtualservice-operator.dev/service": label}
    assert assigned_key(virtual_service(place, labels=labels)) == key(expected)


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        pytest.param(["reviews"], ["shop/reviews"], id="short name"),
        pytest.param(["reviews.market.svc.cluster.local"], ["market/reviews"], id="full name"),
        pytest.param(["Reviews.Market.svc.cluster.local"], ["market/reviews"], id="full name, another case"),
        pytest.param(["reviews", "ratings.shop.svc.cluster.local"], ["shop/ratings", "shop/reviews"], id="two"),
        pytest.param(["reviews", "reviews.shop.svc.cluster.local"], ["shop/reviews"], id="both names of one"),
        pytest.param(["reviews.shop"], [], id="with the namespace: expanded by nobody"),
        pytest.param(["reviews.shop.svc"], [], id="without the domain"),
        pytest.param(["reviews.shop.svc.example.org"], [], id="of another domain"),
        pytest.param(["*.shop.svc.cluster.local"], [], id="wildcard"),
        pytest.param(["*.svc.cluster.local"], [], id="wildcard over namespaces"),
        pytest.param(["shop.example.com"], [], id="of the world"),
        pytest.param(["a.reviews.shop.svc.cluster.local"], [], id="a host of a Pod"),
        pytest.param([".shop.svc.cluster.local"], [], id="no name"),
        pytest.param([], [], id="no host: a delegate"),
    ],
)
def test_a_virtual_service_claims_the_services_whose_hosts_it_names(hosts: list[str], expected: list[str]) -> None:
    found = claimed_keys(virtual_service("shop/theirs", *hosts), DOMAIN)
    assert sorted(str(claimed) for claimed in found) == expected


@pytest.mark.parametrize(
    ("gateways", "claims"),
    [
        pytest.param([], True, id="none"),
        pytest.param(["mesh"], True, id="mesh"),
        pytest.param(["istio-ingress/public", "mesh"], True, id="mesh beside a gateway"),
        pytest.param(["istio-ingress/public"], False, id="a gateway only"),
    ],
)
def test_only_what_is_bound_to_the_mesh_claims(gateways: list[str], *, claims: bool) -> None:
    found = claimed_keys(virtual_service("shop/theirs", "reviews", spec={"gateways": gateways}), DOMAIN)
    assert found == (frozenset({Key("shop", "reviews")}) if claims else frozenset())


@pytest.mark.parametrize(
    ("scopes", "expected"),
    [
        pytest.param([], False, id="the mesh's default"),
        pytest.param(["*"], False, id="all"),
        pytest.param(["."], True, id="its own namespace"),
        pytest.param(["shop"], True, id="its own namespace by name"),
        pytest.param([".", "shop"], True, id="its own namespace twice"),
        pytest.param(["market"], False, id="another namespace"),
        pytest.param([".", "market"], False, id="its own and another"),
    ],
)
def test_private_is_what_only_its_own_namespace_sees(scopes: list[str], *, expected: bool) -> None:
    assert is_private(virtual_service("shop/theirs", spec={"exportTo": scopes})) is expected


@pytest.mark.parametrize(
    ("theirs", "ours", "expected"),
    [
        pytest.param([], [], True, id="both the mesh's default"),
        pytest.param(["*"], ["."], True, id="theirs all"),
        pytest.param(["market"], ["*"], True, id="ours all"),
        pytest.param(["market"], ["."], False, id="two namespaces"),
        pytest.param(["market", "shop"], ["."], True, id="ours by its name"),
        pytest.param(["."], ["alice", "other"], True, id="theirs by its name"),
        pytest.param(["."], ["."], False, id="each private"),
        pytest.param(["~"], [], False, id="theirs nobody"),
    ],
)
def test_two_share_clients_where_a_namespace_sees_both(theirs: list[str], ours: list[str], *, expected: bool) -> None:
    assert share_clients(clients("other", theirs), clients("shop", ours)) is expected
    assert share_clients(clients("shop", ours), clients("other", theirs)) is expected


@pytest.mark.parametrize(
    ("theirs", "ours", "expected"),
    [
        pytest.param([], [], ("older", ""), id="both public: by age"),
        pytest.param(["market"], [], ("older", "younger"), id="theirs by name"),
        pytest.param([], ["market"], ("", ""), id="ours by name"),
        pytest.param([], ["."], ("", ""), id="ours private"),
        pytest.param(["market"], ["market"], ("older", ""), id="both by one name: by age"),
        pytest.param(["shop"], [".", "market"], ("", ""), id="theirs by the name of ours, where ours is private"),
        pytest.param([".", "shop"], ["other"], ("older", "younger"), id="ours by the name of theirs"),
        pytest.param(["shop", "market"], [".", "market"], ("older", ""), id="for one client it is enough"),
    ],
)
def test_istio_takes_what_is_private_then_what_is_exported_by_name_then_by_age(
    theirs: list[str], ours: list[str], expected: tuple[str, str]
) -> None:
    found = tuple(
        age
        if outranks(
            virtual_service("other/theirs", spec={"exportTo": theirs}, creationTimestamp=f"{year}-01-01T00:00:00Z"),
            "shop",
            clients("shop", ours),
            ("2026-01-01T00:00:00Z", "ours", "shop"),
        )
        else ""
        for age, year in (("older", 2025), ("younger", 2027))
    )
    assert found == expected


# ---- the stamp


def test_a_virtual_service_is_stamped_with_our_name_mark_annotations_and_owners() -> None:
    assert stamp(Key("shop", "reviews"), SPEC, [FIRST, SECOND], ["bob", "alice"]) == {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {
            "name": "reviews-virtual-service",
            "namespace": "shop",
            "labels": {
                "app.kubernetes.io/managed-by": "virtualservice-operator",
                "virtualservice-operator.dev/service": "reviews",
            },
            "annotations": {
                "virtualservice-operator.dev/policies": "first,second",
                "virtualservice-operator.dev/developers": "alice,bob",
            },
            "ownerReferences": [
                {
                    "apiVersion": "virtualservice-operator.dev/v1alpha1",
                    "kind": "RoutingPolicy",
                    "name": "first",
                    "uid": "u1",
                    "controller": False,
                    "blockOwnerDeletion": False,
                },
                {
                    "apiVersion": "virtualservice-operator.dev/v1alpha1",
                    "kind": "RoutingPolicy",
                    "name": "second",
                    "uid": "u2",
                    "controller": False,
                    "blockOwnerDeletion": False,
                },
            ],
        },
        "spec": SPEC,
    }


def test_without_routed_developers_there_is_no_annotation_of_them() -> None:
    annotations = stamped(developers=())["metadata"]["annotations"]
    assert annotations == {"virtualservice-operator.dev/policies": "first,second"}


# ---- what differs


def test_what_was_just_written_does_not_differ() -> None:
    assert differs(stamped(), digest(SPEC), as_stored(stamped())) is None


def test_what_others_added_to_the_metadata_is_none_of_our_business() -> None:
    document = stamped()
    metadata = document["metadata"]
    stored = as_stored(
        document,
        labels={**metadata["labels"], "team": "checkout"},
        annotations={**metadata["annotations"], "note": "x"},
        ownerReferences=[*metadata["ownerReferences"], {"kind": "ConfigMap", "name": "a", "uid": "u3"}],
    )
    assert differs(document, digest(SPEC), stored) is None


def changed(**metadata: Any) -> VirtualService:
    document = stamped()
    merged = {
        name: {**document["metadata"][name], **value} if isinstance(value, dict) else value
        for name, value in metadata.items()
    }
    return as_stored(document, **merged)


@pytest.mark.parametrize(
    ("observed", "expected"),
    [
        pytest.param(
            changed(labels={"app.kubernetes.io/managed-by": "somebody"}),
            "adopted: its owner asked for it",
            id="without our mark",
        ),
        pytest.param(
            changed(annotations={**stamped()["metadata"]["annotations"], "virtualservice-operator.dev/adopt": "true"}),
            "it is adopted, so the annotation that asked for it goes",
            id="adopted, and interrupted before the annotation went",
        ),
        pytest.param(
            changed(annotations={"virtualservice-operator.dev/policies": "first"}),
            "other policies contribute",
            id="policies",
        ),
        pytest.param(
            changed(annotations={"virtualservice-operator.dev/policies": "second,first"}),
            "other policies contribute",
            id="policies in another order",
        ),
        pytest.param(
            changed(annotations={"virtualservice-operator.dev/developers": "alice,bob"}),
            "other developers are routed",
            id="developers",
        ),
        pytest.param(
            changed(
                annotations={
                    **stamped()["metadata"]["annotations"],
                    "virtualservice-operator.dev/deleted-copies": "alice",
                }
            ),
            "other copies are remembered",
            id="deleted copies",
        ),
        pytest.param(
            changed(labels={"virtualservice-operator.dev/service": "ratings"}),
            "our labels or owners were changed",
            id="label of the Service",
        ),
        pytest.param(changed(ownerReferences=[]), "our labels or owners were changed", id="owners"),
    ],
)
def test_what_differs_is_named(observed: VirtualService, expected: str) -> None:
    assert differs(stamped(), digest(SPEC), observed) == expected


def test_another_spec_differs() -> None:
    stored = as_stored({**stamped(), "spec": {**SPEC, "exportTo": ["."]}})
    assert differs(stamped(), digest(SPEC), stored) == "the routes differ"


def test_a_policy_that_was_made_anew_is_another_owner() -> None:
    document = stamp(Key("shop", "reviews"), SPEC, [policy("shop/first", uid="new"), SECOND], ["alice"])
    assert differs(document, digest(SPEC), as_stored(stamped())) == "our labels or owners were changed"


def test_an_annotation_of_developers_that_is_no_longer_wanted_differs() -> None:
    assert differs(stamped(developers=()), digest(SPEC), as_stored(stamped())) == "other developers are routed"


def test_the_rank_is_age_then_name_then_namespace() -> None:
    found = managed("shop/reviews-virtual-service", creationTimestamp="2025-05-05T05:05:05Z")
    assert found.rank == ("2025-05-05T05:05:05Z", "reviews-virtual-service", "shop")
