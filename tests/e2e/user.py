"""What a user does: kubectl, and nothing else."""

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_kind import KindCluster

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 90.0
# Answers every request with the name of its namespace.
ANSWER = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(os.environ["NAMESPACE"].encode())
http.server.HTTPServer(("", 8080), Handler).serve_forever()
"""
ASK = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())"


def eventually(what: str, found: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """Return the first true answer; fail with the claim and the last answer when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (answer := found()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what}; last answer: {answer!r}")
        time.sleep(0.2)
    return answer


@dataclass(frozen=True)
class User:
    """A person at a terminal. `image` is the operator's; it has the Python that the backends run on."""

    cluster: KindCluster
    image: str
    operator: str = "virtualservice-operator"

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl and return what it prints; `AssertionError` with its message when it fails."""
        code, printed = self.try_kubectl(*arguments, stdin=stdin)
        assert code == 0, f"kubectl {' '.join(arguments)}: {printed}"
        return printed

    def try_kubectl(self, *arguments: str, stdin: str | None = None) -> tuple[int, str]:
        """Run kubectl and return its exit code and all that it prints."""
        done = subprocess.run(
            (str(self.cluster.kubectl_path), f"--kubeconfig={self.cluster.kubeconfig_path}", *arguments),
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=180,
            check=False,
        )
        return done.returncode, done.stdout

    def apply(self, *documents: dict[str, Any]) -> None:
        """Apply documents, as from a file."""
        self.kubectl(
            "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(documents)})
        )

    def get(self, *arguments: str) -> dict[str, Any] | None:
        """Return an object, None where it is not there."""
        code, printed = self.try_kubectl("get", *arguments, "-o", "json")
        if code != 0:
            assert "NotFound" in printed, printed
            return None
        found: dict[str, Any] = json.loads(printed)
        return found

    def namespace(self, name: str) -> None:
        """Make a namespace."""
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def serve(self, namespace: str, *names: str) -> None:
        """Make a Service with a Pod that answers with its namespace; return when it is ready."""
        eventually("Pods can be made there", lambda: self.get("serviceaccount", "default", "-n", namespace))
        for name in names:
            self.apply(_service(namespace, name), _pod(namespace, name, self.image))
        for name in names:
            self.kubectl("wait", f"pod/{name}", "-n", namespace, "--for=condition=Ready", "--timeout=90s")

    def policy(self, namespace: str, name: str = "defaults", **spec: Any) -> None:
        """Apply a policy and wait until it is Ready."""
        self.apply(
            {
                "apiVersion": "virtualservice-operator.dev/v1alpha1",
                "kind": "RoutingPolicy",
                "metadata": {"name": name, "namespace": namespace},
                "spec": spec,
            }
        )
        self.kubectl("wait", f"rpol/{name}", "-n", namespace, "--for=condition=Ready", "--timeout=60s")

    def rules(self, namespace: str, service: str) -> list[str]:
        """Return the names of the rules of a Service's VirtualService; none where there is none."""
        found = self.get("virtualservice", f"{service}-virtual-service", "-n", namespace)
        return [rule["name"] for rule in found["spec"]["http"]] if found is not None else []

    def hears(self, namespace: str, pod: str, url: str, expected: str) -> None:
        """Return when a Pod gets an answer from a URL that contains what is expected; rules of Services take a moment."""

        def answers() -> bool:
            code, printed = self.try_kubectl("exec", pod, "-n", namespace, "--", "python", "-c", ASK, url)
            return code == 0 and expected in printed

        eventually(f"{pod} in {namespace} hears {expected!r} from {url}", answers)


def _service(namespace: str, name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    }


def _pod(namespace: str, name: str, image: str) -> dict[str, Any]:
    where = {"name": "NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "backend",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python", "-c", ANSWER],
                    "env": [where],
                    "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
                }
            ],
        },
    }
