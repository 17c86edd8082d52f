"""Several replicas of the operator on one API server, each a Pod as far as its token says, and who of them led when."""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from cluster.conftest import ACCOUNT, FLAGS, USER
from cluster.world import Json, World, eventually, get
from controlplane.audit import AuditEvent, AuditLog
from controlplane.cutter import Cutter
from controlplane.server import ControlPlane
from operator_process import OperatorProcess

NAMESPACE = ACCOUNT[0]
DEPLOYMENT = Path(__file__).resolve().parents[2] / "kustomize/base/deployment.yaml"
LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
LEASE = f"{LEASES}/virtualservice-operator-leader"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
WRITES = ("create", "update", "patch", "delete")
# Shorter than by default, so that a test takes seconds; how they relate is the same.
SHORT = ("--lease-duration", "6", "--lease-renew-deadline", "4", "--lease-retry", "1")


class Replicas:
    """Operators of one cluster by name; closed together."""

    def __init__(self, plane: ControlPlane, directory: Path, *flags: str) -> None:
        self.plane = plane
        self._directory = directory
        self._flags = (*FLAGS, *flags)
        self._by_name: dict[str, OperatorProcess] = {}
        self.judge = Judge(plane, datetime.now(UTC))

    def start(self, *names: str, env: Mapping[str, str] | None = None, port: int | None = None) -> None:
        """Start replicas without waiting; `port` leads to the API server by another way."""
        for name in names:
            if name in self._by_name:
                self._by_name[name].close()
            kubeconfig = self.kubeconfig(name)
            if port is not None:
                kubeconfig = self.plane.kubeconfig_through(port, kubeconfig)
            process = OperatorProcess(kubeconfig, self._directory / name, *self._flags, identity=name, env=env)
            self._by_name[name] = process
            process.start()

    def start_two(self, port: int) -> None:
        """Start vso-a, which leads and goes by `port`, and then vso-b."""
        self.start("vso-a", port=port)
        self.wait_ready()
        self.start("vso-b")
        self["vso-b"].wait_ready()

    def wait_ready(self) -> None:
        """Return when all are ready and one leads."""
        for process in self._by_name.values():
            process.wait_ready()
        eventually("one leads", lambda: self.holder in self._by_name)

    @property
    def holder(self) -> str:
        """Return the name in the Lease; '' where there is none."""
        return str((self.lease() or {}).get("spec", {}).get("holderIdentity", ""))

    def lease(self) -> Json | None:
        """Return the Lease, or None."""
        return get(self.plane, LEASE)

    def patch_lease(self, spec: Mapping[str, Any]) -> None:
        """Change what the Lease says, as somebody with kubectl does."""
        self.plane.request("PATCH", LEASE, {"spec": dict(spec)}, "application/merge-patch+json")

    def leads(self, name: str) -> bool:
        """Tell whether a replica says of itself that it leads."""
        return "virtualservice_operator_leader 1.0" in self[name].get("/metrics")

    def freeze_leader(self, wire: Cutter, name: str) -> None:
        """Let the network swallow what a leader sends, until another leads and goes on for a moment."""
        wire.freeze()
        self.wait_for_another(name)
        time.sleep(1)

    def wait_for_another(self, than: str, seconds: float = 60) -> str:
        """Return the name of the next leader."""
        return str(eventually("another leads", lambda: self.holder not in ("", than) and self.holder, seconds))

    def __getitem__(self, name: str) -> OperatorProcess:
        """Return a replica."""
        return self._by_name[name]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in self._by_name.values():
            process.close()

    def logs(self) -> str:
        """Return all logs."""
        return "\n".join(f"--- {name}\n{process.log.read_text()}" for name, process in self._by_name.items())

    def kubeconfig(self, name: str) -> Path:
        """Return the kubeconfig of a replica's Pod."""
        pod = {"metadata": {"name": name}, "spec": yaml.safe_load(DEPLOYMENT.read_text())["spec"]["template"]["spec"]}
        if get(self.plane, f"{PODS}/{name}") is None:
            self.plane.request("POST", PODS, pod)
        return self.plane.kubeconfig_for_service_account(*ACCOUNT, pod=name)


@dataclass(frozen=True)
class Turn:
    """One replica got the Lease; `since` is when the API server answered so."""

    holder: str
    since: datetime


