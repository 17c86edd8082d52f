"""Fixtures that several kinds of tests share: the control plane, built at the first use, and Istio's CRDs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.build import ensure_programs
from controlplane.build import istio_crds as find_istio_crds
from controlplane.server import ControlPlane

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def istio_crds(request: pytest.FixtureRequest) -> Path:
    """Build what is missing first, with its progress shown: pytest would keep minutes of it to itself."""
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        ensure_programs()
        return find_istio_crds()


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory, istio_crds: Path) -> Iterator[ControlPlane]:
    """One API server for all tests that need no other: with our CRD, Istio's, and the operator's roles."""
    with ControlPlane.start(tmp_path_factory.mktemp("plane"), crds=[istio_crds, ROOT / "crds"]) as plane:
        plane.kubectl("apply", "-k", str(ROOT / "kustomize/base"))
        yield plane
