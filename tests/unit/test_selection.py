from typing import Any

import pytest

from builders import policy, service, spec_of
from virtualservice_operator.core.objects import Service
from virtualservice_operator.core.selection import governs, skip_finding

REVIEWS = service("shop/reviews", labels={"tier": "api"})
BY_LABEL = {"matchLabels": {"tier": "api"}}


@pytest.mark.parametrize(
    ("services", "expected"),
    [
        pytest.param(None, True, id="no selection"),
        pytest.param({}, True, id="empty selection"),
        pytest.param({"names": ["orders", "reviews"]}, True, id="named"),
        pytest.param({"names": ["orders"]}, False, id="not named"),
        pytest.param({"names": ["review"]}, False, id="named in part only"),
        pytest.param({"excludedNames": ["reviews"]}, False, id="excluded"),
        pytest.param({"excludedNames": ["orders"]}, True, id="another one excluded"),
        pytest.param({"names": ["reviews"], "excludedNames": ["reviews"]}, False, id="named and excluded"),
        pytest.param({"selector": BY_LABEL}, True, id="selected"),
        pytest.param({"selector": {"matchLabels": {"tier": "web"}}}, False, id="not selected"),
        pytest.param({"selector": {}}, True, id="selector empty"),
        pytest.param({"names": ["orders"], "selector": BY_LABEL}, False, id="selected and not named"),
        pytest.param({"excludedNames": ["reviews"], "selector": BY_LABEL}, False, id="selected and excluded"),
    ],
)
def test_a_policy_governs_what_satisfies_all_that_is_set(services: dict[str, Any] | None, *, expected: bool) -> None:
    spec = {} if services is None else {"services": services}
    assert governs(spec_of(policy("shop/defaults", spec)), REVIEWS) is expected


def test_a_service_without_labels_is_governed_by_an_exclusion_by_label() -> None:
    selector = {"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["database"]}]}
    assert governs(spec_of(policy("shop/defaults", {"services": {"selector": selector}})), service("shop/orders"))


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        pytest.param(service("default/kubernetes", https=443), "System", id="the API server's own"),
        pytest.param(
            service("shop/reviews", annotations={"virtualservice-operator.dev/ignore": "true"}), "Ignored", id="ignored"
        ),
        pytest.param(
            service("shop/reviews", annotations={"virtualservice-operator/placeholder-service": "true"}),
            "Placeholder",
            id="placeholder",
        ),
        pytest.param(
            service("shop/reviews", spec={"type": "ExternalName", "externalName": "example.com"}),
            "ExternalName",
            id="external name",
        ),
        pytest.param(
            service("shop/reviews", labels={"gateway.networking.k8s.io/gateway-name": "public"}),
            "Gateway",
            id="of a Gateway",
        ),
        pytest.param(
            service("shop/reviews", labels={"operator.istio.io/component": "IngressGateways"}),
            "Gateway",
            id="Istio's ingress gateway",
        ),
        pytest.param(
            service("shop/reviews", labels={"operator.istio.io/component": "EgressGateways"}),
            "Gateway",
            id="Istio's egress gateway",
        ),
        pytest.param(service("shop/reviews", spec={"clusterIP": "None"}), "Headless", id="headless"),
        pytest.param(service("shop/reviews", tcp=5432), "NoHTTPPort", id="TCP only"),
        pytest.param(service("shop/reviews", ports=[]), "NoHTTPPort", id="no port at all"),
        pytest.param(
            service("shop/reviews", ports=[{"name": "http", "port": 80, "protocol": "UDP"}]), "NoHTTPPort", id="UDP"
        ),
    ],
)
def test_a_service_that_cannot_be_routed_is_skipped_with_its_reason(found: Service, reason: str) -> None:
    finding = skip_finding(found)
    assert finding is not None
    assert finding.reason == reason


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(service("shop/reviews"), id="an ordinary one"),
        pytest.param(service("shop/kubernetes"), id="named kubernetes elsewhere"),
        pytest.param(service("default/reviews"), id="in the namespace default"),
        pytest.param(
            service("shop/reviews", annotations={"virtualservice-operator.dev/ignore": "false"}), id="ignore: false"
        ),
        pytest.param(
            service("shop/reviews", labels={"operator.istio.io/component": "Pilot"}), id="another part of Istio"
        ),
        pytest.param(service("shop/reviews", spec={"clusterIP": "10.0.0.1"}), id="with an address"),
        pytest.param(service("shop/reviews", spec={"type": "LoadBalancer"}), id="of type LoadBalancer"),
        pytest.param(service("shop/reviews", tcp=5432, http=80), id="HTTP beside TCP"),
        pytest.param(
            service("shop/reviews", annotations={"virtualservice-operator.dev/copy-of": "market/reviews"}),
            id="a copy of another",
        ),
    ],
)
def test_any_other_service_is_routed(found: Service) -> None:
    assert skip_finding(found) is None


def test_what_the_owner_asked_for_is_said_first() -> None:
    both = service(
        "shop/reviews", annotations={"virtualservice-operator.dev/ignore": "true"}, spec={"clusterIP": "None"}
    )
    finding = skip_finding(both)
    assert finding is not None
    assert finding.reason == "Ignored"
