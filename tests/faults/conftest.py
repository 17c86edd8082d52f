"""API servers to break, operators behind the proxy, and what a fault test tells the table."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from cluster.conftest import ACCOUNT, FLAGS
from cluster.world import World
from controlplane.server import ControlPlane
from faults.proxy import FaultProxy
from faults.rig import Measured, Run, run_story
from operator_process import OperatorProcess

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PLACEHOLDER_RIGHTS = ROOT / "kustomize/components/placeholders/roles.yaml"

Start = Callable[..., OperatorProcess]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == HERE:
            item.add_marker(pytest.mark.controlplane)


def start_plane(directory: Path, istio_crds: Path, *, controllers: bool = False) -> ControlPlane:
    """Start an API server as an operator with all rights finds it; without a garbage collector that would help it."""
    plane = ControlPlane.start(directory, crds=[istio_crds, ROOT / "crds"], controllers=controllers)
    plane.kubectl("apply", "-k", str(ROOT / "kustomize/base"))
    plane.kubectl("apply", "-f", str(PLACEHOLDER_RIGHTS))
    return plane


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory, istio_crds: Path) -> Iterator[ControlPlane]:
    """One API server for all tests that break only the way to it."""
    with start_plane(tmp_path_factory.mktemp("faults") / "plane", istio_crds) as running:
        yield running


@pytest.fixture(scope="module")
def own_plane(tmp_path_factory: pytest.TempPathFactory, istio_crds: Path) -> Iterator[ControlPlane]:
    """An API server that tests may kill, freeze or change, if it is as it was when they end."""
    with start_plane(tmp_path_factory.mktemp("own") / "plane", istio_crds) as running:
        yield running


@pytest.fixture
def proxy(plane: ControlPlane) -> Iterator[FaultProxy]:
    with FaultProxy.before(plane) as running:
        yield running


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start operators, each with a kubeconfig; whatever runs at the end is stopped, and none may have met a bug."""
    with ExitStack() as stack:
        count = 0

        def run(kubeconfig: Path, *flags: str) -> OperatorProcess:
            nonlocal count
            count += 1
            process = OperatorProcess(kubeconfig, tmp_path / f"operator-{count}", *FLAGS, *flags)
            stack.callback(_close, process)
            process.start()
            process.wait_ready()
            return process

        yield run


def _close(process: OperatorProcess) -> None:
    process.close()
    log = process.log.read_text()
    assert "bug:" not in log, log
    assert "Traceback" not in log, log


@pytest.fixture
def operator(plane: ControlPlane, proxy: FaultProxy, start: Start) -> OperatorProcess:
    """An operator behind the proxy."""
    return start(proxy.kubeconfig(plane, plane.kubeconfig_for_service_account(*ACCOUNT)))


@pytest.fixture
def world(plane: ControlPlane) -> World:
    return World.new(plane)


@pytest.fixture(scope="session")
def clean(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The story without a fault: what all others are compared with."""
    with FaultProxy.before(plane) as proxy:
        kubeconfig = proxy.kubeconfig(plane, plane.kubeconfig_for_service_account(*ACCOUNT))
        with OperatorProcess(kubeconfig, tmp_path_factory.mktemp("clean"), *FLAGS) as operator:
            run = run_story(operator, proxy, World.new(plane))
    assert not run.problems, "\n".join(run.problems)
    return run


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Iterator[Measured]:
    """What the test tells `make faults`."""
    found = Measured()
    yield found
    properties = request.node.user_properties
    properties += [("recovery", seconds) for seconds in found.recoveries]
    properties += [("broken", text) for text in found.broken]
    properties += [("runs", max(found.runs, 1)), ("extra writes", found.extra)]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which tests were left out for their length, and why."""
    left_out = terminalreporter.stats.get("deselected", ())
    reasons = Counter(str(marker.args[0]) for item in left_out for marker in item.iter_markers("slow"))
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"left out, see make faults: {count} x {reason}")
