"""Make the Python that the operator's image is built on, where it cannot be pulled, and fetch the wheels beforehand."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from controlplane.progress import Say
from controlplane.toolchain import lock
from kind.commands import run_apart
from kind.debian import SUITE, debian_root, pack
from kind.paths import ROOT, cache, key_of

NAME = "python:3.11-slim"
"""What it stands in for: Python 3.11 is Debian 12's own."""
PACKAGES = ("python3", "python3-venv", "ca-certificates")
LOCKS = (ROOT / "requirements.lock", ROOT / "requirements-build.lock")
FETCH = """\
set -eu
python3 -m venv /fetch
for file in requirements.lock requirements-build.lock; do
    /fetch/bin/pip download --quiet --only-binary=:all: --require-hashes --requirement /locks/$file --dest /wheels
done
"""


@dataclass(frozen=True, slots=True)
class Base:
    """A root file system with Python in one archive, and the wheels of the lock files for that Python."""

    archive: Path
    wheels: Path


def ensure_base(say: Say) -> Base:
    """Return the base and its wheels; make what is missing, and say so."""
    base = Base(
        cache() / f"python-{key_of(SUITE, *PACKAGES)}.tar",
        cache() / f"wheels-{key_of(SUITE, *PACKAGES, FETCH, files=LOCKS)}",
    )
    if not (base.archive.exists() and base.wheels.exists()):
        with lock(cache() / "python-image.lock", say):
            _make(base, say)
    return base


def _make(base: Base, say: Say) -> None:
    if not base.archive.exists():
        with debian_root("python", PACKAGES, say) as root:
            shutil.rmtree(root / "usr/share/doc")
            pack(root, base.archive, say)
    if not base.wheels.exists():
        _fetch_wheels(base, say)
        for old in set(cache().glob("wheels-*")) - {base.wheels}:
            shutil.rmtree(old)


def _fetch_wheels(base: Base, say: Say) -> None:
    """
    Let the base's own pip choose: which wheels are needed depends on the exact Python.

    It runs in the base's root file system, with this machine's network, certificates and pip settings.
    """
    root = cache() / ".wheels-root.unfinished"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    try:
        subprocess.run(("tar", "--extract", "--file", str(base.archive), "--directory", str(root)), check=True)
        (root / "wheels").mkdir()
        (root / "locks").mkdir()
        for file in LOCKS:
            shutil.copy(file, root / "locks")
        mounts = " && ".join(_mounts(root))
        command = ("sh", "-c", f"{mounts} && exec chroot {root} sh -c '{FETCH}'")
        run_apart("fetching the operator's wheels", command, say)
        (root / "wheels").rename(base.wheels)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _mounts(root: Path) -> list[str]:
    """Return the commands that show the machine's settings inside; the mounts end with the command's own namespace."""
    commands = [f"mount -t proc proc {root}/proc", f"mount --rbind /dev {root}/dev"]
    for path in (Path("/etc/resolv.conf"), Path("/etc/hosts"), Path("/etc/ssl/certs"), Path("/etc/pip.conf")):
        if path.is_dir():
            commands.append(f"mkdir -p {root}{path} && mount --bind {path} {root}{path}")
        elif path.exists():
            commands.append(f"rm -f {root}{path} && cp -L {path} {root}{path}")
    return commands
