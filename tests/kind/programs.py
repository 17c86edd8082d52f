"""Build the programs of a kind node, kind itself and kubectl, from the Go modules that pin them."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from controlplane.build import BUILD_FLAGS, ETCD, KUBERNETES
from controlplane.progress import Say, run_long_command
from controlplane.toolchain import find_go, go_environment, go_version, lock, module_directory, pinned_version
from kind.errors import KindError
from kind.paths import MODULES, cache, key_of

KIND = "sigs.k8s.io/kind"
OF_KUBERNETES = (
    *("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"),
    *("kubeadm", "kubelet", "kubectl"),
)


@dataclass(frozen=True, slots=True)
class Build:
    """One `go build`: in which module, which packages, how long when cold, stamped how, under which name if not theirs."""

    what: str
    module: Path
    packages: tuple[str, ...]
    cold: str
    stamps: str = ""
    name: str = ""


def ensure_kind(say: Say) -> tuple[Path, Path]:
    """Return kind and kubectl: all that is needed where the node's image can be pulled."""
    folder = _ensure("client", _client_builds(), say)
    return folder / "kind", folder / "kubectl"


def ensure_node_programs(say: Say) -> Path:
    """Return the folder with every program of a node."""
    return _ensure("node", _node_builds(), say)


def official_node_image(say: Say) -> str:
    """Return the node image that kind takes by itself, with its digest."""
    source = module_directory(find_go(say), KIND) / "pkg/apis/config/defaults/image.go"
    found = re.search(r'const Image = "(.*)"', source.read_text())
    if found is None:
        raise KindError(f"{source} names no image any more: look where kind has it now")
    return found[1]


def kubernetes_version() -> str:
    """Return the version of the node's Kubernetes, with its `v`."""
    return f"v{pinned_version(KUBERNETES)}"


def _client_builds() -> tuple[Build, ...]:
    tools, _ = MODULES
    return (
        Build("kind", tools, (KIND,), "half a minute"),
        Build("kubectl", tools, (f"{KUBERNETES}/cmd/kubectl",), "2 minutes", _kubernetes_stamps()),
    )


def _node_builds() -> tuple[Build, ...]:
    tools, rest = MODULES
    commands = tuple(f"{KUBERNETES}/cmd/{name}" for name in OF_KUBERNETES)
    return (
        Build(f"Kubernetes {kubernetes_version()}", tools, commands, "7 to 9 minutes", _kubernetes_stamps()),
        Build("etcd", tools, (ETCD,), "a minute", name="etcd"),
        Build("CoreDNS and what else a node needs", rest, ("./...",), "2 minutes"),
    )


def _kubernetes_stamps() -> str:
    """Return what makes the programs know their version; without, they would say v0.0.0."""
    version = kubernetes_version()
    major, minor, _ = version.removeprefix("v").split(".")
    stamps = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    return " ".join(f"-X k8s.io/component-base/version.{name}={value}" for name, value in stamps.items())


def _ensure(name: str, builds: tuple[Build, ...], say: Say) -> Path:
    """Build into a folder with a temporary name and rename it: what was interrupted never looks finished."""
    go = find_go(say)
    folder = cache() / f"{name}-programs-{_key(go, builds)}"
    if folder.exists():
        return folder
    with lock(cache() / f"{name}-programs.lock", say):
        if not folder.exists():
            unfinished = cache() / f".{name}-programs.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            for build in builds:
                _run(go, build, unfinished, say)
            _forget(f"{name}-programs-*")
            unfinished.rename(folder)
    return folder


def _key(go: str, builds: tuple[Build, ...]) -> str:
    files = [
        path for module in MODULES for path in (module / "go.mod", module / "go.sum", *sorted(module.rglob("*.go")))
    ]
    return key_of(go_version(go), repr([(build.packages, build.stamps) for build in builds]), files=files)


def _run(go: str, build: Build, folder: Path, say: Say) -> None:
    what = f"building {build.what}"
    say(f"{what} ({build.cold} on 2 cores if Go's own cache has nothing of it, once; cache: {folder.parent})")
    flags = (*BUILD_FLAGS, "-ldflags", f"-s -w {build.stamps}".strip())
    argv = ("setpriv", "--pdeathsig", "KILL", go, "build", *flags, "-o", f"{folder}/{build.name}", *build.packages)
    run_long_command(what, argv, env=go_environment(), cwd=build.module, say=say)


def _forget(pattern: str) -> None:
    for old in cache().glob(pattern):
        shutil.rmtree(old)
