"""Where things are: this repository, the files of the node, the cache."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from controlplane.toolchain import cache_directory

ROOT = Path(__file__).resolve().parents[2]
NODE = Path(__file__).resolve().parent / "node"
MODULES = (ROOT / "tests/tools", ROOT / "tests/tools/kind")
"""The Go modules of the programs: the control plane's own, and one for what would move its versions."""


def cache() -> Path:
    """Return the folder that keeps what is made once; others may not look into it, for it has a machine's root in it."""
    folder = cache_directory() / "kind"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def key_of(*parts: str, files: Iterable[Path] = ()) -> str:
    """Return a name for everything that could change what is made."""
    texts = [*parts, *(path.read_text() for path in files)]
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]
