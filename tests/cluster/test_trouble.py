"""One namespace in trouble costs the others nothing: rights, webhooks, policies, quotas, deletion, overload."""

import json
import re
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from cluster.conftest import ACCOUNT, FLAGS, USER
from cluster.trouble import (
    Record,
    denying_policy,
    grant,
    hanging_port,
    heals,
    overload,
    revoke,
    set_quota,
    shop,
    split_rights,
    webhook,
)
from cluster.world import ISTIO, POLICIES, World, eventually, steadily
from controlplane.audit import AuditEvent, read_events
from controlplane.ports import free_port
from controlplane.server import ControlPlane
from operator_process import OperatorProcess

ROOT = Path(__file__).resolve().parents[2]
MANY = tuple(f"s{number}" for number in range(12))


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory, istio_crds: Path) -> Iterator[ControlPlane]:
    directory = tmp_path_factory.mktemp("trouble") / "plane"
    with ControlPlane.start(directory, crds=[istio_crds, ROOT / "crds"]) as plane:
        plane.kubectl("apply", "-k", str(ROOT / "kustomize/base"))
        split_rights(plane)
        yield plane


@pytest.fixture(scope="module")
def operator(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    kubeconfig = plane.kubeconfig_for_service_account(*ACCOUNT)
    with OperatorProcess(kubeconfig, tmp_path_factory.mktemp("operator"), *FLAGS) as process:
        yield process
        assert "bug:" not in process.log.read_text(), process.log.read_text()
        assert "Traceback" not in process.log.read_text(), process.log.read_text()


@pytest.fixture
def world(plane: ControlPlane, operator: OperatorProcess) -> World:
    return World.new(plane)


def others_go_on(world: World, seconds: float = 40) -> None:
    """Make a healthy namespace and change it; each change must be written while the trouble lasts."""
    shop(world, "healthy", name="market")
    grant(world, "market")
    eventually("others are written", lambda: world.rules("healthy", "market") == ["default"], seconds)
    for port in (81, 82, 83):
        world.service("healthy", "market", ("http", 80), ("http-more", port))
        eventually("and changed", lambda: ports_of(world) == [80, port], seconds)  # noqa: B023 - asked at once
    world.wait_ready("defaults", "market")


def ports_of(world: World) -> list[int]:
    """Return the ports that the rules of the healthy Service are for."""
    return [rule["match"][0]["port"] for rule in world.http("healthy", "market") if "match" in rule]


def reasons(world: World, namespace: str = "shop") -> set[str]:
    """Return the reasons of all entries of the policy there; empty until each Service has one."""
    entries = world.status("defaults", namespace).get("services", [])
    return {item["reason"] for item in entries} if entries else set()


def all_have(world: World, reason: str) -> None:
    def found() -> bool:
        entries = world.status("defaults", "shop").get("services", [])
        return len(entries) == len(MANY) and all(item["reason"] == reason for item in entries)

    eventually(f"all have {reason}: {world.status('defaults', 'shop')}", found, 60)


def circuits(operator: OperatorProcess, namespace: str, verb: str = "create") -> list[str]:
    """Return the values of a namespace's circuit in /metrics; none while it is closed."""
    labels = f'kind="VirtualService",namespace="{namespace}",verb="{verb}"'
    pattern = rf"^virtualservice_operator_circuit_state\{{{labels}\}} (\S+)$"
    return re.findall(pattern, operator.get("/metrics"), re.MULTILINE)


def writes(world: World, namespace: str, code: int | None = None) -> list[AuditEvent]:
    """Return the operator's attempts to write VirtualServices in a namespace."""
    return [
        event
        for event in read_events(world.plane.audit_log, user=USER)
        if event.resource == "virtualservices"
        and event.verb in ("patch", "delete")
        and event.namespace == world.ns(namespace)
        and code in (None, event.code)
    ]


def note_writes(record: Record, world: World, planned: int) -> None:
    """Tell `make faults` how many writes of VirtualServices there were above those that were planned."""
    stored = sum(event.code < 300 for event in writes(world, "shop"))
    record("extra writes", max(0, stored - planned))


def held_back(world: World, *words: str) -> None:
    """Wait until an entry says that it is held back, and what the others met."""

    def found() -> bool:
        entries = world.status("defaults", "shop").get("services", [])
        messages = [item.get("message", "") for item in entries]
        return any(
            "are held back, as several in a row failed" in text and all(word in text for word in words)
            for text in messages
        )

    eventually(f"held back: {words}: {world.status('defaults', 'shop')}", found, 60)


@pytest.mark.fault("F21")
def test_rights_denied_in_one_namespace_and_granted_later(
    world: World, operator: OperatorProcess, record_property: Record
) -> None:
    shop(world, *MANY)
    others_go_on(world)
    all_have(world, "Forbidden")
    held_back(world, "grant it: kubectl apply -k kustomize/base")
    assert circuits(operator, world.ns("shop")) in (["1.0"], ["2.0"])
    assert circuits(operator, world.ns("market")) == []
    assert "grant it: kubectl apply -k kustomize/base" in world.message("defaults", "shop", "Ready")
    assert len(writes(world, "shop")) < 3 * len(MANY)
    grant(world, "shop")
    heals(record_property, lambda: reasons(world) == {"Programmed"})
    note_writes(record_property, world, planned=len(MANY))
    assert circuits(operator, world.ns("shop")) == []
    assert f"requests to create a VirtualService in {world.ns('shop')} go through again" in operator.log.read_text()


@pytest.mark.fault("F22")
def test_rights_lost_everywhere_while_running(world: World, operator: OperatorProcess, record_property: Record) -> None:
    for name in ("shop", "market"):
        shop(world, *MANY, name=name)
        grant(world, name)
        world.wait_ready("defaults", name)
    revoke(world, "shop", "market")
    for name in ("shop", "market"):
        world.policy("defaults", name, developers=[], routedToHeader="x-routed-to")
    for name in ("shop", "market"):
        world.wait_condition("defaults", name, "Ready", ("False", "Forbidden"))
    assert operator.get("/healthz") == "ok\n"
    grant(world, "shop", "market")
    for name in ("shop", "market"):
        heals(record_property, lambda: world.condition("defaults", name, "Ready") == ("True", "Programmed"))  # noqa: B023 - asked at once
    note_writes(record_property, world, planned=2 * len(MANY))


@pytest.mark.fault("F25")
def test_an_admission_policy_that_denies_one_namespace(world: World, record_property: Record) -> None:
    with_policy = denying_policy(world, "shop")
    world.namespace("shop")
    with with_policy:
        grant(world, "shop")
        for name in MANY:
            world.service(name, "shop")
        world.policy("defaults", "shop", developers=[])
        others_go_on(world)
        all_have(world, "AdmissionRejected")
        assert "no routes here" in world.message("defaults", "shop", "Ready")
        time.sleep(20)
        first = min(event.timestamp for event in writes(world, "shop"))
        early = [event for event in writes(world, "shop") if event.timestamp < first + timedelta(seconds=20)]
        # At once, and after 5 and 10 s more: each object by itself, later each time.
        assert max(sum(event.name == name for event in early) for name in {event.name for event in early}) <= 4
    heals(record_property, lambda: reasons(world) == {"Programmed"}, 120)
    note_writes(record_property, world, planned=len(MANY))


@pytest.mark.fault("F26")
def test_a_webhook_that_is_away_holds_up_its_namespace_only(
    world: World, operator: OperatorProcess, record_property: Record
) -> None:
    world.namespace("shop")
    grant(world, "shop")
    with webhook(world, "shop", free_port()):
        for name in MANY:
            world.service(name, "shop")
        world.policy("defaults", "shop", developers=[])
        others_go_on(world)
        all_have(world, "AdmissionRejected")
        held_back(world, "failed calling webhook")
        assert circuits(operator, world.ns("shop")) in (["1.0"], ["2.0"])
        assert 'reason="WebhookFailed"' in operator.get("/metrics")
    heals(record_property, lambda: reasons(world) == {"Programmed"})
    note_writes(record_property, world, planned=len(MANY))


@pytest.mark.fault("F26")
def test_a_webhook_that_hangs_does_not_use_up_the_workers(world: World, record_property: Record) -> None:
    """Each request to that namespace hangs for thirty seconds, and there are more of them than workers."""
    world.namespace("shop")
    grant(world, "shop")
    with hanging_port(world.plane) as port, webhook(world, "shop", port, seconds=30):
        for name in MANY:
            world.service(name, "shop")
        world.policy("defaults", "shop", developers=[])
        others_go_on(world, seconds=20)
        eventually("held up", lambda: reasons(world) & {"AdmissionRejected", "ApplyFailed"}, 90)
    heals(record_property, lambda: reasons(world) == {"Programmed"}, 120)
    note_writes(record_property, world, planned=len(MANY))


@pytest.mark.fault("F28")
def test_a_namespace_that_is_being_deleted_is_left_alone(world: World, record_property: Record) -> None:
    shop(world, *MANY)
    grant(world, "shop")
    world.wait_ready("defaults", "shop")
    stuck = {"metadata": {"name": "stuck", "finalizers": ["example.com/never"]}, "data": {}}
    world.plane.request("POST", f"/api/v1/namespaces/{world.ns('shop')}/configmaps", stuck)
    world.delete_namespace("shop")
    others_go_on(world)
    eventually("all that is not stuck is gone", lambda: left_in(world, "shop") == 0)
    refused = [event.name for event in writes(world, "shop", 403)]
    assert len(refused) == len(set(refused)), "no object is tried again after the first refusal"
    before = len(writes(world, "shop"))
    steadily("nothing more is tried", lambda: len(writes(world, "shop")) == before, 5)
    note_writes(record_property, world, planned=2 * len(MANY))


def left_in(world: World, namespace: str) -> int:
    """Return how many Services, policies and VirtualServices a namespace still has."""
    kinds = (("/api/v1", "services"), (POLICIES, "routingpolicies"), (ISTIO, "virtualservices"))
    paths = (f"{api}/namespaces/{world.ns(namespace)}/{plural}" for api, plural in kinds)
    return sum(len(world.plane.request("GET", path)["items"]) for path in paths)


@pytest.mark.fault("F29")
def test_a_full_quota_holds_up_what_is_new_only(world: World, record_property: Record) -> None:
    shop(world, "old")
    grant(world, "shop")
    world.wait_ready("defaults", "shop")
    set_quota(world, "shop", hard=1, used=1)
    for name in MANY:
        world.service(name, "shop")
    others_go_on(world)
    eventually("refused", lambda: "exceeded quota" in json.dumps(world.status("defaults", "shop")), 60)
    world.service("old", "shop", ("http", 8080))
    eventually("what is there is changed", lambda: world.http("old", "shop")[0]["route"][0]["destination"] != {}, 60)
    world.delete_service("old", "shop")
    eventually("and deleted", lambda: world.written("old", "shop") is None, 60)
    set_quota(world, "shop", hard=len(MANY), used=0)
    heals(record_property, lambda: reasons(world) == {"Programmed"}, 120)
    note_writes(record_property, world, planned=len(MANY) + 3)


def test_overload_is_waited_out_for_as_long_as_the_api_server_asks(world: World, operator: OperatorProcess) -> None:
    world.namespace("shop")
    grant(world, "shop")
    for name in (*MANY, *(f"more-{number}" for number in range(28))):
        world.service(name, "shop")
    with overload(world.plane):
        world.policy("defaults", "shop", developers=[])
        eventually("refused for real", lambda: len(writes(world, "shop", 429)) >= 3, 60)
        time.sleep(5)
        refused = writes(world, "shop", 429)
        others = writes(world, "shop")
    for event in refused:
        # Eight workers may have had a request under way; nothing else comes before the second that was asked for is over.
        soon = [other for other in others if timedelta(0) < other.timestamp - event.timestamp < timedelta(seconds=0.9)]
        assert len(soon) <= 8, (event.timestamp, [other.timestamp for other in soon])
    assert 'reason="Overload"' in operator.get("/metrics")
    world.wait_ready("defaults", "shop")
