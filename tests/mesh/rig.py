"""
The rig: real API server, real istiod with its webhook, real Envoys, the operator; callers that ask, backends that answer.

    mode    a caller has                                            a request goes to
    FULL    pilot-agent, Envoy, iptables, mutual TLS, DNS           the name, as in a pod
    SMALL   Envoy alone, which listens on the loopback interface    127.0.0.1, with the name as Host

Everything ends with this process: see `mesh.network` and `controlplane.supervisor`.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from controlplane.build import istio_crds
from controlplane.server import ControlPlane
from controlplane.waiting import wait_for
from mesh import network
from mesh.backends import RANGE, Backends, slice_name
from mesh.beacon import Beacons, refuse_stale
from mesh.callers import Callers, Mode
from mesh.cluster import Cluster, in_order
from mesh.errors import MeshError
from mesh.istiod import Istiod, Options
from mesh.lines import Json
from mesh.pod import python_environment
from mesh.programs import Programs, ensure_programs
from mesh.requests import Answer, Logged, Request, question_of
from mesh.sidecar import Proxy
from operator_process import OperatorProcess

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT = ("virtualservice-operator", "virtualservice-operator")
INSTALLED = (("-k", "kustomize/base"), ("-f", "kustomize/components/placeholders/roles.yaml"))
FLAGS = ("--policy-delete-grace", "0.1", "--policy-list", "1", "--placeholder-delay", "0")
SECONDS = 30.0


class Rig:
    """A mesh that runs; made by `running_rig`."""

    def __init__(self, mode: Mode, directory: Path, plane: ControlPlane, programs: Programs) -> None:
        self.mode, self.directory, self.plane, self.programs = mode, directory, plane, programs
        self.cluster = Cluster(plane)
        self.callers = Callers(mode, directory / "pods", plane, programs)
        kubeconfig = plane.kubeconfig_for_service_account(*ACCOUNT)
        self.operator = OperatorProcess(kubeconfig, directory / "operator", *FLAGS)
        self._rows = itertools.count(1)
        self._istiod: Istiod | None = None
        self._beacons: Beacons | None = None
        self._backends: Backends | None = None

    @property
    def istiod(self) -> Istiod:
        """Istio's control plane."""
        assert self._istiod is not None
        return self._istiod

    @property
    def backends(self) -> Backends:
        """What answers."""
        assert self._backends is not None
        return self._backends

    def start(self, options: Options) -> None:
        """Start everything but the callers, side by side."""
        crowd = self.callers.start_pod("backends", "backends", RANGE)
        Cluster(self.plane).put({"kind": "Namespace", "metadata": {"name": "istio-system"}})
        self._istiod = Istiod(self.plane, self.programs, self.directory / "istiod", options)
        self.operator.start()
        resolver = (sys.executable, "-m", "mesh.dns_process", network.RESOLVER, str(self.plane.kubeconfig))
        self.plane.supervisor.spawn(resolver, log=self.directory / "dns.log", env=python_environment())
        self.callers.join(crowd)
        self._backends = Backends(crowd)
        self.istiod.wait_ready()
        if not options.mtls:
            Cluster(self.plane).put(_without_mutual_tls())
        self._beacons = Beacons(Cluster(self.plane), self.istiod)
        self.operator.wait_ready()

    # ---- the cluster

    def apply(self, documents: Sequence[Json]) -> None:
        """Put documents into the cluster, with a backend behind each Service, and policies last."""
        ordered = in_order(item for item in documents if item["kind"] != "EndpointSlice")
        policies = [item for item in ordered if item["kind"] == "RoutingPolicy"]
        for document in ordered[: len(ordered) - len(policies)]:
            self.cluster.put(document)
        self.backends.serve(self.cluster, documents)
        for document in policies:
            self.cluster.put(document)

    def remove(self, kind: str, namespace: str, name: str) -> None:
        """Take an object away, and with a Service its backend's EndpointSlice."""
        if kind == "Namespace":
            self.cluster.put({"kind": kind, "metadata": {"name": name}})  # it stays, without labels and annotations
            return
        self.cluster.delete(kind, namespace, name)
        if kind == "Service":
            self.cluster.delete("EndpointSlice", namespace, slice_name(name))

    def settle(self, seconds: float = SECONDS) -> None:
        """
        Return when the operator has carried out what is in the cluster, and every Envoy has it.

        Errors: `StaleConfigurationError` when an Envoy refuses it or does not get it.
        """
        left: list[str] = []

        def is_done() -> bool:
            left[:] = self.cluster.unfinished()
            return not left

        try:
            wait_for(is_done, what="the operator", timeout=seconds)
        except TimeoutError as error:
            raise MeshError(f"the operator has not done after {seconds:g} s: {'; '.join(left)}") from error
        assert self._beacons is not None
        self._beacons.settle(self.callers.proxies, seconds)

    # ---- requests

    def ask(self, request: Request) -> Answer:
        """Send one request and return what came of it, with what the caller's Envoy wrote of it."""
        caller, row = self.callers[request.caller], f"row-{next(self._rows)}"
        question = question_of(request, row, through_loopback=self.mode is Mode.SMALL and caller.proxy is not None)
        found = caller.pod.ask(**question)
        if "failed" in found:
            return Answer(found["failed"], None, {}, "")
        status = found["status"] if "status" in found else found["code"]
        answer = Answer(status, found["who"], found["headers"], found["body"])
        if caller.proxy is None:
            return answer
        refuse_stale(caller.proxy, self.istiod)
        return replace(answer, logged=_logged(caller.proxy, row))

    def logged(self, name: str, row: str) -> list[Logged]:
        """Return what a caller's Envoy wrote of all requests that bear a mark."""
        proxy = self.callers[name].proxy
        assert proxy is not None
        return list(_all_logged(proxy, row))


