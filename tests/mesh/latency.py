"""How long it takes from an event in the cluster to the first request that follows it; `python -m mesh latency`."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from controlplane.audit import read_events
from mesh.callers import NODE, Caller, pod_status
from mesh.errors import MeshError
from mesh.lines import Json
from mesh.requests import Request, question_of
from mesh.rig import Rig

SECONDS = 20.0
PAUSE = 0.001
REQUEST = Request("shop", "reviews.shop", headers={"x-developer": "alice"})
POLICY = """
apiVersion: virtualservice-operator.dev/v1alpha1
kind: RoutingPolicy
metadata: {{name: defaults, namespace: shop}}
spec: {{developers: [{{name: {}}}]}}
"""


@dataclass(frozen=True, slots=True)
class Times:
    """Durations in milliseconds, one for each try."""

    what: str
    values: Sequence[float]

    def __str__(self) -> str:
        ordered = sorted(self.values)
        p99 = ordered[min(len(ordered) - 1, round(0.99 * (len(ordered) - 1)))]
        return f"{self.what:<64} p50 {statistics.median(ordered):7.1f} ms   p99 {p99:7.1f} ms   ({len(ordered)} tries)"


def measure_policies(rig: Rig, tries: int) -> tuple[Times, Times]:
    """Return the time from `kubectl apply` of a policy to the first request that follows it, and the operator's share."""
    caller = _begin(rig)
    whole, share = [], []
    for number in range(tries):
        alice = number % 2 == 0
        text = POLICY.format("alice" if alice else "bob")

        def apply(text: str = text) -> None:
            rig.plane.kubectl("apply", "-f", "-", input=text)

        whole.append(_until(caller, "reviews.alice" if alice else "reviews.shop", apply))
        share.append(_operators_share(rig))
        rig.settle()
    return Times("kubectl apply of a policy → first request", whole), Times(
        "  of it the operator: policy → VirtualService", share
    )


def measure_pods(rig: Rig, tries: int) -> Times:
    """Return the time from a copy's Pod being ready to the first request that it answers."""
    caller = _begin(rig)
    rig.cluster.put({"kind": "Service", **_named("reviews"), "spec": {"selector": {"app": "reviews"}, "ports": [PORT]}})
    rig.cluster.delete("EndpointSlice", "alice", "reviews-tests")
    rig.plane.kubectl("apply", "-f", "-", input=POLICY.format("alice"))
    values = []
    for number in range(tries):
        name = f"reviews-{number}"
        spec = {"nodeName": NODE, "containers": [{"name": "app", "image": "none"}]}
        rig.cluster.put({"kind": "Pod", **_named(name, {"app": "reviews"}), "spec": spec})
        rig.settle()
        status = {"status": pod_status(rig.backends.address("reviews.alice"), ready=True)}

        def ready(name: str = name, status: Json = status) -> None:
            rig.cluster.patch("Pod", "alice", name, status, "/status")

        values.append(_until(caller, "reviews.alice", ready))
        rig.plane.request("DELETE", f"/api/v1/namespaces/alice/pods/{name}?gracePeriodSeconds=0")
        _until(caller, None, lambda: None)
    return Times("a copy's Pod is ready → first request it answers", values)


PORT = {"name": "http", "port": 80}


def _named(name: str, labels: dict[str, str] | None = None) -> Json:
    return {"metadata": {"name": name, "namespace": "alice", **({"labels": labels} if labels else {})}}


def _begin(rig: Rig) -> Caller:
    """Have a default and a copy of reviews, and nobody routed."""
    rig.cluster.clear()
    spaces = [{"kind": "Namespace", "metadata": {"name": name}} for name in ("shop", "alice")]
    services = [
        {"kind": "Service", "metadata": {"name": "reviews", "namespace": name}, "spec": {"ports": [PORT]}}
        for name in ("shop", "alice")
    ]
    metadata, spec = {"name": "defaults", "namespace": "shop"}, {"developers": [{"name": "bob"}]}
    rig.apply([*spaces, *services, {"kind": "RoutingPolicy", "metadata": metadata, "spec": spec}])
    rig.plane.kubectl("apply", "-f", "-", input=POLICY.format("bob"))
    rig.settle()
    return rig.callers["shop"]


def _until(caller: Caller, who: str | None, event: Callable[[], None]) -> float:
    """Send requests without end, let something happen, and return the milliseconds until `who` answers."""
    question = question_of(REQUEST, "latency", through_loopback=False)
    del question["do"]
    caller.pod.ask("load", requests=[question], pause=PAUSE)
    started = time.monotonic()
    event()
    deadline = started + SECONDS
    while (latest := caller.pod.ask("latest"))["who"] != who or latest["begun"] < started:
        if time.monotonic() > deadline:
            raise MeshError(f"{REQUEST} was not answered by {who} within {SECONDS:g} s")
        time.sleep(0.01)
    results = caller.pod.ask("loaded")["results"]
    first: float = next(ended for _, begun, ended, _, found in results if begun >= started and found == who)
    return 1000 * (first - started)


def _operators_share(rig: Rig) -> float:
    """Return the milliseconds between the last write of a policy and the last write of a VirtualService of its Service."""
    events = [event for event in read_events(rig.plane.audit_log) if event.verb in ("patch", "create", "update")]
    asked = [event for event in events if event.resource == "routingpolicies" and not event.subresource]
    wrote = [event for event in events if event.resource == "virtualservices" and event.name.startswith("reviews")]
    return 1000 * (wrote[-1].timestamp - asked[-1].timestamp).total_seconds()
