from typing import Any

import pytest

from builders import decode, managed, namespace, policy, service, virtual_service
from virtualservice_operator.core.objects import Key, Namespace, Policy, Service, VirtualService
from virtualservice_operator.kube.decode import (
    DECODERS,
    decode_namespace,
    decode_policy,
    decode_service,
    decode_virtual_service,
    is_http,
)


# After istio/istio:pkg/config/kube/conversion.go, ConvertProtocol, and pkg/config/protocol/instance.go, Parse.
@pytest.mark.parametrize(
    ("name", "app_protocol", "expected"),
    [
        pytest.param("http", None, True, id="http"),
        pytest.param("http-metrics", None, True, id="http-…"),
        pytest.param("http-2-x", None, True, id="http with two hyphens"),
        pytest.param("HTTP-Web", None, True, id="another case"),
        pytest.param("http2", None, True, id="http2"),
        pytest.param("http_proxy", None, True, id="http_proxy"),
        pytest.param("grpc", None, True, id="grpc"),
        pytest.param("grpc-api", None, True, id="grpc-…"),
        pytest.param("grpc-web", None, True, id="grpc-web"),
        pytest.param("grpc-web-ui", None, True, id="grpc-web-…"),
        pytest.param("grpc-webish", None, True, id="grpc-web and more"),
        pytest.param("tcp", None, False, id="tcp"),
        pytest.param("tcp-http", None, False, id="tcp-http"),
        pytest.param("https", None, False, id="https"),
        pytest.param("https-admin", None, False, id="https-…"),
        pytest.param("tls", None, False, id="tls"),
        pytest.param("mongo", None, False, id="mongo"),
        pytest.param("redis-main", None, False, id="redis-…"),
        pytest.param("mysql", None, False, id="mysql"),
        pytest.param("udp", None, False, id="udp by name"),
        pytest.param("", None, True, id="no name: sniffed"),
        pytest.param("web", None, True, id="a name that says nothing: sniffed"),
        pytest.param("httpx", None, True, id="httpx: sniffed"),
        pytest.param("h2c", None, True, id="h2c by name: sniffed"),
        pytest.param("web-http", None, True, id="http at the end: sniffed"),
        pytest.param("postgres", None, True, id="postgres, which Istio does not know: sniffed"),
        pytest.param("tcp", "http", True, id="appProtocol goes before the name"),
        pytest.param("http", "tcp", False, id="appProtocol goes before the name, the other way"),
        pytest.param("tcp", "HTTP", True, id="appProtocol of another case"),
        pytest.param("", "grpc", True, id="appProtocol grpc"),
        pytest.param("", "grpc-web", True, id="appProtocol grpc-web"),
        pytest.param("", "https", False, id="appProtocol https"),
        pytest.param("tcp", "kubernetes.io/h2c", True, id="appProtocol h2c"),
        pytest.param("tcp", "kubernetes.io/ws", True, id="appProtocol ws"),
        pytest.param("http", "kubernetes.io/wss", False, id="appProtocol wss"),
        pytest.param("tcp", "example.com/custom", True, id="appProtocol that Istio does not know: sniffed"),
        pytest.param("http", None, True, id="http on the port of a protocol whose server speaks first"),
    ],
)
def test_a_port_is_http_as_istio_sees_it(name: str, app_protocol: str | None, *, expected: bool) -> None:
    assert is_http(8080, name, "TCP", app_protocol) is expected


@pytest.mark.parametrize("number", [25, 53, 3306, 27017])
def test_a_port_whose_server_speaks_first_is_not_sniffed(number: int) -> None:
    assert not is_http(number, "", "TCP", None)


@pytest.mark.parametrize("number", [25, 53, 3306, 27017])
def test_a_port_whose_server_speaks_first_is_http_where_it_says_so(number: int) -> None:
    assert is_http(number, "http", "TCP", None)


@pytest.mark.parametrize("transport", ["UDP", "SCTP"])
def test_only_tcp_carries_http(transport: str) -> None:
    assert not is_http(80, "http", transport, "http")


# ---- Services