@contextlib.contextmanager
def running_rig(mode: Mode = Mode.FULL, options: Options | None = None) -> Iterator[Rig]:
    """Build what is missing, start a rig in a network of its own, and take everything away at the end."""
    found, crds = ensure_programs(), istio_crds()
    options = options or Options(mtls=mode is Mode.FULL)
    with contextlib.ExitStack() as stack:
        stack.enter_context(network.node_namespace())
        directory = Path(tempfile.mkdtemp(prefix="vso-mesh-"))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        directory.chmod(0o755)  # Envoy runs as another user
        plane = stack.enter_context(ControlPlane.start(directory / "plane", crds=[crds, ROOT / "crds"]))
        plane.supervisor.when_orphaned("rm", "-rf", "--", str(directory))
        for flag, what in INSTALLED:
            plane.kubectl("apply", flag, str(ROOT / what))
        rig = Rig(mode, directory, plane, _within_reach(found, directory / "bin"))
        stack.callback(rig.operator.close)
        rig.start(options)
        yield rig


def _within_reach(programs: Programs, folder: Path) -> Programs:
    """Return the programs where every user can start them: a cache in a home directory may be closed to others."""
    folder.mkdir()
    paths = {name: folder / name for name in ("pilot_agent", "envoy")}
    for name, path in paths.items():
        source: Path = getattr(programs, name)
        try:
            os.link(source, path)
        except OSError:  # another file system
            shutil.copy2(source, path)
    return replace(programs, **paths)


def _without_mutual_tls() -> Json:
    metadata = {"name": "default", "namespace": "istio-system"}
    return {"kind": "PeerAuthentication", "metadata": metadata, "spec": {"mtls": {"mode": "DISABLE"}}}


def _logged(proxy: Proxy, row: str) -> Logged | None:
    """Return what an Envoy wrote of a request on its way out."""
    what = f"the access log of {proxy.pod.place.name} to have {row}"
    return wait_for(lambda: next(_all_logged(proxy, row), None), what=what, timeout=10)


def _all_logged(proxy: Proxy, row: str) -> Iterator[Logged]:
    for line in proxy.log.read_text(errors="replace").splitlines():
        if f'"{row}"' in line and line.startswith("{"):
            entry = json.loads(line)
            if not (entry["cluster"] or "").startswith("inbound"):
                yield _entry(entry)


def _entry(entry: Json) -> Logged:
    names = ("flags", "details", "route", "cluster")
    return Logged(int(entry["status"]), *(str(entry[name] or "") for name in names))
