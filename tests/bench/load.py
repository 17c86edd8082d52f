"""What the counts and the benchmark share: many Services, a bare client, and reading what the API server counted."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from controlplane.metrics import count_requests
from controlplane.server import ControlPlane
from virtualservice_operator.kube.client import KubeClient
from virtualservice_operator.kube.connection import Source

DEVELOPERS = ("alice", "bob")
IN_FLIGHT = 8
NAMESPACE = "shop"
VIRTUAL_SERVICES = f"/apis/networking.istio.io/v1/namespaces/{NAMESPACE}/virtualservices"
POLICY_PATH = f"/apis/virtualservice-operator.dev/v1alpha1/namespaces/{NAMESPACE}/routingpolicies"
POLICY = {
    "apiVersion": "virtualservice-operator.dev/v1alpha1",
    "kind": "RoutingPolicy",
    "metadata": {"name": "defaults"},
    "spec": {"developers": [{"name": name} for name in DEVELOPERS]},
}


def load_services(plane: ControlPlane, count: int, developers: Sequence[str] = DEVELOPERS) -> None:
    """Create `count` Services, a copy of each for every developer, and their namespaces."""
    namespaces = (NAMESPACE, *developers)
    for namespace in namespaces:
        plane.request("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
    asyncio.run(_load_services(plane.kubeconfig, count, namespaces))


async def _load_services(kubeconfig: Path, count: int, namespaces: Sequence[str]) -> None:
    async with KubeClient(Source(str(kubeconfig))) as client:

        async def create(place: tuple[str, int]) -> None:
            namespace, number = place
            spec = {"ports": [{"name": "http", "port": 80}], "selector": {"app": f"s{number}"}}
            service = {"metadata": {"name": f"s{number:05d}"}, "spec": spec}
            await client.request("POST", f"/api/v1/namespaces/{namespace}/services", body=service)

        places = [(namespace, number) for namespace in namespaces for number in range(count)]
        await in_flight(create, places, 2 * IN_FLIGHT)


async def in_flight(send: Callable[[Any], Awaitable[None]], items: Iterable[Any], width: int) -> None:
    """Send for each item, `width` at a time."""
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await send(item)

    await asyncio.gather(*(worker() for _ in range(width)))


def send_bare(plane: ControlPlane, documents: Sequence[dict[str, Any]]) -> float:
    """Create the documents with the operator's own requests, eight in flight, and return the seconds it took."""
    return asyncio.run(_send_bare(plane.kubeconfig, documents))


async def _send_bare(kubeconfig: Path, documents: Sequence[dict[str, Any]]) -> float:
    async with KubeClient(Source(str(kubeconfig))) as client:
        started = time.monotonic()
        await in_flight(client.create_virtual_service, documents, IN_FLIGHT)
        return time.monotonic() - started


def written_documents(plane: ControlPlane) -> list[dict[str, Any]]:
    """Return the VirtualServices that stand in the cluster, as they were sent."""
    kept = ("name", "namespace", "labels", "annotations", "ownerReferences")
    items = plane.request("GET", VIRTUAL_SERVICES)["items"]
    return [
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "VirtualService",
            "metadata": {key: item["metadata"][key] for key in kept if key in item["metadata"]},
            "spec": item["spec"],
        }
        for item in items
    ]


def virtual_service_writes(plane: ControlPlane) -> int:
    """Return how many writes of VirtualServices the API server has counted, whatever their outcome."""
    text = plane.metrics()
    return sum(
        count_requests(text, verb=verb, resource="virtualservices")
        for verb in ("POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION")
    )


def status_writes(plane: ControlPlane) -> int:
    """Return how many writes of policies' status the API server has counted."""
    text = plane.metrics()
    return sum(
        count_requests(text, verb=verb, resource="routingpolicies", subresource="status") for verb in ("PATCH", "APPLY")
    )


def programmed(plane: ControlPlane) -> int:
    """Return how many Services the policy says are programmed, once it is Ready at its generation."""
    policy = plane.request("GET", f"{POLICY_PATH}/defaults")
    status = policy.get("status", {})
    if status.get("observedGeneration") != policy["metadata"]["generation"]:
        return -1
    return int(status["programmedServices"])


def wait_for(what: str, holds: Callable[[], bool], seconds: float) -> None:
    """Return when something is true; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.05)
