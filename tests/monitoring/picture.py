"""Draw the dashboard from what a real Prometheus has scraped: each panel's own queries, in the panel's own place."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from monitoring.prometheus import COMPONENT, Prometheus

COLUMNS = 24
# Inches for one cell of Grafana's grid.
WIDTH, HEIGHT = 0.58, 0.30
WINDOW = "10s"
STEP = 1.0
DARK, PANEL, TEXT, GREEN, RED = "#111217", "#181b1f", "#ccccdc", "#73bf69", "#f2495c"
UNITS = {"s": "s", "wps": "writes/s", "ops": "/s", "reqps": "requests/s", "short": ""}

mpl.use("Agg")


def draw(prometheus: Prometheus, start: float, end: float, target: Path) -> None:
    """Write the dashboard between two times as a PNG."""
    dashboard = json.loads((COMPONENT / "dashboard.json").read_text())
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"])
    figure = Figure(figsize=(COLUMNS * WIDTH, rows * HEIGHT), facecolor=DARK)
    for panel in dashboard["panels"]:
        axes = figure.add_axes(_place(panel["gridPos"], rows), facecolor=PANEL)
        axes.set_title(panel["title"], color=TEXT, fontsize=8, loc="left")
        (_draw_stat if panel["type"] == "stat" else _draw_graph)(axes, panel, prometheus, (start, end))
    picture = io.BytesIO()
    figure.savefig(picture, dpi=80, facecolor=DARK, format="png")
    Image.open(picture).convert("RGB").quantize(48).save(target, optimize=True)


def _place(grid: Mapping[str, int], rows: int) -> tuple[float, float, float, float]:
    """Return where a panel's plot is in the figure, with room for its title, axis and legend."""
    left, width = grid["x"] + 0.9, grid["w"] - 1.2
    top, height = grid["y"] + 1.0, grid["h"] - 2.6 if grid["h"] > 4 else grid["h"] - 1.6
    return left / COLUMNS, 1 - (top + height) / rows, width / COLUMNS, height / rows


def _draw_stat(axes: Axes, panel: Mapping[str, Any], prometheus: Prometheus, time: tuple[float, float]) -> None:
    axes.set_axis_off()
    found = _series(prometheus, panel["targets"][0], time)
    value = found[0][1][-1][1] if found else 0.0
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    reached = [step["color"] for step in steps if step["value"] is None or value >= step["value"]]
    color = {"green": GREEN, "red": RED}[reached[-1]]
    axes.text(0.5, 0.45, f"{value:g}", color=color, fontsize=22, ha="center", va="center")


def _draw_graph(axes: Axes, panel: Mapping[str, Any], prometheus: Prometheus, time: tuple[float, float]) -> None:
    for target in panel["targets"]:
        for name, points in _series(prometheus, target, time):
            axes.plot([at - time[0] for at, _ in points], [value for _, value in points], linewidth=0.9, label=name)
    axes.set_xlim(0, time[1] - time[0])
    axes.set_ylim(bottom=0)
    axes.tick_params(colors=TEXT, labelsize=5, length=2)
    axes.grid(color="#2c3235", linewidth=0.4)
    for side in axes.spines.values():
        side.set_visible(False)
    unit = UNITS[panel["fieldConfig"]["defaults"]["unit"]]
    axes.set_title(f"{panel['title']}{f', {unit}' if unit else ''}", color=TEXT, fontsize=7, loc="left")
    if axes.lines:
        legend = {"ncols": 3, "fontsize": 4.5, "labelcolor": TEXT, "frameon": False}
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.12), handlelength=1, columnspacing=1, **legend)


def _series(
    prometheus: Prometheus, target: Mapping[str, str], time: tuple[float, float]
) -> list[tuple[str, Sequence[tuple[float, float]]]]:
    """Return the series of a query by their legends; what is no number is left out."""
    expression = target["expr"].replace("[$__rate_interval]", f"[{WINDOW}]")
    found = []
    for item in prometheus.query_range(expression, *time, STEP):
        points = [(float(at), float(value)) for at, value in item["values"] if value != "NaN"]
        if points:
            found.append((_legend(target["legendFormat"], item["metric"]), points))
    return sorted(found, key=lambda one: one[0])


def _legend(text: str, labels: Mapping[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), text).strip()
