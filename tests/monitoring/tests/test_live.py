"""A real Prometheus looks at a real operator in real trouble; the alerts wait for seconds here, not for minutes."""

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.conftest import ACCOUNT, FLAGS
from cluster.trouble import grant, overload, shop, split_rights
from cluster.world import World, eventually
from controlplane.cutter import Cutter
from controlplane.server import ControlPlane
from monitoring.programs import Programs
from monitoring.prometheus import COMPONENT, ROOT, Prometheus, alert_rules, run_promtool, write_rules
from operator_process import OperatorProcess
from virtualservice_operator.controller.metrics import Metrics

MANY = tuple(f"s{number}" for number in range(12))
NAME = re.compile(r"\b(?:virtualservice_operator|process)_\w+")
# Added by Prometheus, or by the form of a histogram.
EVERYWHERE = {"le", "job", "instance"}


def expressions() -> list[str]:
    """Return every expression of the dashboard and of the alerts."""
    dashboard = json.loads((COMPONENT / "dashboard.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return [*asked, *(rule["expr"] for rule in alert_rules())]


def hasty(rule: dict[str, Any]) -> dict[str, Any]:
    """Return an alert that does not wait, and looks back for seconds only."""
    expression = re.sub(r"\[\d+m\]", "[10s]", rule["expr"])
    return {**{key: value for key, value in rule.items() if key != "for"}, "expr": expression}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory, istio_crds: Path) -> Iterator[ControlPlane]:
    directory = tmp_path_factory.mktemp("monitoring") / "plane"
    with ControlPlane.start(directory, crds=[istio_crds, ROOT / "crds"]) as plane:
        plane.kubectl("apply", "-k", str(ROOT / "kustomize/base"))
        split_rights(plane)
        yield plane


@pytest.fixture
def wire(plane: ControlPlane) -> Iterator[Cutter]:
    with Cutter(plane.port) as cutter:
        yield cutter


@pytest.fixture
def operator(plane: ControlPlane, wire: Cutter, tmp_path: Path) -> Iterator[OperatorProcess]:
    kubeconfig = plane.kubeconfig_through(wire.port, plane.kubeconfig_for_service_account(*ACCOUNT))
    with OperatorProcess(kubeconfig, tmp_path / "operator", *FLAGS) as process:
        yield process


@pytest.fixture
def prometheus(programs: Programs, operator: OperatorProcess, tmp_path: Path) -> Iterator[Prometheus]:
    rules = write_rules(tmp_path / "rules.yaml", [hasty(rule) for rule in alert_rules()])
    with Prometheus(programs, tmp_path / "prometheus", [operator.port], rules) as prometheus:
        eventually("it is scraped", lambda: prometheus.query("virtualservice_operator_leader"))
        yield prometheus


@pytest.fixture
def world(plane: ControlPlane) -> World:
    return World.new(plane)


def fires(prometheus: Prometheus, alert: str) -> dict[str, str]:
    """Wait until an alert fires and return its labels; what it says must have come out whole."""
    name = f"VirtualServiceOperator{alert}"
    labels = eventually(f"{name} fires", lambda: prometheus.firing().get(name), 90)
    for text in prometheus.annotations(name):
        assert "<error" not in text, text
        assert "<no value>" not in text, text
    return dict(labels)


def ends(prometheus: Prometheus, alert: str) -> None:
    eventually(f"{alert} ends", lambda: f"VirtualServiceOperator{alert}" not in prometheus.firing(), 120)


def test_rights_denied_in_a_namespace(world: World, prometheus: Prometheus) -> None:
    shop(world, *MANY)
    held = fires(prometheus, "WritesHeldBack")
    assert held["namespace"] == world.ns("shop")
    assert fires(prometheus, "PolicyNotReady")["policy"] == "defaults"
    fires(prometheus, "WritesFail")
    grant(world, "shop")
    for alert in ("WritesHeldBack", "PolicyNotReady", "WritesFail"):
        ends(prometheus, alert)


def test_the_api_server_is_out_of_reach(world: World, wire: Cutter, prometheus: Prometheus) -> None:
    wire.refuse()
    wire.cut()
    assert fires(prometheus, "WatchDown")["kind"] in ("Service", "Namespace", "VirtualService", "RoutingPolicy")
    wire.accept()
    ends(prometheus, "WatchDown")


def test_two_policies_that_want_the_same_route(world: World, prometheus: Prometheus) -> None:
    world.namespace("shop")
    grant(world, "shop")
    for developer in ("alice", "bob"):
        world.namespace(developer)
        world.service("s0", developer)
    world.service("s0", "shop")
    for policy, developer in (("one", "alice"), ("two", "bob")):
        world.policy(policy, "shop", developers=[{"name": "carol", "namespaces": [world.ns(developer)]}])
    assert fires(prometheus, "PolicyConflicted")["namespace"] == world.ns("shop")


def test_the_api_server_is_overloaded(world: World, prometheus: Prometheus) -> None:
    world.namespace("shop")
    grant(world, "shop")
    for number in range(60):
        world.service(f"s{number}", "shop")
    with overload(world.plane):
        world.policy("defaults", "shop", developers=[])
        fires(prometheus, "Overload")
    ends(prometheus, "Overload")


def test_the_operator_is_held_up(operator: OperatorProcess, prometheus: Prometheus) -> None:
    """Stopped for a second again and again: its event loop is late."""
    deadline = time.monotonic() + 60
    while "VirtualServiceOperatorLoopLags" not in prometheus.firing() and time.monotonic() < deadline:
        os.kill(operator.pid, signal.SIGSTOP)
        time.sleep(1)
        os.kill(operator.pid, signal.SIGCONT)
        time.sleep(0.2)
    fires(prometheus, "LoopLags")


def test_the_operator_is_gone(operator: OperatorProcess, prometheus: Prometheus) -> None:
    operator.terminate()
    fires(prometheus, "NoLeader")


# ---- what dashboard and alerts are made of


def test_every_metric_that_is_used_is_one_of_a_running_operator(operator: OperatorProcess) -> None:
    shown = set(re.findall(r"^# TYPE (\S+)", operator.get("/metrics"), re.MULTILINE))
    used = {name for expression in expressions() for name in NAME.findall(expression)}
    assert len(used) > 20
    assert {
        name for name in used if re.sub(r"_(bucket|count|sum)$", "", name) not in shown and name not in shown
    } == set()


def test_every_label_that_is_used_is_one_of_its_metrics() -> None:
    known = Metrics().labels
    for expression in expressions():
        metrics = {re.sub(r"_(bucket|count|sum)$", "", name) for name in NAME.findall(expression)}
        allowed = {label for name in metrics for label in known.get(name, ())} | EVERYWHERE
        used = {label.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(",")}
        used |= set(re.findall(r"(\w+)(?:=|!=|=~|!~)\"", expression))
        assert used <= allowed, (expression, used - allowed)


def test_prometheus_reads_every_expression_and_finds_no_fault_in_the_page(
    world: World, operator: OperatorProcess, prometheus: Prometheus, programs: Programs
) -> None:
    shop(world, "s0")
    grant(world, "shop")
    world.wait_ready("defaults", "shop")
    for expression in expressions():
        prometheus.query(expression.replace("[$__rate_interval]", "[10s]"))
    done = run_promtool(programs, "check", "metrics", stdin=operator.get("/metrics"))
    complaints = [
        line for line in done.stdout.splitlines() + done.stderr.splitlines() if "virtualservice_operator" in line
    ]
    assert complaints == []


def test_the_component_adds_what_it_says_to_the_base(plane: ControlPlane, tmp_path: Path) -> None:
    kustomize = Path(os.path.relpath(ROOT / "kustomize", tmp_path))
    kinds = f"resources: [{kustomize}/base]\ncomponents: [{kustomize}/components/monitoring]\n"
    (tmp_path / "kustomization.yaml").write_text(kinds)
    made = plane.kubectl("kustomize", str(tmp_path)).stdout
    for part in ("kind: ServiceMonitor", "kind: PrometheusRule", "grafana_dashboard: ", "dashboard.json: "):
        assert part in made
