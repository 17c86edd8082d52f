"""The API server and etcd go and come back (F14, F15, F16); the operator talks to them without a proxy."""

import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.conftest import ACCOUNT, USER
from cluster.world import World, eventually, only, shop_with_alice
from controlplane.errors import ApiError
from controlplane.server import ControlPlane
from faults.conftest import Start
from faults.invariants import i6_alive
from faults.journal import Write, audited_writes
from faults.oracle import PLANNED
from faults.rig import Measured, settle
from operator_process import OperatorProcess

SLOW = pytest.mark.slow("the API server is away for a long time")
AWAY = [3, pytest.param(25, marks=SLOW), pytest.param(70, marks=SLOW)]
SERVICES = tuple(f"s{number}" for number in range(20))
# Its own default: what the operator does by itself must not depend on a short interval.
FLAGS = ("--policy-list", "30")


@pytest.fixture
def shop(own_plane: ControlPlane) -> World:
    return World.new(own_plane)


@pytest.fixture
def operator(own_plane: ControlPlane, shop: World, start: Start) -> OperatorProcess:
    running = start(own_plane.kubeconfig_for_service_account(*ACCOUNT), *FLAGS)
    shop_with_alice(shop, *SERVICES)
    settle(running, shop)
    return running


def written(plane: ControlPlane, since: float) -> list[Write]:
    """Return the writes of planned objects that went through, from the API server's own log."""
    writes = audited_writes(plane.audit_log, USER)
    return [write for write in writes if write.at >= since and write.call.resource in PLANNED and write.went_through]


def edit(world: World, header: str) -> None:
    """Change the policy so that every VirtualService has to be written."""
    found = only(world, "alice")
    world.policy("defaults", "shop", developersFrom=found, matches=[{"type": "Header", "name": header}])


def persist(act: Callable[[], object]) -> None:
    """Do something until the API server takes it."""

    def is_done() -> bool:
        try:
            act()
        except (ApiError, OSError):
            return False
        return True

    eventually("the API server takes a user's request", is_done)


def check(plane: ControlPlane, since: float, planned: int, operator: OperatorProcess, measured: Measured) -> None:
    """Hold what was written against what was planned; nothing may follow."""
    time.sleep(2)
    writes = written(plane, since)
    measured.extra = max(0, len(writes) - planned)
    found = [] if len(writes) == planned else [f"I3: {len(writes)} writes, planned were {planned}: {writes}"]
    measured.check(found, i6_alive(operator))


def check_doubled(plane: ControlPlane, since: float, operator: OperatorProcess, measured: Measured) -> None:
    """
    Hold what was written against one write for each Service, where the log may lack some: there is no lower bound.

    What was stored when the API server died was not logged; what was stored after its client gave up is logged as failed.
    """
    time.sleep(2)
    found = written(plane, since)
    measured.extra = max(0, len(found) - len(SERVICES))
    measured.check([f"I3: {found}"] if measured.extra else [], i6_alive(operator))


@pytest.mark.fault("F14")
@pytest.mark.parametrize("seconds", AWAY, ids=lambda seconds: f"{seconds} s")
def test_i1_i3_i6_an_api_server_that_was_away_is_followed_again(
    seconds: int, own_plane: ControlPlane, shop: World, operator: OperatorProcess, measured: Measured
) -> None:
    own_plane.kill_api_server()
    time.sleep(seconds)
    assert operator.get("/healthz") == "ok\n"
    since = time.time()
    own_plane.start_api_server()
    persist(lambda: shop.delete_service("s0", "alice"))
    measured.recoveries.append(settle(operator, shop))
    edit(shop, "x-dev")
    measured.recoveries.append(settle(operator, shop))
    # One whose copy goes, and all others by the edit: without a copy there is no rule with the header.
    check(own_plane, since, len(SERVICES), operator, measured)


@pytest.mark.fault("F14")
def test_i1_i3_an_api_server_that_dies_amid_writes_gets_them_once(
    own_plane: ControlPlane, shop: World, operator: OperatorProcess, measured: Measured
) -> None:
    since = time.time()
    edit(shop, "x-dev")
    eventually("some are written", lambda: len(written(own_plane, since)) >= 3)
    own_plane.kill_api_server()
    own_plane.start_api_server()
    measured.recoveries.append(settle(operator, shop))
    check_doubled(own_plane, since, operator, measured)


@pytest.mark.fault("F15")
@pytest.mark.parametrize("seconds", [3, pytest.param(25, marks=SLOW)], ids=lambda seconds: f"{seconds} s")
def test_i1_i3_i6_etcd_that_was_away_costs_no_write(
    seconds: int, own_plane: ControlPlane, shop: World, operator: OperatorProcess, measured: Measured
) -> None:
    own_plane.kill_etcd()
    time.sleep(seconds)
    own_plane.start_etcd()
    since = time.time()
    persist(lambda: edit(shop, "x-dev"))
    measured.recoveries.append(settle(operator, shop))
    check(own_plane, since, len(SERVICES), operator, measured)


@pytest.mark.fault("F15")
@pytest.mark.slow("etcd is frozen for 20 s")
def test_i1_i3_i5_writes_under_way_while_etcd_is_frozen_are_neither_lost_nor_doubled(
    own_plane: ControlPlane, shop: World, operator: OperatorProcess, measured: Measured
) -> None:
    since = time.time()
    edit(shop, "x-dev")
    eventually("some are written", lambda: len(written(own_plane, since)) >= 3)
    own_plane.signal_etcd(signal.SIGSTOP)
    try:
        time.sleep(20)
        assert operator.get("/healthz") == "ok\n"
    finally:
        own_plane.signal_etcd(signal.SIGCONT)
    measured.recoveries.append(settle(operator, shop))
    check_doubled(own_plane, since, operator, measured)


@pytest.mark.fault("F16")
@pytest.mark.slow("etcd is restored, which is found by the next full list")
def test_i1_i2_an_etcd_put_back_to_an_older_state_is_believed(
    own_plane: ControlPlane, shop: World, start: Start, measured: Measured, tmp_path: Path
) -> None:
    operator = start(own_plane.kubeconfig_for_service_account(*ACCOUNT), *FLAGS, "--resync", "30")
    shop_with_alice(shop, *SERVICES)
    settle(operator, shop)
    data = own_plane.directory / "etcd"
    own_plane.kill_api_server()
    own_plane.kill_etcd()
    shutil.copytree(data, tmp_path / "backup")
    own_plane.start_etcd()
    own_plane.start_api_server()
    edit(shop, "x-dev")
    shop.delete_service("s0", "alice")
    shop.delete_service("s1", "shop")
    shop.service("new", "shop")
    settle(operator, shop)
    own_plane.kill_api_server()
    own_plane.kill_etcd()
    shutil.rmtree(data)
    shutil.copytree(tmp_path / "backup", data)
    own_plane.start_etcd()
    own_plane.start_api_server()
    measured.recoveries.append(settle(operator, shop, seconds=90))
    edit(shop, "x-other")
    measured.recoveries.append(settle(operator, shop))
    assert shop.rules("s0", "shop") == ["defaults.alice", "default"]
    measured.check(i6_alive(operator))
