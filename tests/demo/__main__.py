"""Runs the demo. Exit code 0 when every check held, 1 with what was wrong."""

import argparse
import json
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from controlplane.build import ensure_programs, istio_crds
from controlplane.server import ControlPlane
from operator_process import OperatorProcess

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 30.0
ACCOUNT = ("virtualservice-operator", "virtualservice-operator")
CAROL = """
apiVersion: v1
kind: Namespace
metadata: {name: dev-carol}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: dev-carol}
spec: {selector: {app: web}, ports: [{name: http, port: 80}]}
"""
EDITED = """
apiVersion: virtualservice-operator.dev/v1alpha1
kind: RoutingPolicy
metadata: {name: defaults, namespace: shop}
spec:
  matches:
  - {type: Header, name: x-developer}
  - {type: Header, name: x-team-member, matchType: Prefix, value: "{{ DeveloperName }}-"}
"""


class CheckError(Exception):
    """A step did not do what it should."""


class Demo:
    """Shows commands and their output, and checks what should be true after them."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def show(self, *arguments: str, document: str | None = None) -> str:
        """Run kubectl, print the command and its output."""
        print(f"\n    $ kubectl {shlex.join(arguments)}", flush=True)
        output = self._plane.kubectl(*arguments, input=document).stdout
        print("".join(f"    {line}\n" for line in output.splitlines()), end="", flush=True)
        return output

    def check(self, claim: str, holds: Callable[[], bool]) -> None:
        """Wait until something is true, and say so; or fail with the claim."""
        started = time.monotonic()
        while not holds():
            if time.monotonic() - started > SECONDS:
                raise CheckError(f"not so within {SECONDS:.0f} s: {claim}")
            time.sleep(0.02)
        print(f"  ok  {claim} ({time.monotonic() - started:.2f} s)", flush=True)

    def rules(self, service: str) -> dict[str, Any]:
        """Return the http rules of a Service's VirtualService by name."""
        return {rule["name"]: rule for rule in self.spec(service)["http"]}

    def developers(self) -> int:
        """Return how many developers the policy's status counts."""
        found = self._plane.kubectl("get", "rpol", "defaults", "-n", "shop", "-o", "jsonpath={.status.developers}")
        return int(found.stdout)

    def events(self) -> str:
        """Return the Events of the namespace."""
        return self._plane.kubectl("get", "events", "-n", "shop").stdout

    def spec(self, service: str) -> dict[str, Any]:
        """Return the spec of a Service's VirtualService."""
        found = self._plane.kubectl("get", "virtualservice", f"{service}-virtual-service", "-n", "shop", "-o", "json")
        return dict(json.loads(found.stdout)["spec"])


def play(demo: Demo) -> None:
    """Go through the scenes."""
    title("Six Services in shop, copies of some in dev-alice and dev-bob, and the smallest policy")
    demo.show("apply", "-f", "samples/quickstart")
    demo.show("wait", "rpol/defaults", "-n", "shop", "--for=condition=Ready", "--timeout=30s")
    demo.show("get", "rpol", "-n", "shop")
    demo.show("get", "virtualservices", "-n", "shop")
    demo.check("every Service has its VirtualService", lambda: len(demo.rules("web")) == 1)
    demo.check("x-developer: alice goes to dev-alice for reviews", lambda: "defaults.alice" in demo.rules("reviews"))
    demo.show("get", "virtualservice", "reviews-virtual-service", "-n", "shop", "-o", "yaml")

    title("alice deletes her copy of reviews, and deploys it again")
    demo.show("delete", "service", "reviews", "-n", "dev-alice")
    demo.check("her requests go to the default copy", lambda: list(demo.rules("reviews")) == ["default"])
    demo.show("apply", "-f", "samples/quickstart/3-copies.yaml")
    demo.check("her requests go to her copy again", lambda: "defaults.alice" in demo.rules("reviews"))

    title("another namespace gets the label")
    demo.show("apply", "-f", "-", document=CAROL)
    demo.show("label", "namespace", "dev-carol", "virtualservice-operator.dev/developer=carol")
    demo.check("carol is routed to her copy of web", lambda: "defaults.carol" in demo.rules("web"))
    demo.check("the policy counts three developers", lambda: demo.developers() == 3)
    demo.show("get", "rpol", "-n", "shop")

    title("the policy is edited: a second header names the developer too")
    demo.show("apply", "-f", "-", document=EDITED)
    demo.show("wait", "rpol/defaults", "-n", "shop", "--for=condition=Ready", "--timeout=30s")
    prefix = {"headers": {"x-team-member": {"prefix": "alice-"}}}
    demo.check(
        "x-team-member: alice-… reaches her copy as well",
        lambda: any(prefix in rule.get("match", []) for rule in demo.spec("reviews")["http"]),
    )
    demo.check("the catch-all is still the last rule", lambda: demo.spec("reviews")["http"][-1]["name"] == "default")

    title("somebody edits a VirtualService by hand")
    patch = '{"spec":{"exportTo":["."],"http":[{"route":[{"destination":{"host":"elsewhere"}}]}]}}'
    before = demo.spec("ratings")
    demo.show("patch", "virtualservice", "ratings-virtual-service", "-n", "shop", "--type=merge", "-p", patch)
    demo.check("it is repaired, the added field included", lambda: demo.spec("ratings") == before)
    demo.check("and the policy says so", lambda: "DriftRepaired" in demo.events())
    demo.show("describe", "rpol", "defaults", "-n", "shop")


def title(text: str) -> None:
    """Print the heading of a scene."""
    print(f"\n==> {text}", flush=True)


def main() -> int:
    """Run the demo and return its exit code."""
    parser = argparse.ArgumentParser(prog="make demo")
    parser.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C")
    keep = parser.parse_args().keep
    # SIGTERM must end the demo as Ctrl-C does: through the context managers.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    started = time.monotonic()
    ensure_programs()
    crds = [istio_crds(), ROOT / "crds"]
    with tempfile.TemporaryDirectory(prefix="vso-demo-") as directory:
        title("a control plane of its own: kube-apiserver, etcd, kube-controller-manager, Istio's CRDs and ours")
        with ControlPlane.start(Path(directory) / "plane", crds=crds) as plane:
            plane.kubectl("apply", "-k", str(ROOT / "kustomize/base"))
            print(f"  ok  {plane.url} is up, the operator's roles are granted ({time.monotonic() - started:.1f} s)")
            kubeconfig = plane.kubeconfig_for_service_account(*ACCOUNT)
            with OperatorProcess(kubeconfig, Path(directory)) as operator:
                print(f"  ok  the operator is ready, as ServiceAccount {'/'.join(ACCOUNT)}")
                try:
                    play(Demo(plane))
                except CheckError as error:
                    print(f"\nFAILED  {error}\n\nThe operator's log ends:\n{operator.log.read_text()[-2000:]}")
                    return 1
                title(f"all of it held, in {time.monotonic() - started:.1f} s")
                if keep:
                    print(f"\nEverything is running. Ctrl-C ends it.\n\n    export KUBECONFIG={plane.kubeconfig}\n")
                    wait_for_interrupt()
    return 0


def wait_for_interrupt() -> None:
    """Return at Ctrl-C or SIGTERM."""
    try:
        signal.pause()
    except KeyboardInterrupt:
        print("\nstopping")


if __name__ == "__main__":
    sys.exit(main())
