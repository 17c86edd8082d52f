"""Counted by the API server itself: one write per Service, none at a restart, none at rest."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import load
from cluster.conftest import ACCOUNT
from controlplane.server import ControlPlane
from operator_process import OperatorProcess

ROOT = Path(__file__).resolve().parents[2]
SERVICES = 1000
REST_SECONDS = 60
SECONDS = 300


@pytest.fixture(scope="module")
def own_plane(tmp_path_factory: pytest.TempPathFactory, istio_crds: Path) -> Iterator[ControlPlane]:
    directory = tmp_path_factory.mktemp("counts") / "plane"
    with ControlPlane.start(directory, crds=[istio_crds, ROOT / "crds"], controllers=False) as plane:
        plane.kubectl("apply", "-k", str(ROOT / "kustomize/base"))
        load.load_services(plane, SERVICES)
        yield plane


def test_a_thousand_services_cost_a_thousand_writes_a_restart_and_a_minute_at_rest_none(
    own_plane: ControlPlane, tmp_path: Path
) -> None:
    kubeconfig = own_plane.kubeconfig_for_service_account(*ACCOUNT)
    with OperatorProcess(kubeconfig, tmp_path / "first"):
        started = time.monotonic()
        own_plane.request("POST", load.POLICY_PATH, load.POLICY)
        load.wait_for("all are programmed", lambda: load.programmed(own_plane) == SERVICES, SECONDS)
        seconds = time.monotonic() - started
        assert load.virtual_service_writes(own_plane) == SERVICES
        assert load.status_writes(own_plane) <= seconds + 2
    documents = load.written_documents(own_plane)
    assert [len(document["spec"]["http"]) for document in documents] == [3] * SERVICES
    status = load.status_writes(own_plane)
    with OperatorProcess(kubeconfig, tmp_path / "second"):
        time.sleep(REST_SECONDS)
        assert load.virtual_service_writes(own_plane) == SERVICES
        assert load.status_writes(own_plane) == status
    own_plane.request("DELETE", load.VIRTUAL_SERVICES)
    load.wait_for("empty", lambda: not own_plane.request("GET", load.VIRTUAL_SERVICES)["items"], SECONDS)
    bare = load.send_bare(own_plane, documents)
    print(f"\n{SERVICES} Services: operator {seconds:.1f} s, bare client {bare:.1f} s, ratio {seconds / bare:.2f}")
