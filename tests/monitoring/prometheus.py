"""A Prometheus of our own: scrapes each second, evaluates our alerts each second, keeps nothing."""

from __future__ import annotations

import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from controlplane.ports import LOOPBACK, free_port
from controlplane.supervisor import Supervisor
from controlplane.waiting import wait_for
from monitoring.programs import Programs

ROOT = Path(__file__).resolve().parents[2]
COMPONENT = ROOT / "kustomize/components/monitoring"
JOB = "virtualservice-operator"


def alert_rules() -> list[dict[str, Any]]:
    """Return the alerts as they are installed."""
    document = yaml.safe_load((COMPONENT / "alerts.yaml").read_text())
    return [rule for group in document["spec"]["groups"] for rule in group["rules"]]


def write_rules(path: Path, rules: Sequence[Mapping[str, Any]]) -> Path:
    """Write alerts as a rule file of Prometheus' own form."""
    path.write_text(yaml.safe_dump({"groups": [{"name": "alerts", "interval": "1s", "rules": list(rules)}]}))
    return path


def run_promtool(programs: Programs, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run promtool and return what it said."""
    return subprocess.run(
        [str(programs.promtool), *arguments], input=stdin, capture_output=True, text=True, check=False, timeout=120
    )


class Prometheus:
    """Runs while it is entered; `ports` are those of the operators on the loopback interface."""

    def __init__(self, programs: Programs, directory: Path, ports: Sequence[int], rules: Path | None = None) -> None:
        self._program = programs.prometheus
        self._directory = directory
        self._ports = ports
        self._rules = rules
        self._port = free_port()
        self._supervisor: Supervisor | None = None

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        config = self._directory / "prometheus.yaml"
        config.write_text(yaml.safe_dump(self._config()))
        self._supervisor = Supervisor()
        argv = [
            str(self._program),
            f"--config.file={config}",
            f"--storage.tsdb.path={self._directory / 'data'}",
            f"--web.listen-address={LOOPBACK}:{self._port}",
            "--log.level=warn",
        ]
        self._supervisor.spawn(argv, log=self._directory / "prometheus.log")
        wait_for(self._is_ready, what="Prometheus")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._supervisor is not None:
            self._supervisor.stop()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the samples of an expression now."""
        return list(self._ask("query", query=expression)["result"])

    def query_range(self, expression: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """Return the series of an expression over a time."""
        asked = {"query": expression, "start": str(start), "end": str(end), "step": str(step)}
        return list(self._ask("query_range", **asked)["result"])

    def firing(self) -> dict[str, dict[str, str]]:
        """Return the alerts that fire now, with the labels of one of each."""
        return {
            item["labels"]["alertname"]: item["labels"]
            for item in self._ask("alerts")["alerts"]
            if item["state"] == "firing"
        }

    def annotations(self, alert: str) -> list[str]:
        """Return what an alert says."""
        found = [item for item in self._ask("alerts")["alerts"] if item["labels"]["alertname"] == alert]
        return [text for item in found for text in item["annotations"].values()]

    def _ask(self, what: str, **parameters: str) -> Any:
        url = f"http://{LOOPBACK}:{self._port}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=30) as response:
            return json.load(response)["data"]

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{LOOPBACK}:{self._port}/-/ready", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def _config(self) -> dict[str, Any]:
        targets = [f"{LOOPBACK}:{port}" for port in self._ports]
        return {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(self._rules)] if self._rules is not None else [],
            "scrape_configs": [{"job_name": JOB, "static_configs": [{"targets": targets}]}],
        }
