"""What Istio does beyond the tables: mutual TLS, gateways, validation, copies that real Pods make ready."""

from __future__ import annotations

import json
from typing import Any

import pytest

from controlplane.errors import ApiError
from controlplane.waiting import wait_for
from mesh.analysis import analyze
from mesh.callers import NODE, Caller, pod_status
from mesh.requests import Answer, Request
from mesh.rig import Rig
from mesh.sidecar import GATEWAY, SIDECAR
from traffic.conftest import stand
from traffic.objects import developers, namespaces, policy, service, virtual_service

TO_ALICE = Request("shop", "reviews.shop", headers={"x-developer": "alice"})


@pytest.fixture(scope="session")
def strict_copy(rig: Rig) -> Caller:
    """A pod with a sidecar in alice's namespace, that is the backend of her copy."""
    pod = rig.callers.add("strict", "alice", SIDECAR).pod
    pod.ask("listen", name="reviews.alice", ip="0.0.0.0", port=80, protocol="http")
    return rig.callers["strict"]


@pytest.fixture(scope="session")
def outsider(rig: Rig) -> Caller:
    """A pod outside the mesh."""
    return rig.callers.add("outsider", "other", None)


def shop_with_a_strict_copy(rig: Rig) -> None:
    """Have alice's copy behind a selector, so that Kubernetes' own controller finds the pod, and mutual TLS required."""
    copy = service("reviews", "alice", selector={"app": "strict"})
    strict = {"kind": "PeerAuthentication", "metadata": {"name": "strict", "namespace": "alice"}}
    rig.cluster.clear()
    rig.apply([*namespaces("shop", "alice"), service("reviews", "shop")])
    rig.cluster.put(copy)
    rig.cluster.put({**strict, "spec": {"mtls": {"mode": "STRICT"}}})
    rig.cluster.put(policy("defaults", developers=developers("alice")))
    slices = (
        "/apis/discovery.k8s.io/v1/namespaces/alice/endpointslices?labelSelector=kubernetes.io/service-name%3Dreviews"
    )
    wait_for(
        lambda: any(item.get("endpoints") for item in rig.plane.request("GET", slices)["items"]),
        what="Kubernetes' own controller to find the copy's pod",
    )
    rig.settle()


def test_a_copy_that_requires_mutual_tls_answers_callers_of_the_mesh(rig: Rig, strict_copy: Caller) -> None:
    shop_with_a_strict_copy(rig)
    answer = rig.ask(TO_ALICE)
    assert answer.who == "reviews.alice", answer
    seen = {name.lower(): value for name, value in json.loads(answer.body)["headers"].items()}
    assert "URI=spiffe://cluster.local/ns/shop/sa/default" in seen["x-forwarded-client-cert"], "not by mutual TLS"


def test_a_copy_that_requires_mutual_tls_refuses_callers_outside(
    rig: Rig, strict_copy: Caller, outsider: Caller
) -> None:
    shop_with_a_strict_copy(rig)
    answer = rig.ask(Request("outsider", strict_copy.pod.place.ip))
    assert answer.who is None
    assert "reset" in str(answer.status) or "disconnected" in str(answer.status).lower(), answer


def test_a_caller_without_a_sidecar_is_not_routed(rig: Rig, outsider: Caller) -> None:
    """It has no kube-proxy here, so it asks the default's address: nobody on its way looks at the header."""
    stand(rig, (*namespaces("shop", "alice"), service("reviews", "shop"), service("reviews", "alice"), alices()))
    answer = rig.ask(Request("outsider", rig.backends.address("reviews.shop"), headers={"x-developer": "alice"}))
    assert answer.who == "reviews.shop", answer


