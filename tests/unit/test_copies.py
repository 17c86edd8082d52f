from collections.abc import Mapping
from typing import Any

import pytest

from builders import copy_of, developers, namespace, namespaces, policy, resolved, service, snapshot
from virtualservice_operator.core.copies import CopyChoice, choose_copy, map_ports
from virtualservice_operator.core.objects import ClusterObject, Key, Service
from virtualservice_operator.core.snapshot import Snapshot

REVIEWS = service("shop/reviews")


def choice(cluster: Snapshot, original: Service = REVIEWS) -> CopyChoice:
    """Return the copy for the first developer of the policy shop/defaults."""
    return choose_copy(cluster, original, resolved(cluster).developers[0])


def given(*objects: ClusterObject, spec: Mapping[str, Any] | None = None) -> Snapshot:
    """Return a cluster where alice has the namespace alice."""
    return snapshot(policy("shop/defaults", spec or {"developers": developers("alice")}), namespace("alice"), *objects)


def taken(cluster: Snapshot, original: Service = REVIEWS) -> str | None:
    copy = choice(cluster, original).copy
    return None if copy is None else str(copy.service.key)


def said(cluster: Snapshot) -> list[tuple[str, str]]:
    return [(finding.reason, finding.message) for finding in choice(cluster).findings]


# ---- what a copy is


def test_the_namesake_is_the_copy() -> None:
    assert taken(given(service("alice/reviews"))) == "alice/reviews"


def test_without_a_namesake_there_is_no_copy() -> None:
    assert choice(given(service("alice/ratings"))) == CopyChoice(None)


def test_a_copy_named_by_annotation_may_have_any_name() -> None:
    assert taken(given(copy_of("shop/reviews", "alice/reviews-next"))) == "alice/reviews-next"


def test_a_copy_named_by_annotation_wins_over_the_namesake() -> None:
    assert taken(given(service("alice/reviews"), copy_of("shop/reviews", "alice/next"))) == "alice/next"


def test_the_namesake_may_carry_the_annotation() -> None:
    assert taken(given(copy_of("shop/reviews", "alice/reviews"))) == "alice/reviews"


@pytest.mark.parametrize("original", ["market/reviews", "shop/ratings", "reviews", ""])
def test_a_namesake_annotated_with_anything_else_is_no_copy(original: str) -> None:
    assert choice(given(copy_of(original, "alice/reviews"))) == CopyChoice(None)


def test_an_annotation_counts_in_the_developers_namespaces_only() -> None:
    assert taken(given(namespace("bob"), copy_of("shop/reviews", "bob/reviews"))) is None


@pytest.mark.parametrize(
    "unfit",
    [
        pytest.param({"annotations": {"virtualservice-operator/placeholder-service": "true"}}, id="placeholder"),
        pytest.param({"spec": {"type": "ExternalName", "externalName": "example.com"}}, id="ExternalName"),
        pytest.param({"spec": {"clusterIP": "None"}}, id="headless"),
        pytest.param({"annotations": {"virtualservice-operator.dev/ignore": "true"}}, id="ignored"),
    ],
)
def test_such_a_service_is_never_a_copy(unfit: dict[str, Any]) -> None:
    assert choice(given(service("alice/reviews", **unfit))) == CopyChoice(None)


def test_an_annotated_service_that_is_never_a_copy_leaves_it_to_the_namesake() -> None:
    annotations = {"virtualservice-operator.dev/copy-of": "shop/reviews", "virtualservice-operator.dev/ignore": "true"}
    assert taken(given(service("alice/next", annotations=annotations), service("alice/reviews"))) == "alice/reviews"


def test_the_service_of_a_gateway_may_be_a_copy_where_it_is_annotated() -> None:
    labelled = service(
        "alice/edge",
        labels={"gateway.networking.k8s.io/gateway-name": "edge"},
        annotations={"virtualservice-operator.dev/copy-of": "shop/reviews"},
    )
    assert taken(given(labelled)) == "alice/edge"


# ---- the order of namespaces


TWO = {"developers": developers(alice=["mine", "team"])}


def test_the_first_namespace_that_holds_a_copy_takes_the_request() -> None:
    cluster = given(*namespaces("mine", "team"), service("mine/reviews"), service("team/reviews"), spec=TWO)
    assert taken(cluster) == "mine/reviews"


def test_without_a_copy_in_the_first_namespace_the_next_is_asked() -> None:
    assert taken(given(*namespaces("mine", "team"), service("team/reviews"), spec=TWO)) == "team/reviews"


