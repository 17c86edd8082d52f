"""Fixtures of the control plane's own tests."""

from collections.abc import Iterator

import pytest

from controlplane.build import ensure_programs
from controlplane.server import ControlPlane


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[ControlPlane]:
    """One control plane for all tests that do not break it; its first build is announced in spite of pytest's capture."""
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        ensure_programs()
    with ControlPlane.start(tmp_path_factory.mktemp("plane") / "plane") as running:
        yield running


@pytest.fixture
def namespace(plane: ControlPlane, request: pytest.FixtureRequest) -> str:
    """A namespace of the test's own."""
    name: str = request.node.name.replace("_", "-")[:60].strip("-")
    plane.kubectl("create", "namespace", name)
    return name