class Judge:
    """What the API server's audit log says of the replicas since a moment; `doubled` is what `Changes` found written twice."""

    def __init__(self, plane: ControlPlane, since: datetime) -> None:
        self._log = AuditLog(plane.audit_log, user=USER)
        self._since = since
        self.doubled: list[str] = []

    def turns(self) -> list[Turn]:
        """Return who got the Lease and who let it go (''), by what replicas wrote; not what others wrote there."""
        found: list[Turn] = []
        for event in self._events("answered"):
            if event.resource == "leases" and event.verb in ("create", "update") and event.code < 300:
                holder = event.body["spec"]["holderIdentity"]
                if not found or found[-1].holder != holder:
                    found.append(Turn(holder, event.answered))
        return found

    def writes(self) -> Iterator[AuditEvent]:
        """Yield what replicas wrote or tried to, Leases apart, in the order in which it was received."""
        return (event for event in self._events("timestamp") if event.verb in WRITES and event.resource != "leases")

    def has_written(self, name: str, since: datetime | None = None) -> bool:
        """Tell whether a replica has written, since a moment."""
        return any(event.pod == name and (since is None or event.timestamp > since) for event in self.writes())

    def lists(self, name: str, kind: str) -> list[datetime]:
        """Return when a replica has begun to list a kind; of a list in several pages only the first counts."""
        events = [event for event in self._events("timestamp") if "continue=" not in event.request_uri]
        return [event.timestamp for event in events if (event.pod, event.verb, event.resource) == (name, "list", kind)]

    def strays(self, *, stored: bool = False) -> list[str]:
        """
        Return the writes that came in when the Lease was another replica's, or nobody's: two writers at once.

        With `stored` only those that the API server did not refuse.
        """
        found, turns = [], self.turns()
        for event in self.writes():
            current = next((turn for turn in reversed(turns) if turn.since <= event.timestamp), Turn("", self._since))
            if current.holder != event.pod and (event.code < 300 or not stored):
                found.append(
                    f"{event.timestamp} {event.pod} {event.verb} {event.resource} {event.name} {event.code}, "
                    f"but {current.holder or 'nobody'} leads since {current.since}"
                )
        return found

    def written(self, namespace: str) -> Counter[str]:
        """Return how often each VirtualService of a namespace was written."""
        return Counter(
            event.name
            for event in self.writes()
            if event.resource == "virtualservices" and event.namespace == namespace and event.code < 300
        )

    def _events(self, moment: str) -> list[AuditEvent]:
        events = (event for event in self._log.read() if event.timestamp >= self._since)
        return sorted(events, key=attrgetter(moment))


class Changes:
    """Somebody who deploys a new Service `rate` times a second. Each needs one write, so a second one is one too many."""

    def __init__(self, world: World, judge: Judge, rate: float = 10) -> None:
        self._world = world
        self._judge = judge
        self._pause = 1 / rate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.count = 0
        self.namespace = world.ns("shop")
        self._path = f"/apis/networking.istio.io/v1/namespaces/{self.namespace}/virtualservices"

    def __enter__(self) -> Self:
        self._world.namespace("shop")
        self._world.policy("defaults", "shop", developers=[])
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop_now()

    def finish(self) -> None:
        """
        Stop, and return when everything is carried out; fail where something was lost or written twice.

        A write that was broken off, or whose API server was killed, may have been stored without a line that says so:
        the objects say what was lost, the audit log what was doubled.
        """
        self._stop_now()
        eventually("all are carried out", lambda: self.stored() >= self.count, 90)
        names = [f"s{number:04}-virtual-service" for number in range(self.count)]
        found = self._page(self.count + 1)["items"]
        assert sorted(item["metadata"]["name"] for item in found) == names
        self._judge.doubled += [name for name, times in self._judge.written(self.namespace).items() if times > 1]
        assert self._judge.doubled == []
        self._world.wait_ready("defaults", "shop")

    def remove(self) -> None:
        """Take everything away again."""
        plane = self._world.plane
        plane.request("DELETE", f"/api/v1/namespaces/{self.namespace}/services")
        self._world.delete_policy("defaults", "shop")
        eventually("all is gone", lambda: self.stored() == 0)

    def stored(self) -> int:
        """Return how many VirtualServices there are."""
        page = self._page(1)
        return len(page["items"]) + int(page["metadata"].get("remainingItemCount", 0))

    def _page(self, limit: int) -> Json:
        """Return the first VirtualServices, as etcd has them: a cache of an API server that has just started refuses."""
        page: Json = self._world.plane.request("GET", f"{self._path}?limit={limit}")
        return page

    def _stop_now(self) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(60)

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            self._world.service(f"s{self.count:04}", "shop")
            self.count += 1
            due = max(due + self._pause, time.monotonic() - 1)
            self._stop.wait(max(0.0, due - time.monotonic()))