def test_a_service_is_decoded_whole() -> None:
    raw = {
        "metadata": {
            "name": "reviews",
            "namespace": "shop",
            "resourceVersion": "42",
            "labels": {"tier": "api"},
            "annotations": {"virtualservice-operator.dev/copy-of": "market/reviews", "other": "x"},
        },
        "spec": {"clusterIP": "10.0.0.1", "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]},
    }
    found = decode_service(raw)
    assert (found.key, found.version) == (Key("shop", "reviews"), 42)
    assert found.labels == {"tier": "api"}
    assert [(port.name, port.number, port.http) for port in found.ports] == [("http", 80, True)]
    assert found.copy_of == "market/reviews"
    assert not found.external_name
    assert not found.headless
    assert not found.gateway
    assert not found.placeholder
    assert not found.ignored


def test_a_service_without_labels_annotations_and_ports_is_decoded() -> None:
    found = decode_service({"metadata": {"name": "reviews", "namespace": "shop", "resourceVersion": "1"}})
    assert (dict(found.labels), found.ports, found.copy_of) == ({}, (), None)


def test_labels_and_annotations_that_are_null_count_as_none() -> None:
    metadata = {"name": "a", "namespace": "b", "resourceVersion": "1", "labels": None, "annotations": None}
    assert dict(decode_service({"metadata": metadata, "spec": {"ports": None}}).labels) == {}


def test_ports_keep_their_order_and_http_ports_are_sorted_by_number() -> None:
    found = service("shop/reviews", http=8080, tcp=5432, grpc=443)
    assert [port.number for port in found.ports] == [8080, 5432, 443]
    assert [port.number for port in found.http_ports] == [443, 8080]


def test_an_unnamed_port_is_called_by_its_number() -> None:
    (port,) = service("shop/reviews", ports=[{"port": 8080}]).ports
    assert (port.name, port.label) == ("", "8080")


@pytest.mark.parametrize(
    ("address", "expected"),
    [pytest.param("None", True, id="None"), pytest.param("10.0.0.1", False, id="one"), pytest.param("", False, id="")],
)
def test_headless_is_what_has_the_address_none(address: str, *, expected: bool) -> None:
    assert service("shop/reviews", spec={"clusterIP": address}).headless is expected


def test_dual_stack_is_not_headless() -> None:
    spec = {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"], "ipFamilyPolicy": "RequireDualStack"}
    assert not service("shop/reviews", spec=spec).headless


@pytest.mark.parametrize("value", ["True", "yes", "1", ""])
def test_only_the_word_true_ignores_a_service(value: str) -> None:
    assert not service("shop/reviews", annotations={"virtualservice-operator.dev/ignore": value}).ignored


# ---- Namespaces


def test_a_namespace_is_decoded() -> None:
    found = decode_namespace({"metadata": {"name": "dev-alice", "resourceVersion": "7", "labels": {"a": "b"}}})
    assert (found.key, found.version, dict(found.labels), found.terminating) == (
        Key("", "dev-alice"),
        7,
        {"a": "b"},
        False,
    )


def test_a_namespace_that_is_being_deleted_is_terminating() -> None:
    assert namespace("dev-alice", terminating=True).terminating


# ---- policies


def test_a_policy_is_decoded() -> None:
    found = policy("shop/defaults", {"priority": 5}, uid="u", generation=3)
    assert (found.key, found.version, found.uid, found.generation) == (Key("shop", "defaults"), 1, "u", 3)
    assert (found.problems, found.departing, found.observed_generation, found.conditions) == ((), False, None, ())
    assert found.spec is not None
    assert found.spec.priority == 5


def test_a_policy_without_spec_counts_as_one_with_an_empty_spec() -> None:
    found = decode_policy({"metadata": {"name": "a", "namespace": "b", "uid": "u", "resourceVersion": "1"}})
    assert found.spec is not None
    assert found.problems == ()


def test_what_the_status_says_is_kept() -> None:
    conditions = [{"type": "Ready", "status": "True"}]
    found = policy("shop/defaults", status={"observedGeneration": 2, "conditions": conditions})
    assert (found.observed_generation, found.conditions) == (2, ({"type": "Ready", "status": "True"},))


def test_statuses_that_differ_have_different_digests() -> None:
    assert policy("shop/a", status={"developers": 1}).status_digest != policy("shop/a").status_digest


def test_the_digest_of_a_status_does_not_depend_on_the_order_of_its_keys() -> None:
    first = policy("shop/a", status={"developers": 1, "matchedServices": 2})
    second = policy("shop/a", status={"matchedServices": 2, "developers": 1})
    assert first.status_digest == second.status_digest


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        pytest.param({"priorities": 1}, "spec.priorities: there is no such field; remove it", id="unknown field"),
        pytest.param({"priority": 1001}, "spec.priority: 1001: Input should be less than", id="limit"),
        pytest.param({"developers": [{}]}, "spec.developers[0].name: it is missing; add it", id="in a list"),
        pytest.param(
            {"matches": [{"type": "Query", "name": "x"}]}, "spec.matches[0].type: 'Query': Input", id="unknown type"
        ),
        pytest.param(
            {"developers": [{"name": "a"}, {"name": "a"}]}, "spec: developers: 'a' is listed twice", id="listed twice"
        ),
    ],
)
def test_a_spec_that_does_not_fit_becomes_a_policy_without_one_and_says_where(spec: Any, said: str) -> None:
    found = decode({"kind": "RoutingPolicy", "metadata": {"name": "a", "namespace": "b"}, "spec": spec})
    assert isinstance(found, Policy)
    assert found.spec is None
    assert said in found.problems[0]


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        pytest.param({"matches": [{"type": "Cookie"}]}, "spec.matches[0].name: name is needed", id="of an object"),
        pytest.param(
            {"defaultRoute": {"timeout": "soon"}},
            "spec.defaultRoute.timeout: 'soon': must be a number with a unit",
            id="of a field",
        ),
        pytest.param(
            {"services": {"selector": {"matchLabels": {"a b": "c"}}}},
            "spec.services.selector.matchLabels: 'a b': must be a label's key, such as app",
            id="of the key of a map",
        ),
    ],
)
def test_a_spec_that_only_breaks_rules_is_read_all_the_same(spec: Any, problem: str) -> None:
    found = policy("shop/defaults", {"foreignVirtualServices": "Keep", **spec})
    assert found.spec is not None
    assert found.spec.foreign_virtual_services == "Keep"
    (said,) = found.problems
    assert said.startswith(problem)


