"""Backends: each Service has an address of its own, behind which somebody says which Service it is."""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from mesh.cluster import Cluster
from mesh.lines import Json
from mesh.pod import Pod

RANGE = "198.19.0.0/16"
SERVICE_NAME = "kubernetes.io/service-name"
SLICE_OF_TESTS = {"endpointslice.kubernetes.io/managed-by": "the-tests"}


class Backends:
    """
    The backends of one rig; all of them live in one pod, which has a whole range of addresses.

    A Service gets its endpoint from here, unless the documents have an EndpointSlice for it: then that says how many
    there are and which are ready, and the addresses in it are replaced by real ones.
    """

    def __init__(self, pod: Pod) -> None:
        self._pod = pod
        self._addresses: dict[tuple[str, int], str] = {}
        self._free = map(str, itertools.islice(ipaddress.ip_network(RANGE).hosts(), 1, None))

    def address(self, name: str, number: int = 0) -> str:
        """Return an address of a backend, `name.namespace`; each of its endpoints has one."""
        if (name, number) not in self._addresses:
            self._addresses[name, number] = next(self._free)
        return self._addresses[name, number]

    def serve(self, cluster: Cluster, documents: Sequence[Json]) -> None:
        """Put a backend behind each Service of the documents that can have one."""
        given = {_served(item): item for item in documents if item["kind"] == "EndpointSlice"}
        for service in (item for item in documents if item["kind"] == "Service"):
            if service["spec"].get("type") != "ExternalName" and service["spec"].get("ports"):
                self.serve_one(cluster, service, given.get(_name(service)))

    def serve_one(self, cluster: Cluster, service: Json, given: Json | None = None) -> None:
        """Put a backend behind one Service, and say so in an EndpointSlice."""
        ports = list(_ports(service))
        ready = [item["conditions"]["ready"] for item in given["endpoints"]] if given else [True]
        for number, port in itertools.product(range(len(ready)), ports):
            self.listen(_name(service), port["target"], "grpc" if _speaks_grpc(port) else "http", number)
        cluster.put(self._slice(service, ports, ready))

    def listen(self, name: str, port: int, protocol: str = "http", number: int = 0) -> None:
        """Answer as `name` at one of its addresses."""
        self._pod.ask("listen", name=name, ip=self.address(name, number), port=port, protocol=protocol)

    def _slice(self, service: Json, ports: list[Json], ready: list[bool]) -> Json:
        metadata, name = service["metadata"], _name(service)
        addresses = [self.address(name, number) for number in range(len(ready))]
        labels = {SERVICE_NAME: metadata["name"], **SLICE_OF_TESTS}
        return {
            "kind": "EndpointSlice",
            "metadata": {"name": slice_name(metadata["name"]), "namespace": metadata["namespace"], "labels": labels},
            "addressType": "IPv4",
            "ports": [{"name": port.get("name", ""), "port": port["target"], "protocol": "TCP"} for port in ports],
            "endpoints": [
                {"addresses": [address], "conditions": {"ready": item}}
                for address, item in zip(addresses, ready, strict=True)
            ],
        }


def slice_name(service: str) -> str:
    """Return the name of the EndpointSlice of a Service's backend."""
    return f"{service}-tests"


def _name(service: Json) -> str:
    return f"{service['metadata']['name']}.{service['metadata']['namespace']}"


def _served(found: Json) -> str:
    return f"{found['metadata']['labels'][SERVICE_NAME]}.{found['metadata']['namespace']}"


def _ports(service: Json) -> Iterator[Json]:
    """Yield the TCP ports of a Service with the number on which its backend listens."""
    for port in service["spec"]["ports"]:
        if port.get("protocol", "TCP") == "TCP":
            target: Any = port.get("targetPort")
            yield {**port, "target": target if isinstance(target, int) else port["port"]}


def _speaks_grpc(port: Json) -> bool:
    said = port.get("appProtocol") or port.get("name", "")
    return bool(said.startswith("grpc"))
