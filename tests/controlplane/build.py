"""
Find the programs of a control plane, or build them once.

Order: the folder `KUBEBUILDER_ASSETS`, the ecosystem's own convention; kubectl from PATH; else a build from the Go
modules that `tests/tools/go.mod` pins, kept in the user's cache under a key of everything that could change the result.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from controlplane.errors import BuildError
from controlplane.progress import Say, run_long_command, say_to_stderr
from controlplane.toolchain import (
    TOOLS,
    cache_directory,
    find_go,
    go_environment,
    go_version,
    lock,
    module_directory,
    pinned_version,
)

KUBERNETES = "k8s.io/kubernetes"
ETCD = "go.etcd.io/etcd/server/v3"
ISTIO_API = "istio.io/api"
ISTIO_CRDS = "kubernetes/customresourcedefinitions.gen.yaml"
BUILD_FLAGS = ("-mod=readonly", "-trimpath", "-buildvcs=false")


@dataclass(frozen=True, slots=True)
class Programs:
    """Where the programs of a control plane are."""

    kube_apiserver: Path
    etcd: Path
    kube_controller_manager: Path
    kubectl: Path


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one program is built: its package, the module that carries its version, how long a cold build takes, tags."""

    package: str
    module: str
    cold: str
    tags: str = ""


RECIPES = {
    "etcd": Recipe(ETCD, ETCD, "about a minute"),
    "kube-apiserver": Recipe(f"{KUBERNETES}/cmd/kube-apiserver", KUBERNETES, "4 to 5 minutes"),
    "kube-controller-manager": Recipe(f"{KUBERNETES}/cmd/kube-controller-manager", KUBERNETES, "about a minute"),
    "kubectl": Recipe(f"{KUBERNETES}/cmd/kubectl", KUBERNETES, "about half a minute"),
}


def ensure_programs(say: Say = say_to_stderr) -> Programs:
    """Return the four programs; build those that are not there yet, and say so."""
    found = _given_programs(say)
    missing = [name for name in RECIPES if name not in found]
    found.update(_built_programs(missing, say) if missing else {})
    return Programs(**{name.replace("-", "_"): path for name, path in found.items()})


def istio_crds(say: Say = say_to_stderr) -> Path:
    """Return the file with Istio's CustomResourceDefinitions, from its Go module in Go's own module cache."""
    return module_directory(find_go(say), ISTIO_API) / ISTIO_CRDS


def ensure_built(recipes: Mapping[str, Recipe], tools: Path, flags: Sequence[str], say: Say) -> dict[str, Path]:
    """Return programs that the Go module in `tools` pins; build those that are not in the user's cache yet."""
    go = find_go(say)
    folder = cache_directory() / "tools" / _key(go, recipes, tools, flags)
    paths = {name: folder / name for name in recipes}
    if all(path.exists() for path in paths.values()):
        return paths
    with lock(folder.with_name(f"{folder.name}.lock"), say):
        for name, path in paths.items():
            if not path.exists():
                _build(go, recipes[name], tools, flags, path, say)
    return paths


def _given_programs(say: Say) -> dict[str, Path]:
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets:
        return _programs_in(Path(assets), say)
    kubectl = shutil.which("kubectl")
    return {"kubectl": Path(kubectl)} if kubectl and _fits_api_server(kubectl) else {}


def _programs_in(assets: Path, say: Say) -> dict[str, Path]:
    found = {name: assets / name for name in RECIPES if os.access(assets / name, os.X_OK)}
    for name in ("kube-apiserver", "etcd", "kubectl"):
        if name not in found:
            raise BuildError(f"KUBEBUILDER_ASSETS is {assets}, where there is no {name}: set it right or unset it")
    if "kube-controller-manager" not in found:
        say(
            f"KUBEBUILDER_ASSETS has no kube-controller-manager: taking {pinned_version(KUBERNETES)}, built from source"
        )
    return found


@functools.cache
def _fits_api_server(kubectl: str) -> bool:
    """Tell whether kubectl is within one minor version of the API server, as its own skew policy asks."""
    asked = (kubectl, "version", "--client", "--output=json")
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    try:
        version = json.loads(done.stdout)["clientVersion"]
        minor = int(version["minor"].rstrip("+"))
    except (ValueError, KeyError):
        return False
    return version["major"] == "1" and abs(minor - int(pinned_version(KUBERNETES).split(".")[1])) <= 1


def _built_programs(names: Iterable[str], say: Say) -> dict[str, Path]:
    return ensure_built({name: RECIPES[name] for name in names}, TOOLS, _flags(), say)


def _key(go: str, recipes: Mapping[str, Recipe], tools: Path, flags: Sequence[str]) -> str:
    """Return a name for everything that could change what is built."""
    tags = sorted({recipe.tags for recipe in recipes.values()} - {""})
    parts = ((tools / "go.mod").read_text(), (tools / "go.sum").read_text(), go_version(go), *flags, *tags)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _flags() -> tuple[str, ...]:
    """Return the build flags; without the version stamps the API server would report v0.0.0."""
    version = pinned_version(KUBERNETES)
    major, minor, _ = version.split(".")
    stamps = {"gitVersion": f"v{version}", "gitMajor": major, "gitMinor": minor}
    linked = " ".join(f"-X k8s.io/component-base/version.{name}={value}" for name, value in stamps.items())
    return (*BUILD_FLAGS, "-ldflags", f"-s -w {linked}")


def _build(go: str, recipe: Recipe, tools: Path, flags: Sequence[str], path: Path, say: Say) -> None:
    """Build to a temporary name and rename: a build that was interrupted leaves nothing that looks finished."""
    what = f"building {path.name} {pinned_version(recipe.module, tools)}"
    say(f"{what} ({recipe.cold} on 2 cores, once; cache: {path.parent})")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    tags = ("-tags", recipe.tags) if recipe.tags else ()
    argv = (go, "build", *flags, *tags, "-o", str(unfinished), recipe.package)
    run_long_command(what, argv, env=go_environment(), cwd=tools, say=say)
    unfinished.rename(path)