def test_an_annotation_further_down_does_not_win_over_a_namesake_further_up() -> None:
    cluster = given(
        *namespaces("mine", "team"), service("mine/reviews"), copy_of("shop/reviews", "team/reviews"), spec=TWO
    )
    assert taken(cluster) == "mine/reviews"


def test_a_copy_of_which_no_port_maps_is_passed_over() -> None:
    cluster = given(*namespaces("mine", "team"), service("mine/reviews", grpc=9090), service("team/reviews"), spec=TWO)
    assert taken(cluster) == "team/reviews"


def test_an_ambiguous_copy_is_passed_over() -> None:
    cluster = given(
        *namespaces("mine", "team"),
        copy_of("shop/reviews", "mine/one"),
        copy_of("shop/reviews", "mine/two"),
        service("team/reviews"),
        spec=TWO,
    )
    assert taken(cluster) == "team/reviews"


# ---- ambiguous copies


def test_two_services_with_one_annotation_are_ambiguous() -> None:
    cluster = given(copy_of("shop/reviews", "alice/two"), copy_of("shop/reviews", "alice/one"))
    assert taken(cluster) is None
    assert said(cluster) == [
        (
            "AmbiguousCopy",
            (
                "one, two in alice are all annotated virtualservice-operator.dev/copy-of=shop/reviews; keep the annotation "
                "on one"
            ),
        )
    ]


def test_a_namesake_does_not_settle_two_annotations() -> None:
    cluster = given(copy_of("shop/reviews", "alice/a"), copy_of("shop/reviews", "alice/b"), service("alice/reviews"))
    assert taken(cluster) is None


def test_of_two_annotated_services_one_that_is_never_a_copy_does_not_count() -> None:
    annotations = {"virtualservice-operator.dev/copy-of": "shop/reviews", "virtualservice-operator.dev/ignore": "true"}
    assert taken(given(copy_of("shop/reviews", "alice/a"), service("alice/b", annotations=annotations))) == "alice/a"


def contested(*more: ClusterObject, market_spec: Mapping[str, Any] | None = None) -> Snapshot:
    """Return a cluster where policies of shop and of market both reach alice, who has `reviews`."""
    return given(
        service("alice/reviews"),
        policy("market/defaults", market_spec or {"developers": developers("alice")}),
        *more,
    )


def test_a_namesake_that_two_policy_namespaces_would_take_is_ambiguous_and_the_message_says_how_to_decide() -> None:
    cluster = contested(service("market/reviews"))
    assert taken(cluster) is None
    assert said(cluster) == [
        (
            "AmbiguousCopy",
            (
                "alice/reviews could be a copy of shop/reviews or of market/reviews; to decide: kubectl annotate service "
                "reviews -n alice virtualservice-operator.dev/copy-of=shop/reviews"
            ),
        )
    ]


def test_for_the_other_side_the_same_namesake_is_ambiguous_too() -> None:
    cluster = contested(service("market/reviews"), REVIEWS)
    developer = resolved(cluster, "market/defaults").developers[0]
    found = choose_copy(cluster, service("market/reviews"), developer)
    assert found.copy is None
    assert [finding.reason for finding in found.findings] == ["AmbiguousCopy"]


@pytest.mark.parametrize(
    ("rival", "spec"),
    [
        pytest.param(None, {}, id="the other has no such Service"),
        pytest.param(service("market/reviews"), {"developers": []}, id="the other policy has no developers"),
        pytest.param(service("market/reviews"), {"developers": developers("bob")}, id="the other reaches another"),
        pytest.param(
            service("market/reviews"),
            {"developers": developers("alice"), "services": {"names": ["orders"]}},
            id="the other policy does not govern it",
        ),
        pytest.param(
            service("market/reviews", spec={"clusterIP": "None"}),
            {"developers": developers("alice")},
            id="the other is not routed",
        ),
        pytest.param(
            service("market/reviews"),
            {"developers": developers("alice"), "priority": 1001},
            id="the other is not accepted",
        ),
    ],
)
def test_the_namesake_is_the_copy_of_the_only_service_that_would_take_it(
    rival: Service | None, spec: dict[str, Any]
) -> None:
    cluster = contested(*([rival] if rival is not None else []), market_spec=spec)
    assert taken(cluster) == "alice/reviews"


def test_where_the_other_has_a_copy_by_annotation_the_namesake_is_free() -> None:
    assert taken(contested(service("market/reviews"), copy_of("market/reviews", "alice/theirs"))) == "alice/reviews"


