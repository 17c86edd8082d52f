"""One kind cluster for the whole run, with istiod and the operator, installed from kustomize/overlays/quickstart."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from pytest_kind import KindCluster

from controlplane.build import ensure_programs, istio_crds
from controlplane.progress import say_to_stderr
from e2e.user import ROOT, User, eventually
from kind.cluster import Cluster, open_cluster
from kind.istiod import load_istiod

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
def istiod(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What installs istiod, whose image is in the cluster by then."""
    return load_istiod(cluster, tmp_path_factory.mktemp("istiod"), say_to_stderr)


def install_istiod(user: User, manifest: str) -> None:
    """Install istiod and return when its webhook judges everything of Istio's that is written."""
    user.kubectl("apply", "-f", "-", stdin=manifest)
    user.kubectl("rollout", "status", "daemonset/istiod", "-n", "istio-system", "--timeout=120s")
    policy = "{.webhooks[0].failurePolicy}"
    webhook = ("get", "validatingwebhookconfiguration", "istiod-default-validator", "-o", f"jsonpath={policy}")
    eventually("istiod turns Ignore into Fail", lambda: user.kubectl(*webhook) == "Fail")


@pytest.fixture(scope="session")
def user(kind_cluster: KindCluster, cluster: Cluster, istiod: str) -> User:
    """Somebody with kubectl, in a cluster where the operator is installed."""
    ensure_programs()
    found = User(kind_cluster, cluster.image)
    found.kubectl("apply", "--server-side", "-f", str(istio_crds()))
    install_istiod(found, istiod)
    found.kubectl("apply", "-k", str(ROOT / "kustomize/overlays/quickstart"))
    found.kubectl("rollout", "status", "deployment/virtualservice-operator", "-n", found.operator, "--timeout=120s")
    return found
