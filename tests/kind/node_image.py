"""
Make the root file system of a kind node, as one archive in the cache.

kind normally pulls its node's image. Where no registry can be reached, this is one of the same shape: Debian packages,
the programs from their Go modules, kind's own files from its module, the control plane's images already unpacked.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from controlplane.progress import Say
from controlplane.toolchain import find_go, go_version, lock, module_directory, run_go
from kind.archive import write_archive
from kind.commands import run_in_root
from kind.control_plane_images import images
from kind.debian import SUITE, debian_root, pack
from kind.paths import MODULES, NODE, cache, key_of
from kind.programs import KIND, ensure_node_programs, kubernetes_version

PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "libseccomp2", "util-linux", "kmod", "mount", "procps", "hostname", "bash"),
    *("iproute2", "iptables", "nftables", "conntrack", "ethtool", "socat", "curl", "ca-certificates", "jq"),
    *("containerd", "runc", "containernetworking-plugins"),
)
SOURCES = ("archive.py", "control_plane_images.py", "node_image.py", "programs.py")


def ensure_node_archive(say: Say) -> Path:
    """Return the archive of a node's root file system; make it if it is not there, and say so."""
    archive = cache() / f"node-{_key(say)}.tar"
    if archive.exists():
        return archive
    with lock(cache() / "node-image.lock", say):
        if not archive.exists():
            _make(archive, say)
            for old in set(cache().glob("node-*.tar")) - {archive}:
                old.unlink()
    return archive


def _key(say: Say) -> str:
    here = Path(__file__).parent
    modules = [module / name for module in MODULES for name in ("go.mod", "go.sum")]
    programs = sorted(MODULES[1].rglob("*.go"))
    files = [*modules, *programs, *sorted(NODE.iterdir()), *(here / name for name in SOURCES)]
    return key_of(go_version(find_go(say)), SUITE, *PACKAGES, files=files)


def _make(archive: Path, say: Say) -> None:
    programs = ensure_node_programs(say)
    with debian_root("node", PACKAGES, say) as root:
        _install_files_of_kind(root, say)
        _install_programs(root, programs)
        names = _image_names(programs)
        write_archive(root / "images.tar", images(names, programs, root), machine(say))
        shutil.copy(NODE / "setup.sh", root / "setup.sh")
        pause = next(name for name in names if "/pause:" in name)
        run_in_root("setting up the node's files", root, ("bash", "/setup.sh", pause, "/images.tar"), say)
        (root / "setup.sh").unlink()
        pack(root, archive, say)


def _install_files_of_kind(root: Path, say: Say) -> None:
    """Install what kind's own node image has from its repository, then what replaces kind's network and storage."""
    files = module_directory(find_go(say), KIND) / "images/base/files"
    for source in (path for path in files.rglob("*") if path.is_file()):
        path = source.relative_to(files)
        _install(source, root / path, 0o755 if path.parent.name == "bin" else 0o644)
    _install(NODE / "10-ptp.conflist", root / "etc/cni/net.d/10-ptp.conflist", 0o644)
    _install(NODE / "default-storage.yaml", root / "kind/manifests/default-storage.yaml", 0o644)
    for folder in ("opt/cni", "etc/kubernetes/manifests", "var/lib/containerd"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "kind/version").write_text(kubernetes_version())


def _install_programs(root: Path, programs: Path) -> None:
    for name in ("kubeadm", "kubelet", "kubectl"):
        _install(programs / name, root / "usr/bin" / name, 0o755)


def _install(source: Path, target: Path, mode: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)


def _image_names(programs: Path) -> list[str]:
    asked = (str(programs / "kubeadm"), "config", "images", "list", "--kubernetes-version", kubernetes_version())
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()


def machine(say: Say) -> str:
    """Return the processor's name as Go and containers spell it, such as amd64."""
    return run_go(find_go(say), "env", "GOARCH")
