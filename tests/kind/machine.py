"""
Remember what a kind node changes on the machine, and put it back.

Standard library only: the supervisor of the tests runs it as a program (`python machine.py FILE`) when they were killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from pathlib import Path

SYSCTL = Path("/proc/sys")
CGROUPS = Path("/sys/fs/cgroup")
OF_KUBELET = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
"""What kubelet sets for the whole machine; what belongs to a network goes with the engine's own network."""
REMOVE_SECONDS = 10.0


def remember(file: Path, cgroup: str) -> None:
    """
    Write down how the machine is, and which control group will be removed.

    A file that is there already was left by a run that could not put things back: that is done first.
    """
    restore(file)
    settings = {name: (SYSCTL / name).read_text().strip() for name in OF_KUBELET if (SYSCTL / name).exists()}
    unfinished = file.with_suffix(".unfinished")
    unfinished.write_text(json.dumps({"settings": settings, "cgroup": cgroup}))
    unfinished.replace(file)


def restore(file: Path) -> None:
    """Put back what was remembered, and forget it; nothing happens when nothing was."""
    try:
        remembered = json.loads(file.read_text())
    except FileNotFoundError:
        return
    for name, value in remembered["settings"].items():
        if (SYSCTL / name).read_text().strip() != value:
            (SYSCTL / name).write_text(value)
    for root in CGROUPS.glob(f"**/{remembered['cgroup']}"):
        _remove_cgroup(root)
    file.unlink()


def _remove_cgroup(root: Path) -> None:
    """Remove a control group and those within; the last of their processes may still be ending."""
    deadline = time.monotonic() + REMOVE_SECONDS
    while root.exists() and time.monotonic() < deadline:
        for folder, _, _ in os.walk(root, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
        time.sleep(0.05)


if __name__ == "__main__":
    restore(Path(sys.argv[1]))