def test_all_problems_of_a_spec_are_said_and_each_once() -> None:
    found = policy("shop/defaults", {"priority": 1001, "matches": [{"type": "Baggage"}, {"type": "Header"}]})
    said = "name is needed for Header, Baggage and Cookie; SourceNamespace takes none"
    assert found.problems == (
        "spec.priority: 1001: Input should be less than or equal to 1000",
        f"spec.matches[0].name: {said}",
        f"spec.matches[1].name: {said}",
    )


# ---- VirtualServices


def test_a_foreign_virtual_service_is_decoded() -> None:
    found = virtual_service(
        "shop/theirs",
        "reviews",
        "shop.example.com",
        spec={"gateways": ["mesh"], "exportTo": ["."], "http": [{"route": [{"destination": {"host": "a.b.c"}}]}]},
        uid="u",
        creationTimestamp="2025-05-05T05:05:05Z",
    )
    assert (found.key, found.uid, found.created) == (Key("shop", "theirs"), "u", "2025-05-05T05:05:05Z")
    assert (found.hosts, found.gateways, found.export_to) == (("reviews", "shop.example.com"), ("mesh",), (".",))
    assert not found.marked
    assert not found.released
    assert not found.adoptable
    assert (found.service_label, found.policies, found.developers) == (None, None, None)
    assert (found.owners, found.destinations) == (frozenset(), frozenset())


def test_a_virtual_service_of_ours_is_decoded() -> None:
    found = managed(
        "shop/reviews-virtual-service",
        policies="first,second",
        leads_to=["dev-alice", "shop", "dev-alice"],
        annotations={
            "virtualservice-operator.dev/developers": "alice",
            "virtualservice-operator.dev/deleted-copies": "dev-bob",
        },
        ownerReferences=[
            {"kind": "RoutingPolicy", "name": "first", "uid": "u1"},
            {"kind": "Deployment", "name": "other", "uid": "u2"},
        ],
    )
    assert found.marked
    assert (found.service_label, found.policies, found.developers) == ("reviews", "first,second", "alice")
    assert found.destinations == {"dev-alice", "shop"}
    assert found.deleted_copies == "dev-bob"
    assert found.extras == {}
    assert found.owners == {("first", "u1")}


@pytest.mark.parametrize("value", ["somebody-else", "Virtualservice-Operator", ""])
def test_only_our_own_value_of_the_label_is_the_mark(value: str) -> None:
    assert not virtual_service("shop/a", labels={"app.kubernetes.io/managed-by": value}).marked


def test_a_virtual_service_can_be_released_and_offered() -> None:
    annotations = {"virtualservice-operator.dev/managed": "false", "virtualservice-operator.dev/adopt": "true"}
    found = virtual_service("shop/a", annotations=annotations)
    assert (found.released, found.adoptable) == (True, True)


def test_a_virtual_service_without_a_spec_is_decoded() -> None:
    found = decode_virtual_service(
        {"metadata": {"name": "a", "namespace": "b", "uid": "u", "resourceVersion": "1", "creationTimestamp": "t"}}
    )
    assert found.hosts == ()


def test_field_managers_of_the_spec_other_than_ours_are_kept() -> None:
    fields = [
        {"manager": "kubectl", "fieldsV1": {"f:spec": {}}},
        {"manager": "argocd", "fieldsV1": {"f:spec": {}}},
        {"manager": "labeller", "fieldsV1": {"f:metadata": {}}},
        {"manager": "virtualservice-operator", "fieldsV1": {"f:spec": {}}},
    ]
    assert virtual_service("shop/a", managedFields=fields).managers == ("argocd", "kubectl")


def test_equal_specs_have_equal_digests_whatever_the_order_of_keys() -> None:
    first = virtual_service("shop/a", spec={"exportTo": ["."], "http": []})
    second = virtual_service("shop/a", spec={"http": [], "exportTo": ["."]})
    assert first.spec_digest == second.spec_digest


def test_specs_that_differ_in_the_order_of_rules_have_different_digests() -> None:
    first = virtual_service("shop/a", spec={"http": [{"name": "a"}, {"name": "b"}]})
    second = virtual_service("shop/a", spec={"http": [{"name": "b"}, {"name": "a"}]})
    assert first.spec_digest != second.spec_digest


@pytest.mark.parametrize("kind", [Service, Namespace, Policy, VirtualService])
def test_every_kind_has_a_decoder(kind: type) -> None:
    assert kind in DECODERS
