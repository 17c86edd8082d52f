"""An overload that is real: the API server's own flow control, and no room left in it for the operator."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import yaml

from cluster.conftest import USER
from controlplane.client import Client
from controlplane.ports import LOOPBACK
from controlplane.server import ControlPlane

FLOW = "/apis/flowcontrol.apiserver.k8s.io/v1"
RBAC = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
HOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
HOLDER = "carol"
NAME = "no-room"
HOLD_SECONDS = 5
LOOK_SECONDS = 0.02

LEVEL = {
    "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
    "kind": "PriorityLevelConfiguration",
    "metadata": {"name": NAME},
    "spec": {
        "type": "Limited",
        "limited": {
            "nominalConcurrencyShares": 0,
            "borrowingLimitPercent": 0,
            "lendablePercent": 0,
            "limitResponse": {"type": "Reject"},
        },
    },
}
EVERYTHING = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": True}
SCHEMA = {
    "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
    "kind": "FlowSchema",
    "metadata": {"name": NAME},
    "spec": {
        "matchingPrecedence": 2,
        "priorityLevelConfiguration": {"name": NAME},
        "rules": [
            {
                "subjects": [{"kind": "User", "user": {"name": name}} for name in (USER, HOLDER)],
                "resourceRules": [EVERYTHING],
            }
        ],
    },
}
BINDING = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": NAME},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": HOLDER}],
}


@contextlib.contextmanager
def overloaded(plane: ControlPlane) -> Iterator[None]:
    """
    Give the operator a priority level without shares, and keep the one request busy that is let through even then.

    The holder's requests wait for a webhook that never answers, so that they cost nothing but their place.
    """
    stop = threading.Event()
    with socket.create_server((LOOPBACK, 0)) as silent, contextlib.ExitStack() as stack:
        hook = _hook(silent.getsockname()[1])
        for path, document in (
            (RBAC, BINDING),
            (HOOKS, hook),
            (f"{FLOW}/prioritylevelconfigurations", LEVEL),
            (f"{FLOW}/flowschemas", SCHEMA),
        ):
            plane.request("POST", path, document)
            stack.callback(plane.request, "DELETE", f"{path}/{NAME}")
        client = _holder(plane)
        holders = [threading.Thread(target=_hold, args=(client, stop)) for _ in range(2)]
        for holder in holders:
            holder.start()
        try:
            yield
        finally:
            stop.set()
            for holder in holders:
                holder.join(4 * HOLD_SECONDS)


def _hook(port: int) -> dict[str, object]:
    rule = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": NAME},
        "webhooks": [
            {
                "name": "silent.example.com",
                "clientConfig": {"url": f"https://{LOOPBACK}:{port}/"},
                "rules": [rule],
                "failurePolicy": "Ignore",
                "timeoutSeconds": HOLD_SECONDS,
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
            }
        ],
    }


def _holder(plane: ControlPlane) -> Client:
    kubeconfig = yaml.safe_load(plane.kubeconfig_for_user(HOLDER).read_text())
    return Client(plane.url, plane.ca_file, kubeconfig["users"][0]["user"]["token"])


def _hold(client: Client, stop: threading.Event) -> None:
    body = '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "hold-"}}'
    while not stop.wait(LOOK_SECONDS):
        client.fetch("POST", "/api/v1/namespaces/default/configmaps?dryRun=All", body)
