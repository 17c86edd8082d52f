"""What tests put into the cluster, and how it is taken away again; each object as its owner writes it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from controlplane.errors import ApiError
from controlplane.server import ControlPlane
from controlplane.waiting import wait_for
from mesh.lines import Json
from rendered import plan_rendered
from virtualservice_operator.core.objects import ClusterObject, Key, Service
from virtualservice_operator.core.ownership import assigned_key
from virtualservice_operator.core.resolution import PlanSettings
from virtualservice_operator.core.snapshot import Snapshot
from virtualservice_operator.kube.decode import DECODERS
from virtualservice_operator.kube.informer import PATHS as WATCHED

NETWORKING, SECURITY = "networking.istio.io/v1", "security.istio.io/v1"
KINDS: Mapping[str, tuple[str, str]] = {
    "Namespace": ("v1", "namespaces"),
    "Node": ("v1", "nodes"),
    "Service": ("v1", "services"),
    "Pod": ("v1", "pods"),
    "EndpointSlice": ("discovery.k8s.io/v1", "endpointslices"),
    "DestinationRule": (NETWORKING, "destinationrules"),
    "EnvoyFilter": ("networking.istio.io/v1alpha3", "envoyfilters"),
    "Gateway": (NETWORKING, "gateways"),
    "Sidecar": (NETWORKING, "sidecars"),
    "VirtualService": (NETWORKING, "virtualservices"),
    "PeerAuthentication": (SECURITY, "peerauthentications"),
    "RoutingPolicy": ("virtualservice-operator.dev/v1alpha1", "routingpolicies"),
}
"""Kinds in the order in which they are made; policies come last, so that their first plan is their last."""

WRITTEN_BY_THE_API_SERVER = {"clusterIPs", "ipFamilies", "ipFamilyPolicy"}

Identity = tuple[str, str, str]


def identity(document: Json) -> Identity:
    """Return kind, namespace and name."""
    metadata = document["metadata"]
    return document["kind"], metadata.get("namespace", ""), metadata["name"]


def path_of(kind: str, namespace: str, name: str) -> str:
    """Return where an object is."""
    version, plural = KINDS[kind]
    root = "/api" if "/" not in version else "/apis"
    within = f"/namespaces/{namespace}" if namespace else ""
    return f"{root}/{version}{within}/{plural}/{name}"


def in_order(documents: Iterable[Json]) -> list[Json]:
    """Return documents in the order in which they are made."""
    order = list(KINDS)
    return sorted(documents, key=lambda item: order.index(item["kind"]))


class Cluster:
    """What tests have put into one control plane."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self._made: dict[Identity, None] = {}

    @property
    def made(self) -> tuple[Identity, ...]:
        """What tests have made and not deleted."""
        return tuple(self._made)

    def put(self, document: Json) -> Json:
        """Create an object, or replace what its owner said of it, as `kubectl apply --server-side` does."""
        kind, namespace, name = identity(document)
        self._made[kind, namespace, name] = None
        sent = {**document, "apiVersion": KINDS[kind][0], "metadata": _own_words(document["metadata"])}
        if kind == "Service":
            sent["spec"] = {
                key: value for key, value in document["spec"].items() if key not in WRITTEN_BY_THE_API_SERVER
            }
        target = f"{path_of(kind, namespace, name)}?fieldManager=user&force=true"
        stored: Json = self.plane.request("PATCH", target, sent, "application/apply-patch+yaml")
        return stored

    def get(self, kind: str, namespace: str, name: str) -> Json | None:
        """Return an object, or None."""
        try:
            found: Json = self.plane.request("GET", path_of(kind, namespace, name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        return found

    def delete(self, kind: str, namespace: str, name: str) -> None:
        """Delete an object, which may be gone already."""
        self._made.pop((kind, namespace, name), None)
        try:
            self.plane.request("DELETE", path_of(kind, namespace, name))
        except ApiError as error:
            if error.status != 404:
                raise

    def patch(self, kind: str, namespace: str, name: str, patch: Json, subresource: str = "") -> None:
        """Merge a patch into an object."""
        target = f"{path_of(kind, namespace, name)}{subresource}?fieldManager=user"
        self.plane.request("PATCH", target, patch, "application/merge-patch+json")

    def clear(self) -> None:
        """Delete what tests have made, and wait until the operator has taken back what is its own; namespaces stay."""
        for kind in ("RoutingPolicy", *reversed(tuple(KINDS))):
            for found in [item for item in self._made if item[0] == kind]:
                if kind == "Namespace":
                    self.put({"kind": kind, "metadata": {"name": found[2]}})  # without labels and annotations
                else:
                    self.delete(*found)
            if kind == "RoutingPolicy":
                wait_for(lambda: not self.operators_own(), what="the operator to take back what it made")
        self._made = {found: None for found in self._made if found[0] == "Namespace"}

    def operators_own(self) -> list[Key]:
        """Return what bears the operator's mark."""
        snapshot = self.snapshot()
        written = (item.key for item in snapshot.all_virtual_services() if item.marked)
        return sorted([*written, *(item.key for item in snapshot.all_placeholders())])

    def unfinished(self) -> list[str]:
        """Return what the operator has still to do: where the cluster is not as a plan from scratch would have it."""
        snapshot = self.snapshot()
        places = {item.key for item in snapshot.all_of(Service)}
        places |= {assigned_key(item) for item in snapshot.all_virtual_services() if item.marked}
        plans = (plan_rendered(snapshot, key, time.time()) for key in sorted(places))
        changes = [f"{change.action} {change.target}: {change.why}" for plan in plans for change in plan.changes]
        unseen = [policy for policy in self._policies() if not _is_seen(policy)]
        return [*changes, *(f"status of policy {policy['metadata']['name']}" for policy in unseen)]

    def snapshot(self) -> Snapshot:
        """Return the cluster as it is stored, from fresh lists."""
        objects: list[ClusterObject] = []
        for kind, path in WATCHED.items():
            objects.extend(DECODERS[kind](raw) for raw in self.plane.request("GET", path)["items"])
        return Snapshot(PlanSettings(), objects)

    def _policies(self) -> list[Json]:
        version, plural = KINDS["RoutingPolicy"]
        return list(self.plane.request("GET", f"/apis/{version}/{plural}")["items"])


def _is_seen(policy: Json) -> bool:
    """Tell whether the operator has carried out a policy as it is now."""
    return bool(policy["status"].get("observedGeneration") == policy["metadata"]["generation"])


def _own_words(metadata: Json) -> Json:
    """Return what a user says of an object, without what only an API server can give."""
    kept = ("name", "namespace", "labels", "annotations")
    return {key: metadata[key] for key in kept if key in metadata}
