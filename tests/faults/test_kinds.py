"""Kinds that come and go: Istio's VirtualServices (F23), our own RoutingPolicies (F24)."""

import copy
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.conftest import ACCOUNT, USER
from cluster.world import Json, World, eventually, only
from controlplane.errors import ApiError
from controlplane.server import ControlPlane
from faults.conftest import PLACEHOLDER_RIGHTS, ROOT, Start
from faults.invariants import i6_alive
from faults.journal import audited_writes
from faults.oracle import PLANNED
from faults.rig import Measured, settle

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
ISTIO_CRD = f"{CRDS}/virtualservices.networking.istio.io"
OUR_CRD = f"{CRDS}/routingpolicies.virtualservice-operator.dev"


@pytest.fixture
def bare_plane(tmp_path: Path) -> Iterator[ControlPlane]:
    """An API server with our CRD and roles, and without Istio."""
    with ControlPlane.start(tmp_path / "plane", crds=[ROOT / "crds"], controllers=False) as running:
        running.kubectl("apply", "-k", str(ROOT / "kustomize/base"))
        running.kubectl("apply", "-f", str(PLACEHOLDER_RIGHTS))
        yield running


def make_shop(world: World) -> None:
    """Make a shop, its developer, and the policy, without waiting for it."""
    world.namespace("shop")
    world.namespace("alice", developer="alice")
    for service in ("reviews", "ratings"):
        world.service(service, "shop")
        world.service(service, "alice")
    world.policy("defaults", "shop", developersFrom=only(world, "alice"))


def install(plane: ControlPlane, path: Path, crd: str) -> float:
    """Install CRDs and return when one of them was established."""
    plane.kubectl("apply", "--server-side", "--force-conflicts", f"--filename={path}")
    return established(plane, crd)


def established(plane: ControlPlane, crd: str) -> float:
    def is_established() -> bool:
        conditions = plane.request("GET", crd).get("status", {}).get("conditions") or ()
        return any(item["type"] == "Established" and item["status"] == "True" for item in conditions)

    eventually("the CRD is established", is_established)
    return time.monotonic()


def remove(plane: ControlPlane, crd: str) -> None:
    """Delete a CRD and return when it is gone, and all its objects with it."""
    plane.request("DELETE", crd)

    def is_gone() -> bool:
        try:
            plane.request("GET", crd)
        except ApiError as error:
            return error.status == 404
        return False

    eventually("the CRD is gone", is_gone)


def planned_writes(plane: ControlPlane, since: float) -> int:
    writes = audited_writes(plane.audit_log, USER)
    return sum(write.at >= since and write.call.resource in PLANNED and write.went_through for write in writes)


@pytest.mark.fault("F23")
def test_i1_i5_i6_istio_absent_installed_removed_and_back(
    bare_plane: ControlPlane, istio_crds: Path, start: Start, measured: Measured
) -> None:
    operator, world = start(bare_plane.kubeconfig_for_service_account(*ACCOUNT)), World.new(bare_plane)
    make_shop(world)
    world.wait_condition("defaults", "shop", "Programmed", ("False", "IstioNotInstalled"))
    for _ in range(2):
        measured.recoveries.append(first_write_after(bare_plane, istio_crds))
        settle(operator, world)
        world.wait_ready("defaults", "shop")
        remove(bare_plane, ISTIO_CRD)
        world.wait_condition("defaults", "shop", "Programmed", ("False", "IstioNotInstalled"))
        measured.check(i6_alive(operator))
    assert "Traceback" not in operator.log.read_text()


def first_write_after(plane: ControlPlane, istio_crds: Path) -> float:
    """Install Istio's CRDs and return the seconds from their being established to the first VirtualService."""
    since = time.time()
    at = install(plane, istio_crds, ISTIO_CRD)
    eventually("the first VirtualService", lambda: planned_writes(plane, since))
    return time.monotonic() - at


@pytest.mark.fault("F23")
def test_i1_i3_istios_crd_upgraded_to_another_storage_version_costs_no_write(
    own_plane: ControlPlane, start: Start, measured: Measured
) -> None:
    operator, world = start(own_plane.kubeconfig_for_service_account(*ACCOUNT)), World.new(own_plane)
    make_shop(world)
    settle(operator, world)
    since = time.time()
    change_storage(own_plane)
    established(own_plane, ISTIO_CRD)
    time.sleep(3)
    measured.extra = planned_writes(own_plane, since)
    assert measured.extra == 0
    world.delete_service("reviews", "alice")
    measured.recoveries.append(settle(operator, world))
    assert planned_writes(own_plane, since) == 1
    measured.check(i6_alive(operator))


