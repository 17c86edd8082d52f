"""
The container engine: the one that runs on this machine, else one of our own for as long as the tests last.

Ours is Debian's dockerd in network, mount and process namespaces of its own. Its bridges, firewall rules, forwarding,
mounts and containers are in there, so all of it is gone with one process, however that ends. Programs that talk to the
cluster enter its network (`Engine.enter`). Its data stay in the cache: there the node's image is kept unpacked.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from controlplane.errors import last_lines
from controlplane.progress import Say
from controlplane.supervisor import Process, Supervisor
from controlplane.toolchain import lock
from controlplane.waiting import wait_for
from kind import machine
from kind.commands import APART, DIES_WITH_US, environment, require
from kind.errors import KindError
from kind.paths import cache
from kind.programs import ensure_node_programs

SECONDS = 60.0
CGROUP = "virtualservice-operator-kind"
CAP_SYS_RESOURCE = 24
NEEDED = {
    "docker": "docker.io",
    "dockerd": "docker.io",
    "containerd": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "ip": "iproute2",
    "nsenter": "util-linux",
}
START = 'ip link set lo up && echo 1 >/proc/sys/net/ipv4/ip_forward && exec flock --timeout 30 "$1" dockerd --config-file "$2"'
"""Forwarding is switched on before dockerd does it: it would also set the firewall's default to DROP."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A container engine that answers; `enter` is the command that runs another one where the cluster's ports are."""

    environment: dict[str, str]
    is_ours: bool
    enter: tuple[str, ...] = ()

    def docker(self, *arguments: str, timeout: float = 600.0) -> str:
        """Run docker and return what it prints; `KindError` when it fails."""
        done = self._docker(arguments, timeout)
        if done.returncode != 0:
            raise KindError(f"docker {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def has_image(self, name: str) -> bool:
        """Tell whether the engine has an image of this name."""
        return self._docker(("image", "inspect", name), SECONDS).returncode == 0

    def can_pull(self, name: str) -> bool:
        """Tell whether an image is there, after asking for it where someone may answer; ours has no way out."""
        if self.has_image(name):
            return True
        return not self.is_ours and self._docker(("pull", "--quiet", name), 600).returncode == 0

    def _docker(self, arguments: Sequence[str], timeout: float) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ("docker", *arguments),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )


@contextmanager
def scratch() -> Iterator[tuple[Supervisor, Path]]:
    """Give a supervisor and a folder that goes with this process, even if that is killed."""
    with Supervisor() as supervisor:
        directory = Path(tempfile.mkdtemp(prefix="vso-kind-"))
        supervisor.when_orphaned("rm", "-rf", "--", str(directory))
        try:
            yield supervisor, directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def open_engine(supervisor: Supervisor, directory: Path, say: Say) -> Iterator[Engine]:
    """Give the running engine, or start one; `directory` is for the log, the socket and what else goes afterwards."""
    if docker_answers():
        yield Engine(environment(), is_ours=False)
        return
    require("No Docker answers here. Starting one of our own", NEEDED)
    with lock(cache() / "engine.lock", say), _start(supervisor, directory, say) as engine:
        yield engine


def docker_answers(env: dict[str, str] | None = None) -> bool:
    """Tell whether a Docker answers, the one that the user has unless an environment names another."""
    env = env or environment()
    if not shutil.which("docker", path=env["PATH"]):
        return False
    asked = ("docker", "version", "--format", "{{.Server.Version}}")
    return subprocess.run(asked, env=env, capture_output=True, timeout=SECONDS, check=False).returncode == 0


@contextmanager
def _start(supervisor: Supervisor, directory: Path, say: Say) -> Iterator[Engine]:
    state = cache() / "machine.json"
    machine.remember(state, CGROUP)
    supervisor.when_orphaned(sys.executable, "-I", "-S", str(Path(machine.__file__)), str(state))
    process = None
    try:
        process = _spawn(supervisor, directory, say)
        engine = Engine(
            {**environment(), "DOCKER_HOST": _address(directory), "DOCKER_BUILDKIT": "0"},
            is_ours=True,
            enter=(*DIES_WITH_US, "nsenter", f"--net=/proc/{process.pid}/ns/net", "--"),
        )
        _wait_for_answer(process, engine)
        _remove_containers(engine)  # of a run that was killed
        yield engine
        with contextlib.suppress(KindError, subprocess.TimeoutExpired):
            _remove_containers(engine)
    finally:
        if process is not None:
            process.terminate(timeout=20)
        machine.restore(state)


def _spawn(supervisor: Supervisor, directory: Path, say: Say) -> Process:
    config = directory / "dockerd.json"
    config.write_text(json.dumps(_configuration(directory, say), indent=1))
    dockerd = ("sh", "-c", START, "dockerd", str(cache() / "engine-data.lock"), str(config))
    argv = (*APART, "--mount-proc", "--net", *dockerd)
    return supervisor.spawn(argv, log=directory / "dockerd.log", env=environment())


def _configuration(directory: Path, say: Say) -> dict[str, object]:
    return {
        "hosts": [_address(directory)],
        "data-root": str(cache() / "engine"),
        "exec-root": str(directory / "exec"),
        "pidfile": str(directory / "dockerd.pid"),
        "bridge": "none",  # kind makes a network of its own
        "cgroup-parent": f"/{CGROUP}",
        "default-cgroupns-mode": "private",
        "storage-driver": "overlay2",
        **_runtime(say),
    }


def _runtime(say: Say) -> dict[str, object]:
    """Put our own program before runc where root may not do everything: `docker run --privileged` would fail."""
    effective = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff"))
    if int(effective.split()[1], 16) >> CAP_SYS_RESOURCE & 1:
        return {}
    wrapper = ensure_node_programs(say) / "runcwrapper"
    return {"default-runtime": "restrained", "runtimes": {"restrained": {"path": str(wrapper)}}}


def _address(directory: Path) -> str:
    return f"unix://{directory / 'docker.sock'}"


def _wait_for_answer(process: Process, engine: Engine) -> None:
    """Errors: `KindError` with the end of dockerd's log."""
    try:
        wait_for(lambda: not process.alive or docker_answers(engine.environment), what="dockerd", timeout=SECONDS)
    except TimeoutError as error:
        raise KindError(f"{error}. The end of its log:\n{last_lines(process.log)}") from error
    if not process.alive:
        raise KindError(
            f"dockerd ended with {process.code}. If its data are broken, remove {cache() / 'engine'}. "
            f"The end of its log:\n{last_lines(process.log)}"
        )


def _remove_containers(engine: Engine) -> None:
    if containers := engine.docker("ps", "--all", "--quiet").split():
        engine.docker("rm", "--force", "--volumes", *containers)
