"""Run the commands that make images: as root, out of the machine's way, and never longer than this process lives."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from controlplane.progress import Say, run_long_command
from kind.errors import KindError

DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL")
APART = ("unshare", "--mount", "--pid", "--fork", "--kill-child=KILL")
"""A mount and a process namespace of its own: when the command ends, what it mounted and started is gone."""


def run_apart(what: str, argv: Sequence[str], say: Say) -> None:
    """Run a long command, said aloud; `BuildError` with the end of its output when it fails."""
    run_long_command(what, (*DIES_WITH_US, *APART, *argv), env=environment(), cwd=None, say=say)


def run_in_root(what: str, root: Path, argv: Sequence[str], say: Say) -> None:
    """Run a long command inside a root file system, with its own /proc."""
    run_apart(what, ("--mount-proc", "--root", str(root), *argv), say)


def ask_in_root(root: Path, *argv: str) -> str:
    """Return what a short command inside a root file system prints."""
    done = subprocess.run(("chroot", str(root), *argv), env=environment(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise KindError(f"{' '.join(argv)} in {root} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def environment() -> dict[str, str]:
    """Return an environment in which the programs of an administrator are found, and nothing asks questions."""
    path = os.environ.get("PATH", os.defpath)
    return {
        **os.environ,
        "PATH": f"{path}:/usr/local/sbin:/usr/sbin:/sbin",
        "DEBIAN_FRONTEND": "noninteractive",
        "LC_ALL": "C",
    }


def require(why: str, packages: dict[str, str]) -> None:
    """Fail with the packages that are missing; `packages` names the one for each program."""
    missing = {
        package for program, package in packages.items() if not shutil.which(program, path=environment()["PATH"])
    }
    if missing:
        raise KindError(f"{why} needs the packages {', '.join(sorted(missing))}: install them, then try again")
    if os.geteuid() != 0:
        raise KindError(f"{why} needs root: start as root, or start Docker first, or name a cluster in KIND_KUBECONFIG")
