"""Who we are and whom we trust changes while we run (F36)."""

import shutil
from collections.abc import Callable

import pytest

from cluster.conftest import ACCOUNT
from cluster.world import World, eventually, only, shop_with_alice
from controlplane.server import ControlPlane
from faults.breakage import Status
from faults.call import READS, WRITES
from faults.conftest import ROOT, Start
from faults.invariants import i6_alive
from faults.proxy import FaultProxy
from faults.rig import Measured, settle
from faults.rules import Rule
from operator_process import OperatorProcess

ACCOUNTS = "/api/v1/namespaces/{}/serviceaccounts/{}"


def rotate_token(plane: ControlPlane) -> None:
    """Replace the token file as a kubelet does, with the old token refused from then on: its account is another one."""
    path = ACCOUNTS.format(*ACCOUNT)
    plane.request("DELETE", path)
    plane.kubectl("apply", "-f", str(ROOT / "kustomize/base/service-account.yaml"))
    plane.kubeconfig_for_service_account(*ACCOUNT)


def rotate_authority(plane: ControlPlane) -> None:
    """Give the API server another certificate, of another authority; the file that names it is replaced."""
    plane.kill_api_server()
    shutil.rmtree(plane.ca_file.parent)
    plane.start_api_server()


def rotate_both(plane: ControlPlane) -> None:
    rotate_authority(plane)
    rotate_token(plane)


@pytest.mark.fault("F36")
@pytest.mark.parametrize("rotate", [rotate_token, rotate_authority, rotate_both], ids=["token", "authority", "both"])
def test_i1_i6_rotated_credentials_are_read_again(
    rotate: Callable[[ControlPlane], None], own_plane: ControlPlane, start: Start, measured: Measured
) -> None:
    operator = start(own_plane.kubeconfig_for_service_account(*ACCOUNT), "--policy-list", "30")
    world = World.new(own_plane)
    shop_with_alice(world, "reviews", "ratings")
    settle(operator, world)
    rotate(own_plane)
    world.delete_service("reviews", "alice")
    measured.recoveries.append(settle(operator, world))
    world.policy("defaults", "shop", developersFrom=only(world, "alice"), priority=1, exportTo=["."])
    measured.recoveries.append(settle(operator, world))
    measured.check(i6_alive(operator))


@pytest.mark.fault("F36")
def test_i6_a_token_that_is_refused_for_a_while_is_asked_for_again_and_said(
    plane: ControlPlane, world: World, proxy: FaultProxy, operator: OperatorProcess, measured: Measured
) -> None:
    """Until the new token is there, nothing can be done; when it is, everything is."""
    shop_with_alice(world, "reviews")
    settle(operator, world)
    proxy.add(Rule(Status(401, "Unauthorized", "Unauthorized"), READS | WRITES, times=None))
    proxy.cut()
    world.delete_service("reviews", "alice")
    eventually("it is said", lambda: "401 Unauthorized" in operator.log.read_text())
    measured.check(i6_alive(operator))
    proxy.heal()
    measured.recoveries.append(settle(operator, world))
