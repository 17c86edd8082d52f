"""Envoy in a pod: as a real sidecar or gateway by pilot-agent, or bare."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from controlplane.errors import last_lines
from controlplane.server import ControlPlane
from controlplane.supervisor import Process
from controlplane.waiting import wait_for
from mesh.errors import MeshError
from mesh.network import NODE, inside
from mesh.pod import Pod
from mesh.programs import Programs, istio_version

UID = 1337
AS_PROXY = ("setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--pdeathsig=KILL", "--")
CAPTURE = (
    *("istio-iptables", "-p", "15001", "-z", "15006", "-u", str(UID), "-g", str(UID)),
    *("-m", "REDIRECT", "-i", "*", "-b", "*", "-d", "15090,15021,15020"),
)
READY = "http://127.0.0.1:15021/healthz/ready"
KEEPALIVE = {"keepalive_time": 2, "keepalive_interval": 1, "keepalive_probes": 2}
"""How soon a bare Envoy notices that istiod is not there any more, in seconds and probes."""
SIDECAR, GATEWAY = "sidecar", "router"


class Proxy:
    """An Envoy that runs in a pod, and where it writes what it did."""

    def __init__(self, pod: Pod, process: Process, role: str) -> None:
        self.pod = pod
        self.process = process
        self.role = role

    @property
    def log(self) -> Path:
        """What Envoy prints: its access log, and its complaints."""
        return self.process.log


def start_agent(
    plane: ControlPlane, programs: Programs, pod: Pod, labels: dict[str, str], role: str = SIDECAR
) -> Proxy:
    """Start pilot-agent, which starts Envoy, as in an injected pod; a sidecar also captures the pod's traffic."""
    directory = pod.directory / "proxy"
    _write_files(plane, programs, pod, directory, labels)
    if role == SIDECAR:
        _capture(programs, pod)
    log = pod.directory / "envoy.log"
    log.touch()
    for path in (log, directory, *directory.rglob("*")):  # Envoy opens its standard output anew, as its own user
        os.chown(path, UID, UID)
    settings = _agent_settings(programs, pod, directory)
    argv = (
        *AS_PROXY,
        *(str(programs.pilot_agent), "proxy", role, f"--domain={pod.place.namespace}.svc.cluster.local"),
        *("--proxyLogLevel=warning", "--proxyComponentLogLevel=misc:error", "--log_output_level=default:warn"),
    )
    env = {"PATH": os.environ["PATH"], **settings}
    return Proxy(pod, pod.run(argv, log=log, env=env, directory=directory), role)


def start_bare(programs: Programs, pod: Pod) -> Proxy:
    """Start Envoy alone: no agent, no capture; it listens on the loopback interface at each Service's port."""
    bootstrap = pod.directory / "envoy.yaml"
    bootstrap.write_text(yaml.safe_dump(_bare_bootstrap(pod)))
    argv = (str(programs.envoy), "-c", str(bootstrap), "--concurrency", "1", "--disable-hot-restart", "-l", "warning")
    flushed = ("--file-flush-interval-msec", "10")
    log = pod.directory / "envoy.log"
    return Proxy(pod, pod.run((*argv, *flushed), log=log, env=dict(os.environ), directory=pod.directory), SIDECAR)


def wait_ready(proxy: Proxy, url: str = READY) -> None:
    """Return when an Envoy has its first configuration."""
    pod = proxy.pod

    def is_ready() -> bool:
        if not proxy.process.alive:
            raise MeshError(f"the proxy of {pod.place.name} ended:\n{last_lines(proxy.log)}")
        return pod.ask("http", url=url).get("status") == 200

    wait_for(is_ready, what=f"the proxy of {pod.place.namespace}/{pod.place.name}; its log: {proxy.log}")


def _write_files(plane: ControlPlane, programs: Programs, pod: Pod, directory: Path, labels: dict[str, str]) -> None:
    """Write what a kubelet mounts; the paths are relative to the agent's working folder."""
    secrets, podinfo = directory / "var/run/secrets", directory / "etc/istio/pod"
    for folder in (secrets / "istio", secrets / "tokens", secrets / "workload-spiffe-uds", podinfo):
        folder.mkdir(parents=True)
    (directory / "etc/istio/proxy").mkdir()
    (secrets / "istio/root-cert.pem").write_text(_root_certificate(plane, pod.place.namespace))
    (secrets / "tokens/istio-token").write_text(_token(plane, pod.place.namespace))
    (podinfo / "labels").write_text("".join(f'{name}="{value}"\n' for name, value in labels.items()))
    (podinfo / "annotations").touch()
    shutil.copyfile(programs.bootstrap, directory / "bootstrap.json")


