"""
The guard against stale configuration: an Envoy that refuses an update goes on answering by the old one, without a word.

A beacon is planted after a change: a Service with an endpoint and a VirtualService, all with a number of their own. An
Envoy that shows all three has everything that was in the cluster before, because istiod hears of each kind in order, and
what it sends is made of all that it has heard. So:

    the change → istiod has it → the beacon → the Envoy shows the beacon, warms nothing, and has refused nothing
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterable, Iterator
from typing import Any

from controlplane.waiting import wait_for
from mesh.cluster import KINDS, Cluster
from mesh.errors import StaleConfigurationError
from mesh.istiod import Istiod
from mesh.lines import Json
from mesh.sidecar import GATEWAY, Proxy

NAMESPACE = "beacon"
SECONDS = 30.0
ROUTES = "/config_dump?resource=dynamic_route_configs"
STATS = "/stats?filter=(update_rejected|warming)"
ISTIOS_OWN = ("DestinationRule", "EnvoyFilter", "Gateway", "PeerAuthentication", "Sidecar", "VirtualService")


class Beacons:
    """Beacons in one cluster, one at a time."""

    def __init__(self, cluster: Cluster, istiod: Istiod) -> None:
        self._cluster, self._istiod = cluster, istiod
        self._numbers: Iterator[int] = itertools.count(1)
        self._planted = 0
        self._lock = threading.Lock()
        cluster.put({"kind": "Namespace", "metadata": {"name": NAMESPACE}})

    def settle(self, proxies: Iterable[Proxy], seconds: float = SECONDS) -> None:
        """
        Return when every Envoy has all that is in the cluster now.

        Errors: `StaleConfigurationError` for one that refused an update, or has not got there in time.
        """
        with self._lock:
            wait_for(self._istiod_has_all, what="istiod to hear of every object of Istio's", timeout=seconds)
            number = self._plant()
            for proxy in proxies:
                _wait_for(proxy, number, seconds)
                refuse_stale(proxy, self._istiod)

    def _istiod_has_all(self) -> bool:
        known = self._istiod.resource_versions()
        return {key: version for key, version in known.items() if key[0] in ISTIOS_OWN} == dict(self._stored())

    def _stored(self) -> Iterator[tuple[tuple[str, str, str], str]]:
        for kind in ISTIOS_OWN:
            version, plural = KINDS[kind]
            for item in self._cluster.plane.request("GET", f"/apis/{version}/{plural}")["items"]:
                metadata = item["metadata"]
                yield (kind, metadata["namespace"], metadata["name"]), metadata["resourceVersion"]

    def _plant(self) -> int:
        """Take the last beacon away and plant the next."""
        number = next(self._numbers)
        for kind in ("VirtualService", "EndpointSlice", "Service"):
            self._cluster.delete(kind, NAMESPACE, f"beacon-{self._planted}")
        for document in _documents(number):
            self._cluster.put(document)
        self._planted = number
        return number


def refuse_stale(proxy: Proxy, istiod: Istiod) -> None:
    """Raise `StaleConfigurationError` if an Envoy has refused an update: what it answers proves nothing any more."""
    stats = _stats(proxy)
    refused = [name for name, value in stats.items() if name.endswith("update_rejected") and value]
    if refused or istiod.refusals():
        said = [line for line in proxy.log.read_text(errors="replace").splitlines() if "rejected" in line]
        raise StaleConfigurationError(
            f"Envoy of {proxy.pod.place.namespace}/{proxy.pod.place.name} refused an update and answers by the old "
            f"configuration: {', '.join(refused)}\n" + "\n".join([*said[-3:], *istiod.refusals()[-3:]])
        )


def routes(proxy: Proxy) -> Json:
    """Return the route configurations of an Envoy by name."""
    dump = json.loads(proxy.pod.admin(ROUTES))
    found = (item["route_config"] for item in dump.get("configs", ()))
    return {item["name"]: item for item in found}


def virtual_hosts(proxy: Proxy) -> Iterator[tuple[str, Json]]:
    """Yield each virtual host of an Envoy with the name of its route configuration."""
    for name, found in routes(proxy).items():
        for host in found.get("virtual_hosts", ()):
            yield name, host


def _wait_for(proxy: Proxy, number: int, seconds: float) -> None:
    missing: list[str] = []

    def shows() -> bool:
        missing[:] = _missing(proxy, number)
        return not missing

    try:
        wait_for(shows, what="the beacon", timeout=seconds)
    except TimeoutError as error:
        raise StaleConfigurationError(
            f"Envoy of {proxy.pod.place.namespace}/{proxy.pod.place.name} does not have the cluster's present "
            f"configuration after {seconds:g} s; it lacks {', '.join(missing)} of beacon {number}. The end of its log:\n"
            + "\n".join(proxy.log.read_text(errors="replace").splitlines()[-5:])
        ) from error


def _missing(proxy: Proxy, number: int) -> list[str]:
    """Return what an Envoy does not have yet."""
    host = f"beacon-{number}.{NAMESPACE}.svc.cluster.local"
    names = {
        route.get("name") for _, found in virtual_hosts(proxy) if host in found["domains"] for route in found["routes"]
    }
    # A gateway has no routes for the mesh: there the endpoint has to do.
    missing = [] if f"beacon-{number}" in names or proxy.role == GATEWAY else ["the route"]
    if f"{host}::{_address(number)}:80::" not in proxy.pod.admin(f"/clusters?filter={host}"):
        missing.append("the endpoint")
    warming = [name for name, value in _stats(proxy).items() if "warming" in name and value]
    return [*missing, *warming]


def _stats(proxy: Proxy) -> dict[str, int]:
    lines = (line.rpartition(": ") for line in proxy.pod.admin(STATS).splitlines())
    return {name: int(value) for name, _, value in lines if value.isdigit()}


def _address(number: int) -> str:
    return f"198.18.{128 + number // 250 % 100}.{1 + number % 250}"


def _documents(number: int) -> list[dict[str, Any]]:
    name = f"beacon-{number}"
    metadata = {"name": name, "namespace": NAMESPACE}
    host = f"{name}.{NAMESPACE}.svc.cluster.local"
    labels = {"kubernetes.io/service-name": name, "endpointslice.kubernetes.io/managed-by": "the-tests"}
    return [
        {"kind": "Service", "metadata": metadata, "spec": {"ports": [{"name": "http", "port": 80}]}},
        {
            "kind": "EndpointSlice",
            "metadata": {**metadata, "labels": labels},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 80}],
            "endpoints": [{"addresses": [_address(number)], "conditions": {"ready": True}}],
        },
        {
            "kind": "VirtualService",
            "metadata": metadata,
            "spec": {"hosts": [host], "http": [{"name": name, "route": [{"destination": {"host": host}}]}]},
        },
    ]
