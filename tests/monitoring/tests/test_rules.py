"""Each alert in Prometheus' own rule engine, at its real thresholds: silent in health, true in its trouble, on time."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from monitoring.programs import Programs
from monitoring.prometheus import ROOT, alert_rules, run_promtool, write_rules

P = "virtualservice_operator"
POLICY = '{namespace="shop",policy="defaults"}'
CREATE = 'kind="VirtualService",verb="create"'
HEALTHY = {
    f"{P}_leader": "1x120",
    f'{P}_watch_up{{kind="Service"}}': "1x120",
    f'{P}_watch_age_seconds{{kind="Service"}}': "60x120",
    f"{P}_policy_ready{POLICY}": "1x120",
    f"{P}_policy_conflicted{POLICY}": "0x120",
    f'{P}_writes_total{{{CREATE},reason="OK"}}': "0+100x120",
    f'{P}_writes_total{{{CREATE},reason="Forbidden"}}': "0+2x120",
    f'{P}_queue_oldest_seconds{{queue="services"}}': "2x120",
    f'{P}_event_to_write_seconds_bucket{{le="1"}}': "0+100x120",
    f'{P}_event_to_write_seconds_bucket{{le="10"}}': "0+100x120",
    f'{P}_event_to_write_seconds_bucket{{le="+Inf"}}': "0+100x120",
    f'{P}_loop_lag_seconds_bucket{{le="0.1"}}': "0+100x120",
    f'{P}_loop_lag_seconds_bucket{{le="1"}}': "0+100x120",
    f'{P}_loop_lag_seconds_bucket{{le="+Inf"}}': "0+100x120",
    f'{P}_lists_total{{kind="Service",reason="resync"}}': "0+1x120",
    f'{P}_lists_total{{kind="Service",reason="expired"}}': "0x120",
}


class Case(NamedTuple):
    """What differs from health, in samples of 30 s; and the minutes at which the alert is not true yet, and is."""

    alert: str
    series: dict[str, str]
    early: str
    late: str


CASES = [
    Case("NoLeader", {f"{P}_leader": "1x10 0x110"}, "6m30s", "8m"),
    Case("NoLeader", {f"{P}_leader": "1x10 stale"}, "6m30s", "8m"),
    Case("TwoLeaders", {f'{P}_leader{{instance="b"}}': "0x10 1x110"}, "6m", "7m"),
    Case("WatchDown", {f'{P}_watch_up{{kind="Service"}}': "1x10 0x110"}, "6m", "7m"),
    Case("PolicyNotReady", {f"{P}_policy_ready{POLICY}": "1x10 0x110"}, "20m", "21m"),
    Case("PolicyConflicted", {f"{P}_policy_conflicted{POLICY}": "1x240"}, "59m", "61m"),
    Case("WritesHeldBack", {f'{P}_circuit_state{{{CREATE},namespace="shop"}}': "_x10 2x110"}, "9m", "11m"),
    Case("WritesHeldBack", {f'{P}_circuit_state{{kind="",verb="",namespace=""}}': "_x10 1x110"}, "9m", "11m"),
    Case("WritesFail", {f'{P}_writes_total{{{CREATE},reason="Forbidden"}}': "0+50x120"}, "9m", "12m"),
    Case("Overload", {f'{P}_writes_total{{{CREATE},reason="Overload"}}': "0+1x120"}, "9m", "12m"),
    Case("QueueStuck", {f'{P}_queue_oldest_seconds{{queue="services"}}': "2x10 90x110"}, "10m", "11m"),
    Case("Slow", {f'{P}_event_to_write_seconds_bucket{{le="1"}}': "0x120"}, "9m", "12m"),
    Case(
        "LoopLags",
        {f'{P}_loop_lag_seconds_bucket{{le="0.1"}}': "0x120"},
        "9m",
        "12m",
    ),
    Case("ListsAgain", {f'{P}_lists_total{{kind="Service",reason="expired"}}': "0x10 0+1x110"}, "6m", "9m"),
    # Every watch falls silent, and is noticed after 75 s.
    Case("ListsAgain", {f'{P}_lists_total{{kind="Service",reason="trouble"}}': "0x10 0+0.4x110"}, "9m", "14m"),
]


def verdicts(programs: Programs, directory: Path, series: dict[str, str], *asked: tuple[str, str, int]) -> str:
    """Ask promtool whether an alert fires at a time; return what it complains about."""
    rules = write_rules(directory / "rules.yaml", alert_rules())
    tests: dict[str, Any] = {
        "rule_files": [str(rules)],
        "evaluation_interval": "30s",
        "tests": [
            {
                "interval": "30s",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": [
                    {
                        "expr": f'count(ALERTS{{alertname="VirtualServiceOperator{alert}",alertstate="firing"}}) or vector(0)',
                        "eval_time": at,
                        "exp_samples": [{"labels": "{}", "value": count}],
                    }
                    for alert, at, count in asked
                ],
            }
        ],
    }
    file = directory / "tests.yaml"
    file.write_text(yaml.safe_dump(tests))
    done = run_promtool(programs, "test", "rules", str(file))
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_prometheus_takes_the_rules(programs: Programs, tmp_path: Path) -> None:
    rules = write_rules(tmp_path / "rules.yaml", alert_rules())
    done = run_promtool(programs, "check", "rules", str(rules))
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case() -> None:
    assert {f"VirtualServiceOperator{case.alert}" for case in CASES} == {rule["alert"] for rule in alert_rules()}


def test_none_is_true_in_health(programs: Programs, tmp_path: Path) -> None:
    names = [rule["alert"].removeprefix("VirtualServiceOperator") for rule in alert_rules()]
    assert verdicts(programs, tmp_path, HEALTHY, *((name, "55m", 0) for name in names)) == ""


@pytest.mark.parametrize("case", CASES, ids=[f"{case.alert}-{number}" for number, case in enumerate(CASES)])
def test_an_alert_is_true_in_its_trouble_and_not_before_its_time(
    programs: Programs, tmp_path: Path, case: Case
) -> None:
    asked = ((case.alert, case.early, 0), (case.alert, case.late, 1))
    assert verdicts(programs, tmp_path, {**HEALTHY, **case.series}, *asked) == ""


def test_every_alert_says_what_it_is_and_what_to_do_and_how_bad_it_is() -> None:
    for rule in alert_rules():
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert set(rule["annotations"]) == {"summary", "description"}


def test_every_alert_is_in_the_documents() -> None:
    page = (ROOT / "docs/observability.md").read_text()
    assert [rule["alert"] for rule in alert_rules() if f"`{rule['alert']}`" not in page] == []


def test_the_dashboard_is_one_that_grafana_reads() -> None:
    """By what Grafana itself insists on: panels with ids of their own that do not overlap, and queries."""
    dashboard = json.loads((ROOT / "kustomize/components/monitoring/dashboard.json").read_text())
    assert dashboard["schemaVersion"] >= 39
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    cells: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        taken = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in taken) < 24
        assert not taken & cells, panel["title"]
        cells |= taken
        assert panel["description"]
        assert all(target["expr"] for target in panel["targets"])