def _root_certificate(plane: ControlPlane, namespace: str) -> str:
    path = f"/api/v1/namespaces/{namespace}/configmaps/istio-ca-root-cert"

    def found() -> str | None:
        answer = plane.fetch("GET", path)
        return json.loads(answer.text)["data"]["root-cert.pem"] if answer.status == 200 else None

    return wait_for(found, what=f"istiod's root certificate in {namespace}")


def _token(plane: ControlPlane, namespace: str) -> str:
    request = {"spec": {"audiences": ["istio-ca"], "expirationSeconds": 43200}}
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
    wait_for(lambda: plane.fetch("GET", path).status == 200, what=f"the account of {namespace}")
    return str(plane.request("POST", f"{path}/token", request)["status"]["token"])


def _capture(programs: Programs, pod: Pod) -> None:
    """Redirect the pod's traffic to its Envoy, with Istio's own tool."""
    argv = [*inside(pod.process.pid), str(programs.pilot_agent), *CAPTURE]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MeshError(f"istio-iptables ended with {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")


def _agent_settings(programs: Programs, pod: Pod, directory: Path) -> dict[str, str]:
    config = {
        "binaryPath": str(programs.envoy),
        "configPath": str(directory / "etc/istio/proxy"),
        "concurrency": 1,
        "discoveryAddress": "istiod.istio-system.svc:15012",
        "fileFlushInterval": "0.010s",
    }
    return {
        "PILOT_CERT_PROVIDER": "istiod",
        "CA_ADDR": "istiod.istio-system.svc:15012",
        "POD_NAME": pod.place.name,
        "POD_NAMESPACE": pod.place.namespace,
        "INSTANCE_IP": pod.place.ip,
        "HOST_IP": NODE,
        "SERVICE_ACCOUNT": "default",
        "TRUST_DOMAIN": "cluster.local",
        "PROXY_CONFIG": json.dumps(config),
        "ISTIO_BOOTSTRAP": str(directory / "bootstrap.json"),
        "ISTIO_META_CLUSTER_ID": "Kubernetes",
        "ISTIO_META_NODE_NAME": "node",
        "ISTIO_META_INTERCEPTION_MODE": "REDIRECT",
        "ISTIO_META_WORKLOAD_NAME": pod.place.name,
        "ISTIO_META_MESH_ID": "cluster.local",
    }


def _bare_bootstrap(pod: Pod) -> dict[str, Any]:
    xds = {"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"}
    internal = "type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener"
    return {
        "node": _node(pod),
        "dynamic_resources": {
            "lds_config": xds,
            "cds_config": xds,
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "set_node_on_first_message_only": True,
                "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}],
            },
        },
        "static_resources": {"clusters": [_istiod_as_a_cluster()]},
        "bootstrap_extensions": [
            {"name": "envoy.bootstrap.internal_listener", "typed_config": {"@type": internal}},
        ],
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 15000}}},
    }


def _node(pod: Pod) -> dict[str, Any]:
    """Return who an Envoy says that it is: what istiod sends depends on it."""
    place = pod.place
    return {
        "id": f"sidecar~{place.ip}~{place.name}.{place.namespace}~{place.namespace}.svc.cluster.local",
        "cluster": f"{place.name}.{place.namespace}",
        "metadata": {
            "NAMESPACE": place.namespace,
            "CLUSTER_ID": "Kubernetes",
            "SERVICE_ACCOUNT": "default",
            "ISTIO_VERSION": istio_version(),
            "INTERCEPTION_MODE": "NONE",
            "INSTANCE_IPS": place.ip,
            "LABELS": {"app": place.name},
            "PROXY_CONFIG": {},
        },
    }


def _istiod_as_a_cluster() -> dict[str, Any]:
    protocol = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    http2 = {"@type": f"type.googleapis.com/{protocol}", "explicit_http_config": {"http2_protocol_options": {}}}
    address = {"socket_address": {"address": NODE, "port_value": 15010}}
    return {
        "name": "xds-grpc",
        "type": "STATIC",
        "connect_timeout": "1s",
        "upstream_connection_options": {"tcp_keepalive": KEEPALIVE},
        "typed_extension_protocol_options": {protocol: http2},
        "load_assignment": {
            "cluster_name": "xds-grpc",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }
