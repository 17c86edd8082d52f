"""A pod: namespaces of its own, a name, an address, and the process that calls and answers in it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controlplane.supervisor import Process, Supervisor
from controlplane.waiting import wait_for
from mesh import network
from mesh.errors import MeshError
from mesh.lines import Json, ask

TESTS = Path(__file__).resolve().parents[1]
MOUNT_AND_RUN = 'mount --bind "$1" /etc/resolv.conf && mount --bind "$2" /etc/hosts && shift 2 && exec "$@"'
ADMIN = "http://127.0.0.1:15000"
"""Where Envoy's admin interface listens, in every pod that has an Envoy."""


def python_environment() -> dict[str, str]:
    """Return the environment for the processes of the rig that are Python."""
    # gRPC's own resolver reads /etc/resolv.conf only once, and not the search list as programs in a pod do.
    return {**os.environ, "PYTHONPATH": str(TESTS), "PYTHONDONTWRITEBYTECODE": "1", "GRPC_DNS_RESOLVER": "native"}


@dataclass(frozen=True, slots=True)
class Place:
    """Who a pod is: its namespace, its name, its addresses (the first is its own; the rest may be ranges)."""

    namespace: str
    name: str
    addresses: tuple[str, ...]

    @property
    def ip(self) -> str:
        """Its own address."""
        return self.addresses[0]


class Pod:
    """A pod that runs; made by `Pod.start`, usable after `join`."""

    def __init__(self, place: Place, directory: Path, supervisor: Supervisor, process: Process) -> None:
        self.place = place
        self.directory = directory
        self.supervisor = supervisor
        self.process = process

    @classmethod
    def start(cls, place: Place, directory: Path, supervisor: Supervisor) -> Pod:
        """Start the process of a pod, without waiting: several can start at once."""
        directory.mkdir(mode=0o755)
        search = f"{place.namespace}.svc.cluster.local svc.cluster.local cluster.local"
        resolv, hosts = directory / "resolv.conf", directory / "hosts"
        resolv.write_text(f"nameserver {network.RESOLVER}\nsearch {search}\noptions ndots:5\n")
        hosts.write_text(f"127.0.0.1 localhost\n{network.NODE} istiod.istio-system.svc\n")
        own = ("unshare", "--net", "--mount", "--propagation", "private", "--")
        shell = ("sh", "-c", MOUNT_AND_RUN, "sh", str(resolv), str(hosts))
        argv = (*own, *shell, sys.executable, "-m", "mesh.pod_process", str(directory / "pod.sock"))
        log = directory / "pod.log"
        return cls(place, directory, supervisor, supervisor.spawn(argv, log=log, env=python_environment()))

    def join(self, serial: int) -> None:
        """Wait for the process, and connect its network to the node's."""
        wait_for(self._is_up, what=f"the pod {self.place.namespace}/{self.place.name}; its log: {self.process.log}")
        network.join_pod(self.process.pid, serial, self.place.addresses)

    def ask(self, do: str, **question: Any) -> Json:
        """Have the pod's process do something; see `mesh.pod_process`."""
        answer = ask(self.directory / "pod.sock", do=do, **question)
        if "error" in answer:
            raise MeshError(f"{self.place.namespace}/{self.place.name} cannot {do} {question}: {answer['error']}")
        return answer

    def run(self, argv: Sequence[str], *, log: Path, env: dict[str, str], directory: Path) -> Process:
        """Start a further program in the pod; it ends with the rig."""
        return self.supervisor.spawn([*network.inside(self.process.pid, directory), *argv], log=log, env=env)

    def admin(self, path: str, method: str = "GET") -> str:
        """Return what the pod's Envoy says on its admin interface; empty when it does not answer."""
        return str(self.ask("http", url=f"{ADMIN}{path}", method=method).get("body", ""))

    def _is_up(self) -> bool:
        if not self.process.alive:
            raise MeshError(f"the process of a pod ended:\n{self.process.log.read_text()[-2000:]}")
        return (self.directory / "pod.sock").exists()
