"""kustomize/components/fence: the API server refuses who does not hold the Lease, whatever that replica believes."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.conftest import ACCOUNT
from cluster.replicas import LEASE, SHORT, Changes, Replicas
from cluster.world import World, eventually
from controlplane.cutter import Cutter
from controlplane.server import ControlPlane

ROOT = Path(__file__).resolve().parents[2]
REFUSED = "only the replica that holds Lease virtualservice-operator-leader may write"
OFF = {"LEADER_ELECTION_ENABLED": "false"}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory, istio_crds: Path) -> Iterator[ControlPlane]:
    directory = tmp_path_factory.mktemp("fence") / "plane"
    with ControlPlane.start(directory, crds=[istio_crds, ROOT / "crds"], controllers=False) as found:
        found.kubectl("apply", "-k", str(ROOT / "kustomize/base"))
        found.kubectl("apply", "-f", str(ROOT / "kustomize/components/fence/policy.yaml"))
        eventually("the policy holds", lambda: _is_fenced(found))
        yield found


def _is_fenced(plane: ControlPlane) -> bool:
    """Tell whether the policy is at work: a write by the account, from no Pod, is refused."""
    return REFUSED in _try_to_write(plane, plane.kubeconfig_for_service_account(*ACCOUNT))


def _try_to_write(plane: ControlPlane, kubeconfig: Path) -> str:
    virtual_service = '{"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "x"}}'
    asked = ("apply", "--server-side", "-f", "-", "-n", "default", "--dry-run=server")
    return plane.kubectl(*asked, input=virtual_service, kubeconfig=kubeconfig, check=False).stderr


@pytest.fixture
def world(plane: ControlPlane) -> World:
    return World.new(plane)


@pytest.fixture
def replicas(plane: ControlPlane, tmp_path: Path) -> Iterator[Replicas]:
    with Replicas(plane, tmp_path, *SHORT) as found:
        yield found


def test_the_holder_may_write_and_who_stands_by_may_not(replicas: Replicas, world: World) -> None:
    replicas.start("vso-a")
    replicas.wait_ready()
    replicas.start("vso-b")
    with Changes(world, replicas.judge) as changes:
        changes.finish()
    printed = _try_to_write(world.plane, replicas.kubeconfig("vso-b"))
    assert f"{REFUSED}: it is vso-a, and this is vso-b" in printed
    assert _try_to_write(world.plane, replicas.kubeconfig("vso-a")) == ""


def test_a_takeover_goes_on_behind_the_fence(replicas: Replicas, world: World) -> None:
    """The API server hears of the new holder a moment after it was told; a write in that moment is tried again."""
    replicas.start("vso-a")
    replicas.wait_ready()
    replicas.start("vso-b")
    replicas["vso-b"].wait_ready()
    with Changes(world, replicas.judge) as changes:
        eventually("it writes", lambda: changes.count > 10)
        replicas["vso-a"].terminate()
        eventually("the other writes", lambda: replicas.judge.has_written("vso-b"))
        changes.finish()
    refused = [event for event in replicas.judge.writes() if event.code in (403, 422)]
    print(f"\nwrites that came before the API server had heard of the new holder: {len(refused)}")
    assert {event.pod for event in refused} <= {"vso-b"}


def test_a_leader_that_was_stopped_in_the_middle_of_its_writes_is_refused(replicas: Replicas, world: World) -> None:
    replicas.start("vso-a")
    replicas.wait_ready()
    replicas.start("vso-b")
    replicas["vso-b"].wait_ready()
    with Changes(world, replicas.judge) as changes:
        eventually("it writes", lambda: changes.count > 10)
        replicas["vso-a"].signal(signal.SIGSTOP)
        replicas.wait_for_another("vso-a")
        replicas["vso-a"].signal(signal.SIGCONT)
        eventually("the first knows", lambda: "leads no more" in replicas["vso-a"].log.read_text())
        changes.finish()
    assert replicas.judge.strays(stored=True) == []


def test_a_write_that_the_network_delivers_after_a_takeover_is_refused(replicas: Replicas, world: World) -> None:
    """It was sent while its sender had the Lease; nothing but the API server can stop it."""
    with Cutter(world.plane.port) as wire:
        replicas.start_two(wire.port)
        with Changes(world, replicas.judge) as changes:
            eventually("it writes", lambda: changes.count > 10)
            replicas.freeze_leader(wire, "vso-a")
            wire.thaw()
            eventually("the first knows", lambda: "leads no more" in replicas["vso-a"].log.read_text())
            changes.finish()
    print(f"\nwrites that came too late: {len(replicas.judge.strays())}")
    assert replicas.judge.strays(stored=True) == []


def test_a_replica_that_believes_it_may_write_changes_nothing(replicas: Replicas, world: World) -> None:
    """It has no leader election at all: what another defect would come to in the worst case."""
    replicas.start("vso-a")
    replicas.wait_ready()
    replicas.start("vso-b", env=OFF)
    replicas["vso-b"].wait_ready()
    with Changes(world, replicas.judge) as changes:
        time.sleep(3)
        changes.finish()
    codes = {event.code for event in replicas.judge.writes() if event.pod == "vso-b"}
    assert codes
    assert codes <= {403, 422}


def test_without_a_lease_users_deploy_as_ever_and_its_holder_makes_it_again(replicas: Replicas, world: World) -> None:
    """With `parameterNotFoundAction: Deny` the API server would refuse everybody's Services."""
    replicas.start("vso-a")
    replicas.wait_ready()
    with Changes(world, replicas.judge) as changes:
        for _ in range(3):
            world.plane.request("DELETE", LEASE)
            eventually("its holder has made it again", lambda: replicas.holder == "vso-a")
        changes.finish()
    assert replicas.judge.strays() == []
