"""Traces as a collector gets them over the wire, from the operator as a process."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.collector import Collector
from cluster.conftest import ACCOUNT, FLAGS
from cluster.trouble import denying_policy
from cluster.world import World, eventually, shop_with_alice
from controlplane.ports import free_port
from controlplane.server import ControlPlane
from operator_process import OperatorProcess

QUICK = {"OTEL_BSP_SCHEDULE_DELAY": "200", "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test"}


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with Collector() as collector:
        for name, value in {**QUICK, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}.items():
            monkeypatch.setenv(name, value)
        yield collector


@pytest.fixture
def traced(own_plane: ControlPlane, collector: Collector, tmp_path: Path) -> Iterator[OperatorProcess]:
    kubeconfig = own_plane.kubeconfig_for_service_account(*ACCOUNT)
    with OperatorProcess(kubeconfig, tmp_path, *FLAGS, "--log-format", "json") as process:
        yield process


def test_a_reconcile_is_a_span_with_its_writes_as_children(
    own_plane: ControlPlane, traced: OperatorProcess, collector: Collector
) -> None:
    world = World.new(own_plane)
    shop_with_alice(world, "reviews")
    place = {"k8s__namespace__name": world.ns("shop")}

    def created() -> list[object]:
        return list(collector.named("write", k8s__object__kind="VirtualService", **place))

    eventually("the write is sent", created)
    write = collector.named("write", k8s__object__kind="VirtualService", **place)[0]
    assert write.attributes["k8s.object.name"] == "reviews-virtual-service"
    assert write.attributes["virtualservice_operator.verb"] == "create"
    (reconcile,) = eventually(
        "its parent is sent",
        lambda: [span for span in collector.named("reconcile", **place) if span.id == write.parent],
    )
    assert reconcile.trace == write.trace
    assert reconcile.parent == ""
    assert reconcile.error is None
    assert reconcile.attributes == {
        "k8s.namespace.name": world.ns("shop"),
        "virtualservice_operator.service": "reviews",
        "virtualservice_operator.policies": ["defaults"],
        "virtualservice_operator.result": "success",
    }
    assert reconcile.resource["service.name"] == "virtualservice-operator"
    assert reconcile.resource["service.version"] == "0.1.0"
    assert reconcile.resource["deployment.environment.name"] == "test"
    assert set(collector.requests) == {("/v1/traces", "application/x-protobuf")}
    lines = [json.loads(line) for line in traced.log.read_text().splitlines()]
    line = next(line for line in lines if line.get("object") == f"{world.ns('shop')}/reviews-virtual-service")
    assert line["trace_id"] == write.trace
    assert (line["action"], line["policies"]) == ("created", f"{world.ns('shop')}/defaults")


def test_rendering_is_a_child_of_the_reconcile_and_says_what_is_wrong_with_a_template(
    own_plane: ControlPlane, traced: OperatorProcess, collector: Collector
) -> None:
    world = World.new(own_plane)
    world.namespace("shop")
    world.service("reviews", "shop")
    world.policy("defaults", "shop", developers=[], template={"virtualService": "{% extends 'base' %}"})
    world.wait_ready("defaults", "shop")
    place = {"k8s__namespace__name": world.ns("shop")}
    written = eventually(
        "the write is sent", lambda: collector.named("write", k8s__object__name="reviews-virtual-service")
    )
    render = eventually(
        "the rendering is sent", lambda: [span for span in collector.named("render") if span.trace == written[0].trace]
    )[0]
    assert render.parent in {span.id for span in collector.named("reconcile", **place)}
    assert render.attributes == {"virtualservice_operator.documents": 1}
    world.policy("defaults", "shop", developers=[], template={"virtualService": "{{ nothing }}"})
    failed = eventually("the failure is sent", lambda: collector.named("render", error__type="InvalidTemplate"))[0]
    assert "'nothing' is not a variable" in failed.error


def test_an_error_is_in_the_span_of_the_write_and_of_the_reconcile(
    own_plane: ControlPlane, traced: OperatorProcess, collector: Collector
) -> None:
    world = World.new(own_plane)
    world.namespace("shop")
    with denying_policy(world, "shop"):
        world.service("reviews", "shop")
        world.policy("defaults", "shop", developers=[])
        place = {"k8s__namespace__name": world.ns("shop"), "error__type": "AdmissionDenied"}
        write = eventually("the write failed", lambda: collector.named("write", **place))[0]
        reconcile = eventually("the reconcile failed", lambda: collector.named("reconcile", **place))[0]
    assert "no routes here" in write.error
    assert "no routes here" in reconcile.error
    assert reconcile.attributes["virtualservice_operator.result"] == "error"


def test_the_last_spans_are_sent_when_it_ends(
    own_plane: ControlPlane, traced: OperatorProcess, collector: Collector, tmp_path: Path
) -> None:
    world = World.new(own_plane)
    shop_with_alice(world, "reviews")
    assert traced.terminate(20) == 0
    found = collector.named("reconcile", k8s__namespace__name=world.ns("shop"))
    assert {span.attributes["virtualservice_operator.service"] for span in found} == {"reviews"}


def test_a_collector_that_is_away_changes_nothing(
    own_plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**QUICK, "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}"}.items():
        monkeypatch.setenv(name, value)
    kubeconfig = own_plane.kubeconfig_for_service_account(*ACCOUNT)
    with OperatorProcess(kubeconfig, tmp_path, *FLAGS) as process:
        world = World.new(own_plane)
        shop_with_alice(world, "reviews")
        eventually("it is said", lambda: "error" in process.log.read_text())
        assert process.terminate(20) == 0
        assert "Traceback" not in process.log.read_text()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("OTEL_TRACES_EXPORTER", "jaeger", "OTEL_TRACES_EXPORTER is jaeger: traces are sent by otlp only, or by none"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "set it to http/protobuf"),
    ],
)
def test_a_setting_that_is_not_supported_is_one_clear_line(
    control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    from operator_process import run_vso

    monkeypatch.setenv(name, value)
    if name != "OTEL_TRACES_EXPORTER":
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    done = run_vso("run", "--kubeconfig", str(control_plane.kubeconfig))
    assert done.returncode == 1
    assert message in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr
