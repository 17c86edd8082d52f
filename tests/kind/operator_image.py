"""Build the operator's image from the repository's Dockerfile."""

from __future__ import annotations

import shutil
import subprocess
import time
import tomllib
from pathlib import Path

from controlplane.progress import Say
from kind import base_image
from kind.engine import Engine
from kind.paths import ROOT

NAME = "virtualservice-operator"
DEFAULT_BASE = "python:3.13-slim"
CONTEXT = (
    "Dockerfile",
    ".dockerignore",
    "LICENSE",
    "README.md",
    "pyproject.toml",
    "requirements.lock",
    "requirements-build.lock",
)
SLOW_SECONDS = 20


def operator_image() -> str:
    """Return the image's name, which `kustomize/base` has too: its tag is the version of the program."""
    return f"{NAME}:{_version()}"


def build_operator_image(engine: Engine, directory: Path, say: Say) -> str:
    """Build the image and return its name: on the official Python where it can be pulled, else on one made here."""
    started = time.monotonic()
    if engine.can_pull(DEFAULT_BASE):
        _build(engine, [], directory, wheels=None)
    else:
        base = base_image.ensure_base(say)
        _import_base(engine, base)
        options = ["PIP_NO_INDEX=1", f"PYTHON_IMAGE={base_image.NAME}"]
        _build(engine, [*(f"--build-arg={option}" for option in options), "--network=none"], directory, base.wheels)
    if engine.is_ours:  # what older sources left
        engine.docker("image", "prune", "--force", "--filter=until=72h")
    if time.monotonic() - started > SLOW_SECONDS:
        say(f"building the operator's image took {time.monotonic() - started:.0f} s")
    return operator_image()


def _import_base(engine: Engine, base: base_image.Base) -> None:
    """Import the base under the official name, and under one that says which it is."""
    exact = f"{NAME}/{base.archive.stem.replace('-', ':')}"
    if not engine.has_image(exact):
        engine.docker("import", "--change", 'CMD ["python3"]', str(base.archive), exact)
    engine.docker("tag", exact, base_image.NAME)


def _build(engine: Engine, options: list[str], directory: Path, wheels: Path | None) -> None:
    """Build from a copy of what the image is made of: the wheels have no place in the repository."""
    context = directory / "context"
    context.mkdir()
    for file in CONTEXT:
        shutil.copy2(ROOT / file, context)
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "operator", context / "operator", ignore=ignored)
    if wheels is not None:
        shutil.copytree(wheels, context / "wheels")
    labels = (f"--build-arg=VERSION={_version()}", f"--build-arg=REVISION={_revision()}")
    engine.docker("build", "--quiet", f"--tag={operator_image()}", *labels, *options, str(context))
    shutil.rmtree(context)


def _version() -> str:
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


def _revision() -> str:
    """Return the commit, or that it is not known: a copy of the sources has none."""
    asked = ("git", "rev-parse", "HEAD")
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
