"""The process from outside: flags, no cluster, missing rights, missing CRDs, probes, metrics, signals."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.conftest import ACCOUNT, FLAGS
from cluster.world import World, eventually, shop_with_alice
from controlplane.server import ControlPlane
from operator_process import OperatorProcess, run_vso

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--kubeconfig", "/nowhere/config"), "there is no kubeconfig at /nowhere/config; name one with --kubeconfig"),
        (("--port", "0"), "0 is not in the range 1<=x<=65535"),
        (("--log-level", "loud"), "'loud' is not one of 'debug', 'info', 'warning', 'error'"),
        (("--cluster-domain", "Not A Domain"), "'Not A Domain' is not a DNS domain"),
        (("--istio-namespace", "a/b"), "'a/b' is not a namespace's name"),
        (("--nonsense",), "No such option '--nonsense'"),
    ],
    ids=["kubeconfig", "port", "log-level", "cluster-domain", "istio-namespace", "unknown"],
)
def test_a_bad_flag_is_one_clear_line(arguments: tuple[str, ...], message: str) -> None:
    done = run_vso("run", *arguments)
    assert done.returncode != 0
    assert message in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr


def test_a_broken_kubeconfig_is_one_clear_line(tmp_path: Path) -> None:
    broken = tmp_path / "config"
    broken.write_text("clusters: [")
    done = run_vso("run", "--kubeconfig", str(broken))
    assert done.returncode == 1
    assert f"{broken} cannot be used as a kubeconfig" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_context_is_one_clear_line(control_plane: ControlPlane) -> None:
    done = run_vso("run", "--kubeconfig", str(control_plane.kubeconfig), "--context", "nobody")
    assert done.returncode == 1
    assert "nobody" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_taken_port_is_one_clear_line(control_plane: ControlPlane) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run_vso("run", "--kubeconfig", str(control_plane.kubeconfig), "--host", "127.0.0.1", "--port", port)
    assert done.returncode == 1
    assert f"port {port} on 127.0.0.1 cannot be used" in done.stderr
    assert "choose another with --port" in done.stderr
    assert "Traceback" not in done.stderr


def test_probes_and_metrics_answer(world: World, operator: OperatorProcess) -> None:
    shop_with_alice(world, "reviews")
    namespace = world.ns("shop")
    assert operator.get("/healthz") == "ok\n"
    assert operator.get("/readyz") == "ok\n"
    metrics = operator.get("/metrics")
    assert f'virtualservice_operator_virtualservices_created_total{{namespace="{namespace}"}} 1.0' in metrics
    created = f'virtualservice_operator_services_processed_total{{action="created",namespace="{namespace}"}} 1.0'
    assert created in metrics
    assert f'namespace="{namespace}",result="success"' in metrics
    assert "virtualservice_operator_reconciliation_duration_seconds_bucket" in metrics
    original = re.compile(
        r"virtualservice_operator_(services_processed|virtualservices_created|reconciliation_duration)"
    )
    ours = [line for line in metrics.splitlines() if f'"{namespace}"' in line and not original.match(line)]
    assert f'virtualservice_operator_policy_ready{{namespace="{namespace}",policy="defaults"}} 1.0' in ours
    assert len(ours) <= 10


@pytest.fixture(scope="module")
def bare_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """An API server that knows neither Istio nor us."""
    with ControlPlane.start(tmp_path_factory.mktemp("bare") / "plane", controllers=False) as plane:
        yield plane


def test_missing_kinds_and_rights_are_said_waited_for_and_healed(
    bare_plane: ControlPlane, tmp_path: Path, istio_crds: Path
) -> None:
    """One story, because what is installed stays installed: nothing, our CRD, the rights, Istio."""
    accounts = ROOT / "kustomize/base"
    for part in ("namespace.yaml", "service-account.yaml"):
        bare_plane.kubectl("apply", "-f", str(accounts / part))
    operator = OperatorProcess(bare_plane.kubeconfig_for_service_account(*ACCOUNT), tmp_path, *FLAGS)
    operator.start()
    world = World.new(bare_plane)
    try:
        eventually("no rights", lambda: "Service: cannot list or watch Service: 403" in operator.get("/readyz"))
        eventually("in the log", lambda: "grant it: kubectl apply -k kustomize/base" in operator.log.read_text())
        assert operator.get("/healthz") == "ok\n"
        bare_plane.kubectl("apply", "-f", str(accounts / "roles.yaml"))
        eventually("no policies", lambda: "install it: kubectl apply -f crds/" in operator.get("/readyz"))
        bare_plane.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
        operator.wait_ready()
        world.namespace("shop")
        world.service("reviews", "shop")
        eventually("the CRD serves", lambda: _try_policy(world))
        eventually("no Istio", lambda: world.condition("p", "shop", "Programmed") == ("False", "IstioNotInstalled"))
        assert "install Istio 1.22 or later" in world.message("p", "shop", "Ready")
        assert world.condition("p", "shop", "Reconciling") == ("True", "ProgressingWithRetry")
        bare_plane.kubectl("apply", "--server-side", "-f", str(istio_crds))
        world.wait_ready("p", "shop")
        assert world.rules("reviews", "shop") == ["default"]
        assert "Traceback" not in operator.log.read_text()
    finally:
        operator.close()


def _try_policy(world: World) -> bool:
    """Tell whether the API server takes a policy: a CRD serves a moment after it was applied."""
    try:
        world.policy("p", "shop")
    except Exception:  # noqa: BLE001 - 404 until the CRD is established
        return False
    return True


def test_sigterm_ends_it_with_exit_code_0(
    control_plane: ControlPlane, operator_kubeconfig: Path, tmp_path: Path
) -> None:
    operator = OperatorProcess(operator_kubeconfig, tmp_path)
    operator.start()
    operator.wait_ready()
    assert operator.terminate(10) == 0
    assert "Traceback" not in operator.log.read_text()
    operator.close()


def test_json_logs_are_one_object_per_line(
    control_plane: ControlPlane, operator_kubeconfig: Path, tmp_path: Path
) -> None:
    import json

    operator = OperatorProcess(operator_kubeconfig, tmp_path, "--log-format", "json")
    with operator:
        pass
    lines = [json.loads(line) for line in operator.log.read_text().splitlines()]
    assert lines[0]["message"].startswith("watching RoutingPolicies on https://")
    assert {"time", "level", "logger", "message"} <= set(lines[0])
