"""Whether this machine can run the mesh, and what is missing if not."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

NEEDS = {
    "ip": "iproute2",
    "iptables": "iptables",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "unshare": "util-linux",
}
"""Program → the Debian package that has it."""


@functools.cache
def missing() -> list[str]:
    """Return what this machine lacks, each as a sentence; nothing when the mesh can run."""
    return list(_missing())


def _missing() -> Iterator[str]:
    if sys.platform != "linux":
        yield f"this is {sys.platform}, and network namespaces are Linux's"
        return
    if os.geteuid() != 0:
        yield "this is not root, who alone may make network namespaces"
        return
    for program, package in NEEDS.items():
        if shutil.which(program) is None:
            yield f"there is no {program} (Debian package {package})"
    if shutil.which("unshare") and not _works("unshare", "--net", "--mount", "true"):
        yield "the kernel refuses a network namespace (a container without CAP_SYS_ADMIN?)"


def _works(*argv: str) -> bool:
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def refusal(test: str) -> str:
    """Return why a test cannot run here, and what it needs; empty where it can."""
    lacking = missing()
    return f"{test} needs istiod, Envoy, and network namespaces to run them in: {'; '.join(lacking)}" if lacking else ""


def is_ci() -> bool:
    """Tell whether what cannot run is a failure here."""
    return os.environ.get("CI", "") not in ("", "0", "false")
