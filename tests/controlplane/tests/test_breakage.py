"""The control plane breaks as a test asks, and leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.build import istio_crds
from controlplane.cutter import Cutter
from controlplane.errors import KubectlError, ProcessError
from controlplane.server import ControlPlane
from controlplane.waiting import wait_for

pytestmark = pytest.mark.controlplane

ORPHAN = """
import json, os, sys, time
from pathlib import Path
from controlplane.server import ControlPlane
plane = ControlPlane.start(Path(sys.argv[1]), controllers=False)
print(json.dumps(plane.pids), flush=True)
if os.fork() == 0:  # as multiprocessing would: it holds all that its parent had open
    os.close(1)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def breakable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane.start(tmp_path_factory.mktemp("breakable") / "plane", controllers=False) as running:
        yield running


def is_gone(pid: int) -> bool:
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True


def make_config_map(plane: ControlPlane, name: str) -> str:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
    version: str = plane.request("POST", "/api/v1/namespaces/default/configmaps", body)["metadata"]["resourceVersion"]
    return version


def watch_from(plane: ControlPlane, version: str) -> list[tuple[str, object]]:
    path = f"/api/v1/namespaces/default/configmaps?watch=1&timeoutSeconds=1&resourceVersion={version}"
    events = (json.loads(line) for line in plane.fetch("GET", path).text.splitlines())
    return [(event["type"], event["object"].get("code")) for event in events]


def test_a_watch_from_before_the_compaction_is_gone(breakable: ControlPlane) -> None:
    old = make_config_map(breakable, "before")
    make_config_map(breakable, "after")
    assert watch_from(breakable, old) == [("ADDED", None)]
    breakable.kill_api_server()
    breakable.compact()
    breakable.start_api_server()
    assert watch_from(breakable, old) == [("ERROR", 410)]


def test_a_killed_api_server_comes_back_with_its_data_on_its_port(breakable: ControlPlane) -> None:
    make_config_map(breakable, "kept")
    url = breakable.url
    breakable.kill_api_server()
    with pytest.raises(ConnectionRefusedError):
        breakable.request("GET", "/version")
    breakable.start_api_server()
    assert breakable.url == url
    assert breakable.fetch("GET", "/api/v1/namespaces/default/configmaps/kept").status == 200


def test_a_killed_etcd_comes_back_with_its_data(breakable: ControlPlane) -> None:
    make_config_map(breakable, "durable")
    breakable.kill_etcd()
    breakable.start_etcd()
    path = "/api/v1/namespaces/default/configmaps/durable"
    wait_for(lambda: breakable.fetch("GET", path).status == 200, what="the API server to reach etcd again")


def test_a_program_that_does_not_start_shows_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(ProcessError, match=r"kube-apiserver ended with 1(.|\n)*unknown flag: --nonsense"):
        ControlPlane.start(tmp_path / "plane", controllers=False, api_server_flags=["--nonsense"])


def test_istios_crds_are_served_at_once_and_stop_leaves_nothing(tmp_path: Path) -> None:
    with ControlPlane.start(tmp_path / "plane", controllers=False, crds=[istio_crds()]) as plane:
        assert plane.request("GET", "/apis/networking.istio.io/v1/virtualservices")["items"] == []
        pids = plane.pids
    assert all(is_gone(pid) for pid in pids.values())
    assert not plane.directory.exists()


def test_nothing_outlives_a_parent_that_is_killed_even_while_a_fork_of_it_lives(tmp_path: Path) -> None:
    command = (sys.executable, "-c", ORPHAN, str(tmp_path / "plane"))
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env, process_group=0) as parent:
        try:
            assert parent.stdout is not None
            pids: dict[str, int] = json.loads(parent.stdout.readline())
            assert set(pids) == {"etcd", "kube-apiserver", "supervisor"}
            time.sleep(0.5)  # the fork
            parent.kill()
            wait_for(lambda: all(is_gone(pid) for pid in pids.values()), what="the programs to end", timeout=10)
            wait_for(lambda: not (tmp_path / "plane").exists(), what="the folder to go", timeout=10)
        finally:
            os.killpg(parent.pid, signal.SIGKILL)


def test_kubectl_through_a_cutter_verifies_the_certificate(breakable: ControlPlane) -> None:
    with Cutter(breakable.port) as cutter:
        kubeconfig = breakable.kubeconfig_through(cutter.port, breakable.kubeconfig)
        assert "default" in breakable.kubectl("get", "namespaces", kubeconfig=kubeconfig).stdout
        cutter.refuse()
        with pytest.raises(KubectlError, match="refused"):
            breakable.kubectl("get", "namespaces", kubeconfig=kubeconfig)