def change_storage(plane: ControlPlane) -> None:
    """Store VirtualServices in another of the versions that Istio's CRD serves, and let it serve a new field."""
    crd = plane.request("GET", ISTIO_CRD)
    versions = crd["spec"]["versions"]
    stored = next(version for version in versions if version["storage"])
    other = next(version for version in versions if not version["storage"] and version["served"])
    stored["storage"], other["storage"] = False, True
    for version in versions:
        spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
        spec["properties"]["newInThisRelease"] = {"type": "string"}
    plane.request("PUT", ISTIO_CRD, crd)


@pytest.mark.fault("F24")
def test_i1_i5_i6_our_own_crd_removed_and_back(own_plane: ControlPlane, start: Start, measured: Measured) -> None:
    """With it go the policies; nothing is routed for them, and all is as before when they are back."""
    kubeconfig, world = own_plane.kubeconfig_for_service_account(*ACCOUNT), World.new(own_plane)
    operator = start(kubeconfig, "--policy-list", "30")  # its default: kopf's watch has to be there again
    make_shop(world)
    settle(operator, world)
    remove(own_plane, OUR_CRD)
    eventually("it is said", lambda: "RoutingPolicy is not installed" in operator.log.read_text())
    measured.check(i6_alive(operator))
    at = install(own_plane, ROOT / "crds", OUR_CRD)
    eventually("policies are served", lambda: try_policy(world))
    settle(operator, world)
    measured.recoveries.append(time.monotonic() - at)
    world.wait_ready("defaults", "shop")
    world.policy("defaults", "shop", developersFrom=only(world, "alice"), matches=[{"type": "Header", "name": "x"}])
    measured.recoveries.append(settle(operator, world))
    measured.check(i6_alive(operator))


def try_policy(world: World) -> bool:
    """Tell whether the API server takes a policy: a CRD serves a moment after it was established."""
    try:
        world.policy("defaults", "shop", developersFrom=only(world, "alice"))
    except ApiError:
        return False
    return True


# What an older CRD may have let in: each is stored, and does not fit the CRD of today. An unknown field is not among
# them: the API server leaves it out of what it answers, so nobody sees it any more.
MISFITS: dict[str, Json] = {
    "a number for a name": {"developers": [{"name": 7, "namespaces": ["alice"]}]},
    "a text for a list": {"matches": "x-developer"},
    "an unknown word": {"mode": "Sometimes"},
    "a spec of another type": {"services": ["reviews"]},
}


@pytest.mark.fault("F24")
@pytest.mark.parametrize("spec", MISFITS.values(), ids=MISFITS.keys())
def test_i1_i5_a_stored_policy_that_no_longer_fits_is_reported_and_others_are_served(
    spec: Json, own_plane: ControlPlane, start: Start, measured: Measured
) -> None:
    operator, world = start(own_plane.kubeconfig_for_service_account(*ACCOUNT)), World.new(own_plane)
    make_shop(world)
    settle(operator, world)
    strict = relax(own_plane)
    eventually("it is stored", lambda: store_misfit(world, spec))
    own_plane.request("PUT", OUR_CRD, {**strict, "metadata": own_plane.request("GET", OUR_CRD)["metadata"]})
    started = time.monotonic()
    eventually("it is reported", lambda: is_reported(world, "misfit"))
    measured.recoveries.append(time.monotonic() - started)
    world.delete_service("reviews", "alice")
    eventually("others are served", lambda: world.rules("reviews", "shop") == ["default"])
    world.wait_ready("defaults", "shop")
    measured.check(i6_alive(operator))


def relax(plane: ControlPlane) -> Json:
    """Let the CRD take any spec, as an older one may have, and return it as it was."""
    strict = plane.request("GET", OUR_CRD)
    loose = copy.deepcopy(strict)
    for version in loose["spec"]["versions"]:
        properties = version["schema"]["openAPIV3Schema"]["properties"]
        properties["spec"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    plane.request("PUT", OUR_CRD, loose)
    return dict(strict)


def store_misfit(world: World, spec: Json) -> bool:
    try:
        world.policy("misfit", "shop", **spec)
    except ApiError:
        return False
    return True


def is_reported(world: World, policy: str) -> Any:
    """Tell whether a policy's status says that its spec cannot be used."""
    stored = world.stored_policy(policy, "shop")
    conditions = stored.get("status", {}).get("conditions", ())
    return [item for item in conditions if item["type"] == "Accepted" and item["status"] == "False"]