def test_where_the_copy_by_annotation_of_the_other_is_never_a_copy_the_namesake_is_ambiguous_for_both() -> None:
    annotations = {
        "virtualservice-operator.dev/copy-of": "market/reviews",
        "virtualservice-operator.dev/ignore": "true",
    }
    cluster = contested(REVIEWS, service("market/reviews"), service("alice/theirs", annotations=annotations))
    assert taken(cluster) is None
    assert [reason for reason, _ in said(cluster)] == ["AmbiguousCopy"]
    theirs = choose_copy(cluster, service("market/reviews"), resolved(cluster, "market/defaults").developers[0])
    assert [finding.reason for finding in theirs.findings] == ["AmbiguousCopy"]


def test_an_annotation_decides_for_the_annotated() -> None:
    cluster = given(
        copy_of("shop/reviews", "alice/reviews"),
        policy("market/defaults", {"developers": developers("alice")}),
        service("market/reviews"),
    )
    assert taken(cluster) == "alice/reviews"


def test_several_policies_of_one_namespace_do_not_make_a_copy_ambiguous() -> None:
    second = policy("shop/second", {"developers": developers("alice")})
    assert taken(given(service("alice/reviews"), second)) == "alice/reviews"


# ---- ports


@pytest.mark.parametrize(
    ("ports", "copied", "expected"),
    [
        pytest.param({"http": 80}, {"http": 80}, [(80, 80)], id="equal"),
        pytest.param({"http": 80}, {"http": 8080}, [(80, 8080)], id="renumbered"),
        pytest.param({"http": 80}, {"http-web": 80}, [(80, 80)], id="renamed"),
        pytest.param({"http": 80}, {"http-web": 8080}, [], id="renamed and renumbered"),
        pytest.param(
            {"http": 80, "http-admin": 81}, {"http": 81, "http-admin": 80}, [(80, 81), (81, 80)], id="names go first"
        ),
        pytest.param({"http": 80, "grpc": 90}, {"http": 8080}, [(80, 8080)], id="one is missing"),
        pytest.param({"http": 80}, {"http": 80, "grpc": 90}, [(80, 80)], id="one more"),
        pytest.param({"http": 80}, {"tcp": 80}, [], id="the copy's is not HTTP"),
        pytest.param({"tcp": 80}, {"http": 80}, [], id="the Service's is not HTTP"),
        pytest.param({"http": 80, "tcp": 81}, {"http": 80, "tcp": 81}, [(80, 80)], id="only HTTP ports count"),
        pytest.param({"grpc": 90, "http": 80}, {"grpc": 90, "http": 80}, [(80, 80), (90, 90)], id="by number"),
        pytest.param(
            {"http": 80, "http-b": 81},
            {"http-x": 81, "http-b": 80},
            [(80, 80), (81, 80)],
            id="by name for one, by number for the other",
        ),
    ],
)
def test_ports_map_by_name_else_by_number(
    ports: dict[str, int], copied: dict[str, int], expected: list[tuple[int, int]]
) -> None:
    found = map_ports(service("shop/reviews", **ports), service("alice/reviews", **copied))
    assert [(mapping.port.number, mapping.target.number) for mapping in found] == expected


def test_an_unnamed_port_maps_to_the_same_number_of_a_named_one() -> None:
    found = map_ports(service("shop/a", ports=[{"port": 80}]), service("alice/a", http=80, grpc=90))
    assert [mapping.target.name for mapping in found] == ["http"]


def test_a_port_that_the_copy_lacks_is_said() -> None:
    original = service("shop/reviews", http=80, grpc=9090)
    cluster = given(original, service("alice/reviews", http=8080))
    found = choice(cluster, original)
    assert found.copy is not None
    assert [(finding.reason, finding.message) for finding in found.findings] == [
        (
            "PortMismatch",
            "alice/reviews has no HTTP port named or numbered like grpc (9090); those requests go to shop/reviews",
        )
    ]


def test_a_copy_of_which_no_port_maps_is_said() -> None:
    cluster = given(service("alice/reviews", ports=[{"port": 9090}]))
    assert taken(cluster) is None
    assert [reason for reason, _ in said(cluster)] == ["PortMismatch"]


def test_a_port_that_is_not_http_is_not_missed() -> None:
    original = service("shop/reviews", http=80, tcp=5432)
    assert choice(given(original, service("alice/reviews", http=80)), original).findings == ()


def test_a_copy_knows_its_port_for_each_of_the_services() -> None:
    original = service("shop/reviews", http=80, grpc=9090)
    copy = choice(given(original, service("alice/reviews", http=8080)), original).copy
    assert copy is not None
    targets = [copy.target(port) for port in original.ports]
    assert [None if target is None else target.number for target in targets] == [8080, None]


def test_a_copy_is_looked_up_by_its_key() -> None:
    assert given(service("alice/reviews")).service(Key("alice", "reviews")) is not None
