"""Callers: pods that ask, each with an Envoy of the rig's mode, or without any."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from controlplane.server import ControlPlane
from mesh import sidecar
from mesh.cluster import Cluster
from mesh.errors import MeshError
from mesh.pod import ADMIN, Place, Pod
from mesh.programs import Programs
from mesh.sidecar import GATEWAY, SIDECAR, Proxy

NODE = "node"
MUTUAL_TLS = {"security.istio.io/tlsMode": "istio"}
"""Without this label on the Pod behind an endpoint, Istio sends to it in plain text, and says nothing."""


class Mode(StrEnum):
    """How much of a mesh a caller has."""

    FULL = "full"
    SMALL = "small"


@dataclass(frozen=True, slots=True)
class Caller:
    """A pod that asks, and its Envoy; one outside the mesh has none."""

    pod: Pod
    proxy: Proxy | None


class Callers:
    """The pods of one rig, by name: a namespace's own caller is named like the namespace."""

    def __init__(self, mode: Mode, directory: Path, plane: ControlPlane, programs: Programs) -> None:
        self._mode, self._directory, self._plane, self._programs = mode, directory, plane, programs
        self._cluster = Cluster(plane)
        self._found: dict[str, Caller] = {}
        self._serials = itertools.count(1)
        directory.mkdir()
        # Without it, Kubernetes' own controller passes over the Pods that are on it.
        self._cluster.put({"kind": "Node", "metadata": {"name": NODE}})

    def __getitem__(self, name: str) -> Caller:
        if name not in self._found:
            raise MeshError(f"there is no caller {name}; there are {', '.join(self._found)}")
        return self._found[name]

    @property
    def proxies(self) -> list[Proxy]:
        """The Envoys of all of them."""
        return [caller.proxy for caller in self._found.values() if caller.proxy is not None]

    def ensure(self, namespaces: Iterable[str]) -> None:
        """Have a caller in each of these namespaces; those that are missing start side by side."""
        missing = [name for name in dict.fromkeys(namespaces) if name not in self._found]
        pods = [self.start_pod(name, f"caller-{name}") for name in missing]
        for name, pod in zip(missing, pods, strict=True):
            self._found[name] = self._equip(pod, SIDECAR)
        for name in missing:
            self._wait_for(self._found[name])

    def add(self, name: str, namespace: str, role: str | None) -> Caller:
        """Start a further pod: a sidecar's, a gateway, or one outside the mesh (None)."""
        caller = self._equip(self.start_pod(namespace, name), role)
        self._wait_for(caller)
        self._found[name] = caller
        return caller

    def start_pod(self, namespace: str, name: str, *ranges: str) -> Pod:
        """Start a pod without waiting for it; `ranges` are further addresses that are its own."""
        place = Place(namespace, name, (f"198.18.1.{next(self._serials)}", *ranges))
        return Pod.start(place, self._directory / f"{namespace}.{name}", self._plane.supervisor)

    def join(self, pod: Pod) -> None:
        """Connect a pod's network."""
        pod.join(int(pod.place.ip.rpartition(".")[2]))

    def _equip(self, pod: Pod, role: str | None) -> Caller:
        self._ensure_namespace(pod.place.namespace)
        self.join(pod)
        if role is None:
            return Caller(pod, None)
        if self._mode is Mode.SMALL:
            return Caller(pod, sidecar.start_bare(self._programs, pod))
        labels = {"app": pod.place.name, **({"istio": "ingressgateway"} if role == GATEWAY else MUTUAL_TLS)}
        self._make_pod_object(pod.place, labels)
        return Caller(pod, sidecar.start_agent(self._plane, self._programs, pod, labels, role))

    def _wait_for(self, caller: Caller) -> None:
        if caller.proxy is not None:
            sidecar.wait_ready(caller.proxy, sidecar.READY if self._mode is Mode.FULL else f"{ADMIN}/ready")

    def _ensure_namespace(self, name: str) -> None:
        if self._cluster.get("Namespace", "", name) is None:
            self._cluster.put({"kind": "Namespace", "metadata": {"name": name}})

    def _make_pod_object(self, place: Place, labels: dict[str, str]) -> None:
        """Make the Pod that stands for a pod in the API: running and ready, as a kubelet says."""
        metadata = {"name": place.name, "namespace": place.namespace, "labels": labels}
        # Callers expect the account in the certificate of whoever answers.
        spec = {"nodeName": NODE, "serviceAccountName": "default", "containers": [{"name": "app", "image": "none"}]}
        self._cluster.put({"kind": "Pod", "metadata": metadata, "spec": spec})
        self._cluster.patch("Pod", place.namespace, place.name, {"status": pod_status(place.ip, ready=True)}, "/status")


def pod_status(ip: str, *, ready: bool) -> dict[str, object]:
    """Return what a kubelet says of a Pod that runs."""
    condition = {"type": "Ready", "status": str(ready)}
    return {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": [condition]}
