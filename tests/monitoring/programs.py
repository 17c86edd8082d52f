"""Prometheus and promtool: those on PATH, else built from the Go module that pins them, without service discoveries."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from controlplane.build import BUILD_FLAGS, Recipe, ensure_built
from controlplane.progress import Say, say_to_stderr
from controlplane.toolchain import TOOLS

PROMETHEUS = "github.com/prometheus/prometheus"
PROMETHEUS_TOOLS = TOOLS / "prometheus"
TAGS = "remove_all_sd"
RECIPES = {
    "prometheus": Recipe(f"{PROMETHEUS}/cmd/prometheus", PROMETHEUS, "5 to 15 minutes", TAGS),
    "promtool": Recipe(f"{PROMETHEUS}/cmd/promtool", PROMETHEUS, "1 to 5 minutes", TAGS),
}
FLAGS = (*BUILD_FLAGS, "-ldflags", "-s -w")


@dataclass(frozen=True, slots=True)
class Programs:
    """Where the programs are."""

    prometheus: Path
    promtool: Path


def ensure_programs(say: Say = say_to_stderr) -> Programs:
    """Return both; build those that are not there yet, and say so."""
    found = {name: shutil.which(name) for name in RECIPES}
    if all(found.values()):
        return Programs(**{name: Path(path) for name, path in found.items() if path})
    return Programs(**ensure_built(RECIPES, PROMETHEUS_TOOLS, FLAGS, say))
