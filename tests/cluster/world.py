"""A test's own corner of the cluster: namespaces with a prefix of their own, and short ways to say what is there."""

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from controlplane.errors import ApiError
from controlplane.server import ControlPlane

SECONDS = 40.0
POLICIES = "/apis/virtualservice-operator.dev/v1alpha1"
ISTIO = "/apis/networking.istio.io/v1"
DEVELOPER = "virtualservice-operator.dev/developer"
COPY_OF = "virtualservice-operator.dev/copy-of"
_serial: Iterator[int] = itertools.count(1)

Json = dict[str, Any]


def eventually(what: str, found: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """Return the first true answer; fail with the claim and the last answer when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (answer := found()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what}; last answer: {answer!r}")
        time.sleep(0.03)
    return answer


def steadily(what: str, holds: Callable[[], bool], seconds: float) -> None:
    """Fail as soon as something that should stay true is not."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not holds():
            raise AssertionError(f"did not stay so for {seconds:.0f} s: {what}")
        time.sleep(0.03)


def get(plane: ControlPlane, path: str) -> Json | None:
    """Return an object, or None where there is none."""
    try:
        answer: Json = plane.request("GET", path)
    except ApiError as error:
        if error.status == 404:
            return None
        raise
    return answer


@dataclass(frozen=True)
class World:
    """Namespaces `<prefix>-<name>`; everything in the methods is named by the short name."""

    plane: ControlPlane
    prefix: str

    @classmethod
    def new(cls, plane: ControlPlane) -> "World":
        """Return a world nobody else uses."""
        return cls(plane, f"w{next(_serial)}")

    def ns(self, name: str) -> str:
        """Return the real name of a namespace."""
        return f"{self.prefix}-{name}"

    def holds(self, namespace: str) -> bool:
        """Tell whether a namespace, by its real name, is one of this world's."""
        return namespace.startswith(f"{self.prefix}-")

    def host(self, name: str, namespace: str) -> str:
        """Return the full host name of a Service."""
        return f"{name}.{self.ns(namespace)}.svc.cluster.local"

    # ---- writing, as a user

    def namespace(self, name: str, developer: str | None = None) -> None:
        """Create a namespace, labelled for a developer if one is given."""
        labels = {DEVELOPER: developer} if developer else {}
        self.plane.request("POST", "/api/v1/namespaces", {"metadata": {"name": self.ns(name), "labels": labels}})

    def label(self, namespace: str, **labels: str | None) -> None:
        """Set or remove (None) labels of a namespace; `developer` is ours."""
        full = {DEVELOPER if key == "developer" else key: value for key, value in labels.items()}
        self._merge(f"/api/v1/namespaces/{self.ns(namespace)}", {"metadata": {"labels": full}})

    def service(
        self,
        name: str,
        namespace: str,
        *ports: tuple[str, int],
        annotations: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        **spec: Any,
    ) -> Json:
        """Create or replace a Service; one port http 80 unless said otherwise."""
        listed = [{"name": port, "port": number} for port, number in ports or (("http", 80),)]
        document = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "annotations": dict(annotations or {}), "labels": dict(labels or {})},
            "spec": {"selector": {"app": name}, "ports": listed, **spec},
        }
        return self._apply(f"/api/v1/namespaces/{self.ns(namespace)}/services/{name}", document)

    def policy(self, name: str, namespace: str, **spec: Any) -> Json:
        """Create or replace a policy; fields in camelCase."""
        return self._apply(*self._policy(name, namespace, spec))

    def try_policy(self, name: str, namespace: str, **spec: Any) -> Json:
        """Have the API server do all that it does for `policy`, and store nothing."""
        return self._apply(*self._policy(name, namespace, spec), "&dryRun=All")

    def virtual_service(self, name: str, namespace: str, spec: Json, **metadata: Any) -> Json:
        """Create a VirtualService by hand."""
        document = {
            "apiVersion": "networking.istio.io/v1",
            "kind": "VirtualService",
            "metadata": {"name": name, **metadata},
            "spec": spec,
        }
        answer: Json = self.plane.request("POST", f"{ISTIO}/namespaces/{self.ns(namespace)}/virtualservices", document)
        return answer

    def edit_virtual_service(self, service: str, namespace: str, patch: Json) -> None:
        """Merge a patch into the VirtualService of a Service, as a person does."""
        self._merge(self._virtual_service_path(f"{service}-virtual-service", namespace), patch)

    def delete_service(self, name: str, namespace: str) -> None:
        """Delete a Service."""
        self.plane.request("DELETE", f"/api/v1/namespaces/{self.ns(namespace)}/services/{name}")

    def delete_policy(self, name: str, namespace: str) -> None:
        """Delete a policy."""
        self.plane.request("DELETE", f"{POLICIES}/namespaces/{self.ns(namespace)}/routingpolicies/{name}")

    def delete_virtual_service(self, name: str, namespace: str) -> None:
        """Delete a VirtualService."""
        self.plane.request("DELETE", self._virtual_service_path(name, namespace))

    def delete_namespace(self, name: str) -> None:
        """Delete a namespace; the controller-manager empties it."""
        self.plane.request("DELETE", f"/api/v1/namespaces/{self.ns(name)}")

    # ---- reading

    def get(self, path: str) -> Json | None:
        """Return an object, or None."""
        return get(self.plane, path)

    def written(self, service: str, namespace: str) -> Json | None:
        """Return the VirtualService of a Service, or None."""
        return self.get(self._virtual_service_path(f"{service}-virtual-service", namespace))

    def http(self, service: str, namespace: str) -> list[Json]:
        """Return the http rules of a Service's VirtualService; empty where there is none."""
        found = self.written(service, namespace)
        return list(found["spec"]["http"]) if found is not None else []

    def rules(self, service: str, namespace: str) -> list[str]:
        """Return the names of the rules."""
        return [rule["name"] for rule in self.http(service, namespace)]

    def destination(self, service: str, namespace: str, rule: str) -> str | None:
        """Return the host that a rule leads to, if there is such a rule."""
        return next(
            (item["route"][0]["destination"]["host"] for item in self.http(service, namespace) if item["name"] == rule),
            None,
        )

    def stored_policy(self, name: str, namespace: str) -> Json:
        """Return a policy as it is stored."""
        found = self.get(f"{POLICIES}/namespaces/{self.ns(namespace)}/routingpolicies/{name}")
        assert found is not None, f"there is no policy {name}"
        return found

    def status(self, name: str, namespace: str) -> Json:
        """Return the status of a policy."""
        return dict(self.stored_policy(name, namespace).get("status", {}))

    def condition(self, name: str, namespace: str, kind: str) -> tuple[str, str] | None:
        """Return (status, reason) of a condition for the policy's present generation; None where it is not there."""
        stored = self.stored_policy(name, namespace)
        for item in stored["status"]["conditions"]:
            if item["type"] == kind and item.get("observedGeneration") == stored["metadata"]["generation"]:
                return item["status"], item["reason"]
        return None

    def message(self, name: str, namespace: str, kind: str) -> str:
        """Return the message of a condition."""
        conditions = self.status(name, namespace)["conditions"]
        return str(next(item["message"] for item in conditions if item["type"] == kind))

    def entry(self, policy: str, namespace: str, service: str) -> Json:
        """Return a Service's entry in a policy's status; empty where there is none."""
        entries = self.status(policy, namespace).get("services", [])
        return next((item for item in entries if item["name"] == service), {})

    def events(self, namespace: str) -> list[tuple[str, str]]:
        """Return (reason, policy) of each Event on a policy of a namespace."""
        found = self.get(f"/api/v1/namespaces/{self.ns(namespace)}/events") or {"items": []}
        return [(item["reason"], item["involvedObject"]["name"]) for item in found["items"]]

    def wait_event(self, reason: str, policy: str, namespace: str) -> None:
        """Return when a policy has an Event of this reason."""
        eventually(f"Event {reason} on {policy}", lambda: (reason, policy) in self.events(namespace))

    def wait_ready(self, policy: str, namespace: str) -> None:
        """Return when the policy is Ready at its present generation."""
        eventually(
            f"policy {policy} is Ready: {self.status(policy, namespace)}",
            lambda: (self.condition(policy, namespace, "Ready") or ("", ""))[0] == "True",
        )

    def wait_condition(self, policy: str, namespace: str, kind: str, expected: tuple[str, str]) -> None:
        """Return when a condition says so at the policy's present generation."""
        eventually(f"{policy}: {kind} is {expected}", lambda: self.condition(policy, namespace, kind) == expected)

    def _policy(self, name: str, namespace: str, spec: Mapping[str, Any]) -> tuple[str, Json]:
        document = {
            "apiVersion": "virtualservice-operator.dev/v1alpha1",
            "kind": "RoutingPolicy",
            "metadata": {"name": name},
            "spec": spec,
        }
        return f"{POLICIES}/namespaces/{self.ns(namespace)}/routingpolicies/{name}", document

    def _apply(self, path: str, document: Json, more: str = "") -> Json:
        query = f"fieldManager=user&force=true{more}"
        answer: Json = self.plane.request("PATCH", f"{path}?{query}", document, "application/apply-patch+yaml")
        return answer

    def _merge(self, path: str, patch: Json) -> None:
        self.plane.request("PATCH", f"{path}?fieldManager=user", patch, "application/merge-patch+json")

    def _virtual_service_path(self, name: str, namespace: str) -> str:
        return f"{ISTIO}/namespaces/{self.ns(namespace)}/virtualservices/{name}"


def shop_with_alice(world: World, *services: str) -> None:
    """Make namespaces shop and alice (a developer's), the Services in both, and the smallest policy."""
    world.namespace("shop")
    world.namespace("alice", developer="alice")
    for service in services or ("reviews",):
        world.service(service, "shop")
        world.service(service, "alice")
    world.policy("defaults", "shop", developersFrom=only(world, "alice"))
    world.wait_ready("defaults", "shop")


def only(world: World, *namespaces: str) -> Json:
    """Return `developersFrom` that finds this world's namespaces only: the cluster is shared with other tests."""
    selected = [world.ns(name) for name in namespaces or ("nowhere",)]
    return {
        "namespaceSelector": {
            "matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": selected}]
        }
    }
