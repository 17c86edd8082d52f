"""Make the root file system of a Debian of our own, for images that cannot be pulled."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from controlplane.progress import Say
from kind.commands import require, run_apart
from kind.paths import cache

SUITE = "bookworm"
NEEDED = {"debootstrap": "debootstrap", "unshare": "util-linux", "chroot": "coreutils", "tar": "tar"}


@contextmanager
def debian_root(name: str, packages: Sequence[str], say: Say) -> Iterator[Path]:
    """Make a root file system under a name that shows that it is unfinished; it is removed at the end."""
    require(f"making the image {name}", NEEDED)
    root = cache() / f".{name}-root.unfinished"
    shutil.rmtree(root, ignore_errors=True)
    packed = cache() / "packages"
    packed.mkdir(exist_ok=True)
    what = f"fetching Debian packages for {name}"
    say(f"{what} (1 to 3 minutes, once)")
    options = ("--variant=minbase", f"--include={','.join(packages)}", f"--cache-dir={packed}")
    try:
        run_apart(what, ("debootstrap", *options, SUITE, str(root)), say)
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)


def pack(root: Path, archive: Path, say: Say) -> None:
    """Write a root file system into one archive, under a temporary name until it is whole."""
    unfinished = archive.with_name(f".{archive.name}.unfinished")
    command = ("tar", "--create", "--file", str(unfinished), "--numeric-owner", "--directory", str(root), ".")
    run_apart(f"packing {archive.name}", command, say)
    unfinished.rename(archive)
