"""Many hand-written VirtualServices, and a policy over many Services: nothing red, nothing touched, nothing too large."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import load
from cluster.conftest import ACCOUNT, USER
from cluster.world import World, eventually, only, steadily
from controlplane.audit import read_events
from controlplane.server import ControlPlane
from operator_process import OperatorProcess

ROOT = Path(__file__).resolve().parents[2]
SERVICES, FOREIGN = 300, 40
LARGE = 2000
STATUS_LIMIT = 32 * 1024


def test_forty_hand_written_among_three_hundred_services_are_named_and_untouched(world: World) -> None:
    world.namespace("shop")
    rule = {"route": [{"destination": {"host": "elsewhere.example"}}]}
    hosts = [f"svc{number:03}" for number in range(SERVICES)]
    before = {}
    for name in hosts:
        world.service(name, "shop")
    for name in hosts[:FOREIGN]:
        stored = world.virtual_service(f"hand-{name}", "shop", {"hosts": [name], "http": [rule]})
        before[f"hand-{name}"] = stored["metadata"]["resourceVersion"]
    world.policy("defaults", "shop", developersFrom=only(world))
    eventually(
        "the others are programmed",
        lambda: world.status("defaults", "shop").get("servicesReady") == f"{SERVICES - FOREIGN}/{SERVICES - FOREIGN}",
        seconds=120,
    )
    world.wait_ready("defaults", "shop")
    status = world.status("defaults", "shop")
    assert {item["name"] for item in status["services"] if item["reason"] == "HostTaken"} == set(hosts[:FOREIGN])
    assert not [item for item in status["services"] if item["state"] == "Failed"]
    path = f"/apis/networking.istio.io/v1/namespaces/{world.ns('shop')}/virtualservices"
    items = world.plane.request("GET", path)["items"]
    assert len(items) == SERVICES
    versions = {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in items}
    assert {name: versions[name] for name in before} == before
    written = [event for event in read_events(world.plane.audit_log, user=USER) if event.verb != "watch"]
    assert not [event for event in written if event.namespace == world.ns("shop") and "/hand-" in event.request_uri]
    # One that comes later takes its Service, one from another namespace does not.
    world.namespace("elsewhere")
    world.virtual_service("late", "shop", {"hosts": [hosts[-1]], "http": [rule]})
    world.virtual_service("late", "elsewhere", {"hosts": [world.host(hosts[-2], "shop")], "http": [rule]})
    eventually("ours is withdrawn", lambda: world.written(hosts[-1], "shop") is None)
    steadily("this one stays", lambda: world.written(hosts[-2], "shop") is not None, 2)


@pytest.fixture
def large_plane(tmp_path_factory: pytest.TempPathFactory, istio_crds: Path) -> Iterator[ControlPlane]:
    directory = tmp_path_factory.mktemp("large") / "plane"
    with ControlPlane.start(directory, crds=[istio_crds, ROOT / "crds"], controllers=False) as plane:
        plane.kubectl("apply", "-k", str(ROOT / "kustomize/base"))
        load.load_services(plane, LARGE)
        yield plane


def test_the_status_of_a_policy_over_two_thousand_services_stays_small(
    large_plane: ControlPlane, tmp_path: Path
) -> None:
    with OperatorProcess(large_plane.kubeconfig_for_service_account(*ACCOUNT), tmp_path):
        large_plane.request("POST", load.POLICY_PATH, load.POLICY)
        load.wait_for("all are programmed", lambda: load.programmed(large_plane) == LARGE, 300)
        (stored,) = large_plane.request("GET", load.POLICY_PATH)["items"]
        status = stored["status"]
    assert len(json.dumps(status)) < STATUS_LIMIT
    assert len(status["services"]) == 64
    assert status["omittedServices"] == LARGE - 64
