"""Build Prometheus and promtool from the Go module that pins them, without the service discoveries nobody needs here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from controlplane.build import BUILD_FLAGS, Recipe, ensure_built
from controlplane.progress import Say, say_to_stderr
from controlplane.toolchain import TOOLS

PROMETHEUS = "github.com/prometheus/prometheus"
PROMETHEUS_TOOLS = TOOLS / "prometheus"
TAGS = "remove_all_sd"
RECIPES = {
    "prometheus": Recipe(f"{PROMETHEUS}/cmd/prometheus", PROMETHEUS, "2 to 3 minutes", TAGS),
    "promtool": Recipe(f"{PROMETHEUS}/cmd/promtool", PROMETHEUS, "about half a minute", TAGS),
}
FLAGS = (*BUILD_FLAGS, "-ldflags", "-s -w")


@dataclass(frozen=True, slots=True)
class Programs:
    """Where the programs are."""

    prometheus: Path
    promtool: Path


def ensure_programs(say: Say = say_to_stderr) -> Programs:
    """Return both; build those that are not there yet, and say so."""
    return Programs(**ensure_built(RECIPES, PROMETHEUS_TOOLS, FLAGS, say))
