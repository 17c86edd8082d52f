"""Trouble on a real API server: rights taken away, webhooks that are away or hang, policies, quotas, overload."""

import base64
import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from cluster.conftest import ACCOUNT
from cluster.world import ISTIO, Json, World, eventually
from controlplane.errors import ApiError
from controlplane.server import ControlPlane

RBAC = "/apis/rbac.authorization.k8s.io/v1"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
FLOW = "/apis/flowcontrol.apiserver.k8s.io/v1"
READER, WRITER = "virtualservice-operator", "virtualservice-writer"
SUBJECT = {"kind": "ServiceAccount", "name": ACCOUNT[1], "namespace": ACCOUNT[0]}
RULE = {"apiGroups": ["networking.istio.io"], "resources": ["virtualservices"]}
ON_WRITES = {**RULE, "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE", "DELETE"], "scope": "Namespaced"}


Record = Callable[[str, object], None]


def heals(record: Record, found: Callable[[], Any], seconds: float = 90) -> None:
    """Wait until a trouble that has just ended is healed; `record` is pytest's `record_property`, for `make faults`."""
    started = time.monotonic()
    eventually("healed", found, seconds)
    record("recovery", time.monotonic() - started)


def split_rights(plane: ControlPlane) -> None:
    """Leave the account what it reads, and the writing of VirtualServices to a role of its own that nobody has yet."""
    role = plane.request("GET", f"{RBAC}/clusterroles/{READER}")
    rules = [rule for rule in role["rules"] if "virtualservices" not in rule["resources"]]
    rules.append({**RULE, "verbs": ["get", "list", "watch"]})
    plane.request("PUT", f"{RBAC}/clusterroles/{READER}", {**role, "rules": rules})
    writer = {"metadata": {"name": WRITER}, "rules": [{**RULE, "verbs": ["create", "patch", "delete"]}]}
    plane.request("POST", f"{RBAC}/clusterroles", writer)


def grant(world: World, *namespaces: str) -> None:
    """Let the operator write VirtualServices in namespaces."""
    for namespace in namespaces:
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": WRITER}
        binding = {"metadata": {"name": WRITER}, "roleRef": reference, "subjects": [SUBJECT]}
        world.plane.request("POST", _bindings(world, namespace), binding)


def revoke(world: World, *namespaces: str) -> None:
    """Take that right away again."""
    for namespace in namespaces:
        world.plane.request("DELETE", f"{_bindings(world, namespace)}/{WRITER}")


def shop(world: World, *services: str, name: str = "shop") -> None:
    """Make a namespace with Services and the smallest policy of its own; nobody's requests are routed."""
    world.namespace(name)
    for service in services:
        world.service(service, name)
    world.policy("defaults", name, developers=[{"name": "nobody", "namespaces": [world.ns("nobody")]}])


