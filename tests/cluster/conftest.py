"""The operator on a real API server, under the shipped roles; one for all tests that do not stop or break it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.world import World
from controlplane.audit import read_writes
from controlplane.server import ControlPlane
from operator_process import OperatorProcess

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT = ("virtualservice-operator", "virtualservice-operator")
PLACEHOLDER_RIGHTS = str(ROOT / "kustomize/components/placeholders/roles.yaml")
USER = "system:serviceaccount:virtualservice-operator:virtualservice-operator"
# All that our account ever writes; a Service only where it is a placeholder (test_placeholders).
WRITTEN = {("virtualservices", ""), ("routingpolicies", "status"), ("events", ""), ("services", ""), ("leases", "")}
# A deleted policy's grace is five seconds; here it is short, and test_policies has one test with the real length.
FLAGS = ("--policy-delete-grace", "0.2", "--policy-list", "1", "--placeholder-delay", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.controlplane)


@pytest.fixture(scope="session")
def operator_kubeconfig(control_plane: ControlPlane) -> Path:
    return control_plane.kubeconfig_for_service_account(*ACCOUNT)


@pytest.fixture(scope="session")
def operator(
    control_plane: ControlPlane, operator_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    with OperatorProcess(operator_kubeconfig, tmp_path_factory.mktemp("operator"), *FLAGS) as process:
        yield process
        assert "bug:" not in process.log.read_text(), process.log.read_text()
    written = {(event.resource, event.subresource) for event in read_writes(control_plane.audit_log, USER)}
    assert written <= WRITTEN


@pytest.fixture(scope="module")
def own_plane(tmp_path_factory: pytest.TempPathFactory, istio_crds: Path) -> Iterator[ControlPlane]:
    """An API server of a module's own: where another operator leads, one that is started later stands by."""
    with ControlPlane.start(tmp_path_factory.mktemp("own") / "plane", crds=[istio_crds, ROOT / "crds"]) as plane:
        plane.kubectl("apply", "-k", str(ROOT / "kustomize/base"))
        yield plane


@pytest.fixture
def world(control_plane: ControlPlane, operator: OperatorProcess) -> World:
    return World.new(control_plane)


@pytest.fixture(scope="module")
def placeholder_rights(control_plane: ControlPlane) -> Iterator[None]:
    """The operator's right to placeholders, which the base does not give."""
    control_plane.kubectl("apply", "-f", PLACEHOLDER_RIGHTS)
    yield
    control_plane.kubectl("delete", "-f", PLACEHOLDER_RIGHTS)
