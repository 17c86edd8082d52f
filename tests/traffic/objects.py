"""Short ways to write the objects of tests that need no table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mesh.lines import Json

HTTP = (("http", 80),)


def namespaces(*names: str) -> list[Json]:
    return [{"kind": "Namespace", "metadata": {"name": name}} for name in names]


def service(
    name: str,
    namespace: str,
    *ports: tuple[str, int],
    annotations: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    **spec: Any,
) -> Json:
    metadata: Json = {"name": name, "namespace": namespace}
    metadata |= {"annotations": dict(annotations)} if annotations else {}
    metadata |= {"labels": dict(labels)} if labels else {}
    listed = [{"name": port, "port": number} for port, number in ports or HTTP]
    return {"kind": "Service", "metadata": metadata, "spec": {**spec, "ports": listed}}


def endpoints(name: str, namespace: str, *ready: bool) -> Json:
    """Say how many endpoints a Service's backend has, and which are ready; the rig has their addresses."""
    metadata = {"name": f"{name}-1", "namespace": namespace, "labels": {"kubernetes.io/service-name": name}}
    found = [{"addresses": ["192.0.2.1"], "conditions": {"ready": item}} for item in ready]
    return {"kind": "EndpointSlice", "metadata": metadata, "endpoints": found}


def policy(name: str, namespace: str = "shop", **spec: Any) -> Json:
    return {"kind": "RoutingPolicy", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def virtual_service(name: str, namespace: str, **spec: Any) -> Json:
    return {"kind": "VirtualService", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def developers(*names: str) -> list[Json]:
    return [{"name": name} for name in names]