def test_a_gateway_does_not_follow_rules_for_the_mesh(rig: Rig, outsider: Caller) -> None:
    """What comes in through a gateway is routed by the VirtualService that is bound to it, header or not."""
    gateway = rig.callers.add("gateway", "istio-ingress", GATEWAY)
    server = {"port": {"number": 8080, "name": "http", "protocol": "HTTP"}, "hosts": ["shop.example.com"]}
    route = [{"destination": {"host": "reviews.shop.svc.cluster.local"}}]
    bound = virtual_service(
        "public",
        "istio-ingress",
        hosts=["shop.example.com"],
        gateways=["public"],
        http=[{"name": "public", "route": route}],
    )
    metadata = {"name": "public", "namespace": "istio-ingress"}
    opened = {
        "kind": "Gateway",
        "metadata": metadata,
        "spec": {"selector": {"istio": "ingressgateway"}, "servers": [server]},
    }
    copies = (service("reviews", "shop"), service("reviews", "alice"))
    stand(rig, (*namespaces("shop", "alice", "istio-ingress"), *copies, opened, bound, alices()))
    headers = {"host": "shop.example.com", "x-developer": "alice"}
    answer = answered_by(rig, Request("outsider", gateway.pod.place.ip, port=8080, headers=headers), "reviews.shop")
    assert answer.status == 200
    assert rig.ask(TO_ALICE).who == "reviews.alice", "inside the mesh the same header is followed"


def test_istios_own_validation_is_asked(rig: Rig) -> None:
    """The webhook that all rows passed is the real one: it refuses what Istio cannot carry out."""
    broken = virtual_service(
        "broken", "shop", hosts=["reviews"], http=[{"match": [{"headers": {"x": {"regex": "("}}}]}]
    )
    rig.callers.ensure(["shop"])
    with pytest.raises(ApiError, match=r"validation\.istio\.io"):
        rig.cluster.put(broken)
    rig.cluster.delete("VirtualService", "shop", "broken")


def test_istioctl_analyze_finds_a_planted_fault(clean: Rig) -> None:
    """It finds what is wrong, so what it does not find in the tables is not there."""
    route = [{"destination": {"host": "nobody.shop.svc.cluster.local"}}]
    broken = virtual_service("broken", "shop", hosts=["reviews"], http=[{"name": "broken", "route": route}])
    stand(clean, (*namespaces("shop"), service("reviews", "shop"), broken))
    found = {(message.code, message.level, message.origin) for message in analyze(clean)}
    assert ("IST0101", "Error", "VirtualService shop/broken") in found, found


def test_a_pod_that_becomes_ready_takes_its_developers_requests(rig: Rig) -> None:
    """A real Pod, and Kubernetes' own EndpointSlice controller: 503 while nothing is ready, the copy as soon as it is."""
    rig.cluster.clear()
    rig.apply([*namespaces("shop", "alice"), service("reviews", "shop"), alices()])
    rig.backends.listen("reviews.alice", 80)
    rig.cluster.put(service("reviews", "alice", selector={"app": "reviews"}))
    rig.cluster.put(pod_of_alice())
    rig.settle()
    assert rig.ask(TO_ALICE).flag == "UH"
    ready = pod_status(rig.backends.address("reviews.alice"), ready=True)
    rig.cluster.patch("Pod", "alice", "reviews", {"status": ready}, "/status")
    assert answered_by(rig, TO_ALICE, "reviews.alice").status == 200


def pod_of_alice() -> dict[str, Any]:
    metadata = {"name": "reviews", "namespace": "alice", "labels": {"app": "reviews"}}
    return {
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"nodeName": NODE, "containers": [{"name": "a", "image": "none"}]},
    }


def alices() -> dict[str, Any]:
    return policy("defaults", developers=developers("alice"))


def answered_by(rig: Rig, request: Request, who: str) -> Answer:
    """Ask until somebody answers; the change on the way has no beacon, for it is Kubernetes' own."""
    for _ in range(200):
        answer = rig.ask(request)
        if answer.who == who:
            return answer
    raise AssertionError(f"{request} was never answered by {who}; last: {answer}")
