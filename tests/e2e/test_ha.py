"""
Three replicas on two nodes, fenced, under twenty changes a second: the leader's Pod deleted, its node drained, an update.

Nothing is lost and nothing written twice, by the API server's own count. That every write is the Lease holder's is for the
fence to see to: the API server refuses all others (kustomize/components/fence).
"""

import json
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import pytest

from controlplane.metrics import count_requests
from e2e.user import ROOT, User, eventually

RATE = 20
LABEL = "app.kubernetes.io/name=virtualservice-operator"


@pytest.fixture(scope="module", autouse=True)
def three(user: User) -> Iterator[None]:
    """Run three replicas behind the fence; afterwards the quick start's single one again."""
    fence = str(ROOT / "kustomize/components/fence/policy.yaml")
    user.kubectl("apply", "-k", str(ROOT / "kustomize/overlays/ha"))
    user.kubectl("apply", "-f", fence)
    wait_for_rollout(user)
    yield
    user.kubectl("delete", "-f", fence)
    user.kubectl("delete", "poddisruptionbudget", "virtualservice-operator", "-n", user.operator)
    user.kubectl("apply", "-k", str(ROOT / "kustomize/overlays/quickstart"))
    wait_for_rollout(user)


def wait_for_rollout(user: User) -> None:
    user.kubectl("rollout", "status", "deployment/virtualservice-operator", "-n", user.operator, "--timeout=120s")


def holder(user: User) -> str:
    """Return the Pod that leads."""
    return user.kubectl(
        *("get", "lease", "virtualservice-operator-leader", "-n", user.operator),
        *("-o", "jsonpath={.spec.holderIdentity}"),
    )


def pods(user: User) -> dict[str, dict[str, Any]]:
    """Return the operator's Pods that are not on their way out."""
    found = json.loads(user.kubectl("get", "pods", "-n", user.operator, "-l", LABEL, "-o", "json"))["items"]
    return {pod["metadata"]["name"]: pod for pod in found if "deletionTimestamp" not in pod["metadata"]}


class Deployments:
    """Somebody who makes twenty Services a second in a namespace of their own, and counts what was written for them."""

    def __init__(self, user: User, namespace: str) -> None:
        self._user = user
        self._namespace = namespace
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.count = 0
        user.namespace(namespace)
        user.policy(namespace, developers=[])
        self._before = self._applies()

    def __enter__(self) -> Self:
        self._thread.start()
        eventually("the first are carried out", lambda: self._written() > RATE)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(60)

    def finish(self, least_seconds: float) -> None:
        """Stop, not before a while, and fail where something is lost or was written twice."""
        eventually("changes went on for long enough", lambda: self.count >= RATE * least_seconds)
        self._stop.set()
        self._thread.join(60)
        eventually(f"all {self.count} are carried out", lambda: self._written() == self.count)
        assert self._applies() - self._before == self.count
        self._user.kubectl("wait", "rpol/defaults", "-n", self._namespace, "--for=condition=Ready", "--timeout=60s")

    def _written(self) -> int:
        printed = self._user.kubectl("get", "virtualservices", "-n", self._namespace, "-o", "name")
        return len(printed.split())

    def _applies(self) -> int:
        """Return how many applies of VirtualServices the API server has carried out, whoever sent them."""
        text = self._user.kubectl("get", "--raw", "/metrics")
        return sum(count_requests(text, verb="APPLY", resource="virtualservices", code=code) for code in (200, 201))

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            batch = [service(self._namespace, f"s{self.count + number:05}") for number in range(RATE)]
            self._user.kubectl(
                "create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": batch})
            )
            self.count += RATE
            due = max(due + 1, time.monotonic() - 2)
            self._stop.wait(max(0.0, due - time.monotonic()))


def service(namespace: str, name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"clusterIP": "", "selector": {"app": name}, "ports": [{"name": "http", "port": 80}]},
    }


def test_three_are_ready_on_both_nodes_and_one_leads(user: User) -> None:
    found = pods(user)
    assert len(found) == 3
    assert eventually("one leads", lambda: holder(user) in pods(user))
    if len(user.kubectl("get", "nodes", "-o", "name").split()) > 1:
        assert len({pod["spec"]["nodeName"] for pod in found.values()}) == 2


def test_whoever_does_not_hold_the_lease_is_refused(user: User) -> None:
    account = f"system:serviceaccount:{user.operator}:{user.operator}"
    user.namespace("fence-shop")
    user.serve("fence-shop", "reviews")
    user.policy("fence-shop", developers=[])
    code, printed = user.try_kubectl(
        *("delete", "virtualservice", "reviews-virtual-service", "-n", "fence-shop", f"--as={account}")
    )
    assert code != 0
    assert "only the replica that holds Lease virtualservice-operator-leader may write" in printed


def test_the_leaders_pod_is_deleted(user: User) -> None:
    with Deployments(user, "ha-delete") as deployments:
        first = holder(user)
        user.kubectl("delete", "pod", first, "-n", user.operator)
        eventually("another leads", lambda: holder(user) not in ("", first))
        deployments.finish(8)
    wait_for_rollout(user)


def test_the_leaders_pod_is_killed(user: User) -> None:
    with Deployments(user, "ha-kill") as deployments:
        first = holder(user)
        user.kubectl("delete", "pod", first, "-n", user.operator, "--grace-period=0", "--force")
        eventually("another leads", lambda: holder(user) not in ("", first))
        deployments.finish(8)
    wait_for_rollout(user)


def test_the_leaders_node_is_drained(user: User) -> None:
    if len(user.kubectl("get", "nodes", "-o", "name").split()) < 2:
        pytest.skip("the cluster of KIND_KUBECONFIG has one node: what is drained from it has nowhere to go")
    with Deployments(user, "ha-drain") as deployments:
        first = holder(user)
        node = pods(user)[first]["spec"]["nodeName"]
        try:
            user.kubectl(
                *("drain", node, f"--pod-selector={LABEL}", "--ignore-daemonsets", "--timeout=120s"),
            )
            eventually("another leads", lambda: holder(user) not in ("", first))
            assert {pod["spec"]["nodeName"] for pod in pods(user).values()} != {node}
            deployments.finish(8)
        finally:
            user.kubectl("uncordon", node)
    wait_for_rollout(user)


def test_an_update_rolls_over_all_three(user: User) -> None:
    before = set(pods(user))
    with Deployments(user, "ha-update") as deployments:
        user.kubectl("rollout", "restart", "deployment/virtualservice-operator", "-n", user.operator)
        wait_for_rollout(user)
        eventually("a new one leads", lambda: holder(user) in set(pods(user)) - before)
        deployments.finish(8)
    assert not before & set(pods(user))
