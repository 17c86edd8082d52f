from typing import Any

import pytest

from virtualservice_operator.controller.metrics import Metrics
from virtualservice_operator.controller.pulse import WatchLog
from virtualservice_operator.controller.queue import KeyQueue
from virtualservice_operator.core.objects import Key, Policy, Service

POLICY = Key("shop", "defaults")
ORIGINAL = (
    "virtualservice_operator_services_processed",
    "virtualservice_operator_virtualservices_created",
    "virtualservice_operator_reconciliation_duration_seconds",
)


def status(**conditions: str) -> dict[str, Any]:
    return {
        "conditions": [{"type": kind, "status": value} for kind, value in conditions.items()],
        "developerRoutes": 7,
        "placeholders": 2,
        "programmedServices": 5,
        "skippedServices": 3,
        "failedServices": 1,
    }


def series(metrics: Metrics) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
    """Return every series beside those of the original design."""
    return {
        (sample.name, tuple(sorted(sample.labels.items())))
        for family in metrics.registry.collect()
        if family.name not in ORIGINAL
        for sample in family.samples
    }


def test_a_policy_has_at_most_ten_series() -> None:
    metrics = Metrics()
    before = series(metrics)
    metrics.show_policy(POLICY, status(Ready="True"), frozen=4)
    added = series(metrics) - before
    assert 0 < len(added) <= 10
    metrics.show_policy(POLICY, status(Ready="False", Conflicted="True"), frozen=0)
    assert series(metrics) - before == added


def test_a_policy_that_is_gone_has_none() -> None:
    metrics = Metrics()
    before = series(metrics)
    metrics.show_policy(POLICY, status(Ready="True"), frozen=0)
    metrics.forget_policy(POLICY)
    metrics.forget_policy(Key("shop", "never-seen"))
    assert series(metrics) == before


@pytest.mark.parametrize(
    ("name", "labels", "expected"),
    [
        ("policy_ready", {}, 0),
        ("policy_conflicted", {}, 1),
        ("policy_routes", {}, 7),
        ("policy_placeholders", {}, 2),
        ("policy_services", {"state": "programmed"}, 5),
        ("policy_services", {"state": "skipped"}, 3),
        ("policy_services", {"state": "failed"}, 1),
        ("policy_services", {"state": "frozen"}, 4),
    ],
)
def test_a_policys_series_say_what_its_status_says(name: str, labels: dict[str, str], expected: float) -> None:
    metrics = Metrics()
    metrics.show_policy(POLICY, status(Ready="False", Conflicted="True"), frozen=4)
    place = {"namespace": "shop", "policy": "defaults", **labels}
    assert metrics.registry.get_sample_value(f"virtualservice_operator_{name}", place) == expected


def test_who_leads_no_more_tells_nothing_of_policies() -> None:
    metrics = Metrics()
    metrics.show_policy(POLICY, status(), frozen=0)
    metrics.forget_policies()
    assert [name for name in samples(metrics) if "_policy_" in name] == []
    metrics.show_policy(POLICY, status(), frozen=0)
    assert any("_policy_" in name for name in samples(metrics))


def samples(metrics: Metrics) -> list[str]:
    return [sample.name for family in metrics.registry.collect() for sample in family.samples]


def test_a_process_is_no_leader_before_it_may_write() -> None:
    assert Metrics().registry.get_sample_value("virtualservice_operator_leader") == 0


def test_an_answer_is_counted_by_verb_and_code_and_none_is_said_so() -> None:
    metrics = Metrics()
    metrics.observe_request("patch", 201, 0.02)
    metrics.observe_request("list", 0, 3)
    count = "virtualservice_operator_api_request_duration_seconds_count"
    assert metrics.registry.get_sample_value(count, {"verb": "patch", "code": "201"}) == 1
    assert metrics.registry.get_sample_value(count, {"verb": "list", "code": "none"}) == 1


async def test_queues_are_read_when_somebody_asks() -> None:
    metrics, queue = Metrics(), KeyQueue()
    metrics.read_queues({"services": queue})

    def read(name: str) -> float | None:
        return metrics.registry.get_sample_value(f"virtualservice_operator_{name}", {"queue": "services"})

    assert (read("queue_depth"), read("queue_delayed"), read("queue_oldest_seconds")) == (0, 0, 0)
    queue.add(POLICY)
    queue.add_after(Key("shop", "later"), 60)
    assert (read("queue_depth"), read("queue_delayed")) == (1, 1)


def test_watches_show_their_age_whether_they_are_up_and_why_there_was_a_list() -> None:
    metrics, now = Metrics(), [100.0]
    log = WatchLog(metrics, clock=lambda: now[0])

    def read(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(f"virtualservice_operator_{name}", labels)

    assert read("watch_age_seconds", kind="Service") is None
    log.listed(Service, "start")
    log.up(Service, is_up=True)
    log.up(Policy, is_up=False)
    now[0] = 130.0
    assert read("watch_age_seconds", kind="Service") == 30
    assert read("watch_age_seconds", kind="RoutingPolicy") == 30
    assert (read("watch_up", kind="Service"), read("watch_up", kind="RoutingPolicy")) == (1, 0)
    assert read("lists_total", kind="Service", reason="start") == 1
    log.heard(Service)
    assert read("watch_age_seconds", kind="Service") == 0
    log.absent(Service)
    assert read("watch_up", kind="Service") is None
    assert read("watch_age_seconds", kind="Service") is None