@contextmanager
def webhook(world: World, namespace: str, port: int, *, seconds: int = 10) -> Iterator[None]:
    """Have the API server ask a webhook before each write of a VirtualService in a namespace, which must answer."""
    name = f"{world.prefix}-{namespace}.example.com"
    authority = base64.b64encode(world.plane.ca_file.read_bytes()).decode()
    hook = {
        "name": name,
        "clientConfig": {"url": f"https://127.0.0.1:{port}/", "caBundle": authority},
        "rules": [ON_WRITES],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": world.ns(namespace)}},
        "failurePolicy": "Fail",
        "timeoutSeconds": seconds,
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    path = f"{ADMISSION}/validatingwebhookconfigurations"
    world.plane.request("POST", path, {"metadata": {"name": name}, "webhooks": [hook]})
    try:
        eventually("the webhook is asked", lambda: "failed calling webhook" in _attempt(world, namespace), 60)
        yield
    finally:
        world.plane.request("DELETE", f"{path}/{name}")


@contextmanager
def hanging_port(plane: ControlPlane) -> Iterator[int]:
    """Yield a port that takes connections and requests and never answers; it shows the API server its own certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(plane.ca_file, plane.ca_file.with_suffix(".key"))
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener, contextlib.ExitStack() as held:

        def take() -> None:
            with contextlib.suppress(OSError):
                while True:
                    held.enter_context(context.wrap_socket(listener.accept()[0], server_side=True))

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


@contextmanager
def denying_policy(world: World, namespace: str) -> Iterator[None]:
    """Have an admission policy refuse every write of a VirtualService in a namespace."""
    name = f"{world.prefix}-{namespace}"
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [ON_WRITES]},
        "validations": [{"expression": "false", "message": "no routes here"}],
    }
    selector = {"matchLabels": {"kubernetes.io/metadata.name": world.ns(namespace)}}
    binding = {
        "policyName": name,
        "validationActions": ["Deny"],
        "matchResources": {"namespaceSelector": selector},
    }
    for kind, body in (("policies", spec), ("policybindings", binding)):
        world.plane.request(
            "POST", f"{ADMISSION}/validatingadmission{kind}", {"metadata": {"name": name}, "spec": body}
        )
    try:
        eventually("the policy is in force", lambda: "no routes here" in _attempt(world, namespace), 60)
        yield
    finally:
        for kind in ("policybindings", "policies"):
            world.plane.request("DELETE", f"{ADMISSION}/validatingadmission{kind}/{name}")


def set_quota(world: World, namespace: str, hard: int, used: int) -> None:
    """Allow so many VirtualServices; no controller counts here, so what is used is said too."""
    resource = "count/virtualservices.networking.istio.io"
    path = f"/api/v1/namespaces/{world.ns(namespace)}/resourcequotas"
    with contextlib.suppress(ApiError):
        world.plane.request("POST", path, {"metadata": {"name": "q"}, "spec": {"hard": {resource: str(hard)}}})
    merge = "application/merge-patch+json"
    world.plane.request("PATCH", f"{path}/q", {"spec": {"hard": {resource: str(hard)}}}, merge)
    status = {"status": {"hard": {resource: str(hard)}, "used": {resource: str(used)}}}
    world.plane.request("PATCH", f"{path}/q/status", status, merge)


@contextmanager
def overload(plane: ControlPlane) -> Iterator[None]:
    """Have the API server's own flow control refuse each write of a VirtualService by the operator's account."""
    name = "no-virtualservices"
    level = {
        "type": "Limited",
        "limited": {
            "nominalConcurrencyShares": 0,
            "lendablePercent": 0,
            "borrowingLimitPercent": 0,
            "limitResponse": {"type": "Reject"},
        },
    }
    account = {"kind": "ServiceAccount", "serviceAccount": {"name": ACCOUNT[1], "namespace": ACCOUNT[0]}}
    rule = {**RULE, "verbs": ["patch"], "namespaces": ["*"]}
    schema = {
        "priorityLevelConfiguration": {"name": name},
        "matchingPrecedence": 2,
        "rules": [{"subjects": [account], "resourceRules": [rule]}],
    }
    for kind, body in (("prioritylevelconfigurations", level), ("flowschemas", schema)):
        plane.request("POST", f"{FLOW}/{kind}", {"metadata": {"name": name}, "spec": body})
    try:
        eventually("the schema is in force", lambda: plane.request("GET", f"{FLOW}/flowschemas/{name}").get("status"))
        yield
    finally:
        for kind in ("flowschemas", "prioritylevelconfigurations"):
            plane.request("DELETE", f"{FLOW}/{kind}/{name}")


def virtual_service(name: str, **metadata: object) -> Json:
    """Return a small VirtualService."""
    spec = {"hosts": [name], "http": [{"route": [{"destination": {"host": name}}]}]}
    document = {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService"}
    return {**document, "metadata": {"name": name, **metadata}, "spec": spec}


def _attempt(world: World, namespace: str) -> str:
    """Return what the API server says to a VirtualService that is only tried."""
    path = f"{ISTIO}/namespaces/{world.ns(namespace)}/virtualservices?dryRun=All&timeout=2s"
    try:
        world.plane.request("POST", path, virtual_service("attempt"))
    except ApiError as error:
        if error.status != 504:
            return str(error)
    except (OSError, http.client.HTTPException):
        pass
    else:
        return ""
    return "failed calling webhook: no answer"  # the API server gave up after the two seconds, before the webhook did


def _bindings(world: World, namespace: str) -> str:
    return f"{RBAC}/namespaces/{world.ns(namespace)}/rolebindings"
