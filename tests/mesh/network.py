"""
Network namespaces without names: they end with the last process in them, so nothing is left after a kill -9 either.

    the machine        untouched: no interface, no route, no sysctl, nothing under /run/netns or /etc/netns
    └─ the node        this very process and what it starts: API server, istiod, the operator; loopback, no uplink
       ├─ a pod        a process with a network and a mount namespace of its own, joined by a veth pair
       └─ …
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mesh.errors import MachineError, MeshError

CLONE_NEWNET = 0x40000000
NODE, RESOLVER = "198.18.0.1", "198.18.0.53"
"""From 198.18.0.0/15, which is set aside for tests of networks: EndpointSlices refuse loopback addresses."""
GATE = "169.254.1.1"
"""The next hop of every pod: an address on the node's end of each pair."""

_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def node_namespace() -> Iterator[None]:
    """Put this thread, and every process and thread it starts, into a new network namespace; put it back at the end."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        if _libc.unshare(CLONE_NEWNET) != 0:
            raise MachineError(
                f"no network namespace can be made here: {os.strerror(ctypes.get_errno())} (root is needed)"
            )
        try:
            _prepare_node()
            yield
        finally:
            if _libc.setns(own, CLONE_NEWNET) != 0:
                raise MeshError(f"cannot return to the machine's network: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(own)


def join_pod(pid: int, serial: int, addresses: Sequence[str]) -> None:
    """Connect the network namespace of process `pid` to the node; each address may be a whole range."""
    outer = f"pod{serial}"
    own = addresses[0].split("/")[0]
    _ip(
        f"link add {outer} type veth peer name eth0 netns {pid}",
        f"link set {outer} up",
        f"addr add {GATE}/32 dev {outer}",
        *(f"route add {address} dev {outer}" for address in addresses),
    )
    _ip(
        "link set lo up",
        f"addr add {own}/32 dev eth0",
        "link set eth0 up",
        f"route add {GATE} dev eth0 scope link",
        f"route add default via {GATE} dev eth0",
        *(f"route add local {address} dev lo" for address in addresses if "/" in address),
        within=pid,
    )


def inside(pid: int, directory: Path | None = None) -> list[str]:
    """Return the start of a command line that runs a program in a pod, where `pid` is the process that holds it."""
    where = [] if directory is None else [f"--wd={directory}"]
    return ["nsenter", f"--net=/proc/{pid}/ns/net", f"--mount=/proc/{pid}/ns/mnt", *where, "--"]


def _prepare_node() -> None:
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    _ip("link set lo up", f"addr add {NODE}/32 dev lo", f"addr add {RESOLVER}/32 dev lo")


def _ip(*commands: str, within: int | None = None) -> None:
    """Run several commands of ip(8) at once, in the node or in a pod."""
    start = [] if within is None else ["nsenter", f"--net=/proc/{within}/ns/net", "--"]
    given = "".join(f"{command}\n" for command in commands)
    done = subprocess.run([*start, "ip", "-batch", "-"], input=given, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MeshError(f"ip failed: {done.stderr.strip()}\n{given}")
