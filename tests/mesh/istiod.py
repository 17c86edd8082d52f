"""istiod as a process: Istio's control plane, with its own validating webhook."""

from __future__ import annotations

import json
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from controlplane.errors import ProcessError, last_lines
from controlplane.kubectl import clean_environment
from controlplane.server import ControlPlane
from controlplane.supervisor import Process
from controlplane.waiting import wait_for
from mesh.network import NODE
from mesh.programs import Programs

NAMESPACE = "istio-system"
HTTP, WEBHOOK = "127.0.0.1:8080", "localhost:15017"
PLAIN, SECURE = f"{NODE}:15010", f"{NODE}:15012"
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
SECONDS = 10.0

ACCESS_LOG = {
    "id": "%REQ(X-ROW)%",
    "status": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "route": "%ROUTE_NAME%",
    "cluster": "%UPSTREAM_CLUSTER%",
}
"""What Envoy writes of each request; the header `x-row` is how a test finds its own again."""

SETTINGS = {
    # Upstream Envoy has no such filters. It would refuse every update that names them, and go on with the old routes.
    "PILOT_ENABLE_METADATA_EXCHANGE": "false",
    "PILOT_ENABLE_ALPN_FILTER": "false",
    "INJECT_ENABLED": "false",
    "ENABLE_DEBUG_ON_HTTP": "true",
    "ENABLE_DEBUG_ENDPOINT_AUTH": "false",
    "ISTIOD_CUSTOM_HOST": "localhost",
    "POD_NAME": "istiod",
    "POD_NAMESPACE": NAMESPACE,
    "SERVICE_ACCOUNT": "istiod",
    "REVISION": "default",
    "CLUSTER_ID": "Kubernetes",
}


@dataclass(frozen=True, slots=True)
class Options:
    """How istiod is started: `debounce` is how long it waits for more changes (Istio's default is 100ms)."""

    mtls: bool = True
    debounce: str = "10ms"
    settings: tuple[tuple[str, str], ...] = ()


class Istiod:
    """istiod, from start to end of the rig."""

    def __init__(self, plane: ControlPlane, programs: Programs, directory: Path, options: Options) -> None:
        self._plane = plane
        self.directory = directory
        self.log = directory / "istiod.log"
        directory.mkdir()
        mesh = directory / "mesh.yaml"
        mesh.write_text(yaml.safe_dump(_mesh_config(options)))
        settings = {**SETTINGS, "PILOT_DEBOUNCE_AFTER": options.debounce, **dict(options.settings)}
        argv = [
            *(str(programs.pilot_discovery), "discovery", f"--kubeconfig={plane.kubeconfig}", f"--meshConfig={mesh}"),
            *(f"--httpAddr={HTTP}", f"--grpcAddr={PLAIN}", f"--secureGRPCAddr={SECURE}"),
            *(f"--httpsAddr=127.0.0.1:{WEBHOOK.split(':')[1]}", "--monitoringAddr=127.0.0.1:15014", "--ctrlz_port=0"),
        ]
        env = {**clean_environment(directory), **settings}
        self.process: Process = plane.supervisor.spawn(argv, log=self.log, env=env, cwd=directory)

    def wait_ready(self) -> None:
        """Return when istiod serves, and the API server asks its webhook."""
        wait_for(self._is_ready, what=f"istiod; its log: {self.log}")
        self._plane.request("POST", WEBHOOKS, _webhook())
        path = f"{WEBHOOKS}/{_webhook()['metadata']['name']}"
        wait_for(lambda: _is_closed(self._plane.request("GET", path)), what="istiod to take over its webhook")

    def debug(self, path: str) -> Any:
        """Return what one of istiod's debug pages says."""
        with urllib.request.urlopen(f"http://{HTTP}/debug/{path}", timeout=SECONDS) as response:
            return json.load(response)

    def resource_versions(self) -> dict[tuple[str, str, str], str]:
        """Return the version of each of Istio's own objects that istiod has, by kind, namespace and name."""
        found = {}
        for item in self.debug("configz"):
            metadata = item["metadata"]
            key = (item["kind"], metadata.get("namespace", ""), metadata["name"])
            found[key] = metadata.get("resourceVersion", "")
        return found

    def refusals(self) -> list[str]:
        """Return the lines in which an Envoy refuses a configuration."""
        return [line for line in self.log.read_text(errors="replace").splitlines() if "ACK ERROR" in line]

    def _is_ready(self) -> bool:
        if not self.process.alive:
            raise ProcessError(f"istiod ended with {self.process.code}. The end of its log:\n{last_lines(self.log)}")
        try:
            with urllib.request.urlopen(f"http://{HTTP}/ready", timeout=SECONDS) as response:
                return bool(response.status == 200)
        except OSError:
            return False


def _mesh_config(options: Options) -> dict[str, Any]:
    return {
        "rootNamespace": NAMESPACE,
        "trustDomain": "cluster.local",
        "accessLogFile": "/dev/stdout",
        "accessLogEncoding": "JSON",
        "accessLogFormat": json.dumps(ACCESS_LOG),
        "enableTracing": False,
        "enableAutoMtls": options.mtls,
        "defaultProviders": {},  # the built-in one is istio.stats, a filter that upstream Envoy lacks
        "ingressControllerMode": "OFF",
        "defaultConfig": {"discoveryAddress": "istiod.istio-system.svc:15012", "fileFlushInterval": "0.010s"},
    }


def _webhook() -> dict[str, Any]:
    """Return the webhook as Istio installs it; istiod itself adds its certificate and makes failures refusals."""
    groups = ["security.istio.io", "networking.istio.io", "telemetry.istio.io", "extensions.istio.io"]
    return {
        "metadata": {"name": "istiod-default-validator", "labels": {"app": "istiod", "istio.io/rev": "default"}},
        "webhooks": [
            {
                "name": "validation.istio.io",
                "clientConfig": {"url": f"https://{WEBHOOK}/validate"},
                "rules": [
                    {"operations": ["CREATE", "UPDATE"], "apiGroups": groups, "apiVersions": ["*"], "resources": ["*"]}
                ],
                "failurePolicy": "Ignore",
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
            }
        ],
    }


def _is_closed(found: Any) -> bool:
    (webhook,) = found["webhooks"]
    return bool(webhook["clientConfig"].get("caBundle")) and webhook["failurePolicy"] == "Fail"
