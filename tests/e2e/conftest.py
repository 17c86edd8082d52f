"""One kind cluster for the whole run, with Istio's CRDs and the operator installed from kustomize/overlays/quickstart."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from pytest_kind import KindCluster

from controlplane.build import ensure_programs, istio_crds
from controlplane.progress import say_to_stderr
from e2e.user import ROOT, User
from kind.cluster import Cluster, open_cluster

NAME = "vso-e2e"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.kind)


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Say what takes long while it does: pytest would keep minutes of it to itself."""
    with ExitStack() as stack:
        with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            found = stack.enter_context(open_cluster(NAME, keep=False, say=say_to_stderr))
        yield found


@pytest.fixture(scope="session")
def kind_cluster(cluster: Cluster) -> KindCluster:
    """pytest-kind's fixture would download kind and kubectl, and start without a configuration."""
    return cluster.kind


@pytest.fixture(scope="session")
def user(kind_cluster: KindCluster, cluster: Cluster) -> User:
    """Somebody with kubectl, in a cluster where the operator is installed."""
    ensure_programs()
    found = User(kind_cluster, cluster.image)
    found.kubectl("apply", "--server-side", "-f", str(istio_crds()))
    found.kubectl("apply", "-k", str(ROOT / "kustomize/overlays/quickstart"))
    found.kubectl("rollout", "status", "deployment/virtualservice-operator", "-n", found.operator, "--timeout=120s")
    return found
