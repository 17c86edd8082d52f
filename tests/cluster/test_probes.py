"""Probes while something is wrong: readiness names it, liveness does not care but for a loop that hangs."""

import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.conftest import ACCOUNT, FLAGS
from cluster.world import World, eventually, shop_with_alice
from controlplane.cutter import Cutter
from controlplane.server import ControlPlane
from operator_process import OperatorProcess

ROOT = Path(__file__).resolve().parents[2]
WITHOUT_SECCOMP = (sys.executable, str(Path(__file__).with_name("without_seccomp.py")))
ROLE = "/apis/rbac.authorization.k8s.io/v1/clusterroles/virtualservice-operator"


@pytest.fixture
def wire(control_plane: ControlPlane) -> Iterator[Cutter]:
    with Cutter(control_plane.port) as cutter:
        yield cutter


@pytest.fixture
def behind(control_plane: ControlPlane, wire: Cutter, tmp_path: Path) -> Iterator[OperatorProcess]:
    """A replica that reaches the API server by the wire only; it may lead or stand by."""
    kubeconfig = control_plane.kubeconfig_for_service_account(*ACCOUNT)
    with OperatorProcess(control_plane.kubeconfig_through(wire.port, kubeconfig), tmp_path, *FLAGS) as process:
        yield process


def test_watches_that_are_down_for_half_a_minute_show_in_readiness_until_they_are_back(
    behind: OperatorProcess, wire: Cutter
) -> None:
    wire.refuse()
    wire.cut()
    cut = time.monotonic()
    first = eventually("not ready", lambda: (text := behind.get("/readyz")) != "ok\n" and text, 60)
    assert time.monotonic() - cut > 25
    assert "down for 3" in first
    needed = {"Service", "Namespace", "VirtualService", "Policy", "Lease (read)"}
    eventually(
        "each is named", lambda: {line.split(":")[0] for line in behind.get("/readyz").splitlines()} >= needed, 60
    )
    assert behind.get("/healthz") == "ok\n"
    wire.accept()
    eventually("ready again", lambda: behind.get("/readyz") == "ok\n", 60)


def test_a_watch_of_policies_that_is_refused_shows_in_readiness_although_they_can_be_listed(
    own_plane: ControlPlane, tmp_path: Path
) -> None:
    role = own_plane.request("GET", ROLE)
    (number,) = [number for number, rule in enumerate(role["rules"]) if rule["resources"] == ["routingpolicies"]]
    without = [{"op": "replace", "path": f"/rules/{number}/verbs", "value": ["list"]}]
    own_plane.request("PATCH", ROLE, without, "application/json-patch+json")
    operator = OperatorProcess(own_plane.kubeconfig_for_service_account(*ACCOUNT), tmp_path, *FLAGS)
    operator.start()
    try:
        text = eventually("not ready", lambda: "Policy: down for 3" in (text := operator.get("/readyz")) and text, 90)
        assert "403" in text
        assert "grant it: kubectl apply -k kustomize/base" in text
        assert 'watch_up{kind="RoutingPolicy"} 0.0' in operator.get("/metrics")
        assert operator.log.read_text().count("kopf ended") <= 5
        own_plane.request("PUT", ROLE, {**role, "metadata": {"name": role["metadata"]["name"]}})
        operator.wait_ready()
        assert 'watch_up{kind="RoutingPolicy"} 1.0' in operator.get("/metrics")
        assert "Traceback" not in operator.log.read_text()
    finally:
        operator.close()


def test_a_loop_that_hangs_fails_liveness_and_one_that_turns_again_does_not(behind: OperatorProcess) -> None:
    behind.signal(signal.SIGSTOP)
    assert behind.get("/healthz") == ""
    behind.signal(signal.SIGCONT)
    eventually("it turns", lambda: behind.get("/healthz") == "ok\n")


def test_a_kernel_without_seccomp_is_said_in_the_log_and_readiness_stays_true(
    own_plane: ControlPlane, tmp_path: Path
) -> None:
    kubeconfig = own_plane.kubeconfig_for_service_account(*ACCOUNT)
    world = World.new(own_plane)
    with OperatorProcess(kubeconfig, tmp_path, *FLAGS, under=WITHOUT_SECCOMP) as operator:
        shop_with_alice(world, "reviews")
        world.policy("defaults", "shop", template={"virtualService": '{% extends "base" %}'})
        world.wait_ready("defaults", "shop")
        assert world.rules("reviews", "shop") == ["defaults.alice", "default"]
        assert 'template_renders_total{result="rendered"}' in operator.get("/metrics")
        said = (
            "the template worker runs without its system call filter (seccomp: Invalid argument); its other limits hold"
        )
        assert said in operator.log.read_text()
        assert operator.get("/readyz") == "ok\n"
        assert operator.get("/healthz") == "ok\n"
