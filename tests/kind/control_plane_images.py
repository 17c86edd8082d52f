"""The images that kubeadm expects on a node, made from the programs that were built."""

from __future__ import annotations

import re
from pathlib import Path

from kind.archive import Image
from kind.commands import ask_in_root

PROXY_PROGRAMS = ("xtables-nft-multi", "xtables-legacy-multi", "nft", "conntrack", "kmod", "ip")
PROXY_LINKS = {
    **{
        f"usr/sbin/{family}{what}": "xtables-nft-multi"
        for family in ("iptables", "ip6tables")
        for what in ("", "-save", "-restore")
    },
    "usr/sbin/modprobe": "kmod",
}


def images(names: list[str], programs: Path, root: Path) -> list[Image]:
    """Return an image for each name that `kubeadm config images list` printed; `root` is the node's root file system."""
    return [_image(name, programs, root) for name in names]


def _image(name: str, programs: Path, root: Path) -> Image:
    program = name.rpartition(":")[0].rpartition("/")[2]
    if program == "kube-proxy":
        return Image(name, _proxy_files(programs, root), ["/usr/local/bin/kube-proxy"], PROXY_LINKS)
    # CoreDNS is started as /coredns by kubeadm's Deployment, the others by name.
    path = "coredns" if program == "coredns" else f"usr/local/bin/{program}"
    return Image(name, {path: programs / program}, [f"/{path}"])


def _proxy_files(programs: Path, root: Path) -> dict[str, Path]:
    """
    Return kube-proxy, the programs that it starts, and the libraries of those and of their plug-ins.

    Trap: iptables loads its plug-ins at run time. Without libm, which only one of them needs, Services with one
    endpoint work and those with two do not.
    """
    started = {name: ask_in_root(root, "sh", "-c", f"command -v {name}").strip() for name in PROXY_PROGRAMS}
    plugins = [f"/{path.relative_to(root)}" for path in root.glob("usr/lib/*/xtables/*.so")]
    needed = ask_in_root(root, "ldd", *started.values(), *plugins)
    libraries = {path for path in re.findall(r"/\S+\.so\S*", needed) if "/xtables/" not in path}
    libraries = {path.rstrip(":") for path in libraries}
    return {
        "usr/local/bin/kube-proxy": programs / "kube-proxy",
        **{f"usr/sbin/{name}": _inside(root, path) for name, path in started.items()},
        **{path.removeprefix("/"): _inside(root, path) for path in [*libraries, *plugins]},
    }


def _inside(root: Path, path: str) -> Path:
    """Follow links as they look from inside the root file system."""
    found = root / path.removeprefix("/")
    while found.is_symlink():
        target = found.readlink()
        found = root / target.relative_to("/") if target.is_absolute() else found.parent / target
    return found
