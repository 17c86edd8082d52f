"""The audit log and the metrics are read as the API server writes them; no control plane is needed."""

from pathlib import Path

import pytest

from controlplane.audit import read_events
from controlplane.metrics import count_requests

AUDIT = (
    '{"stage":"ResponseComplete","requestURI":"/api/v1/namespaces/shop/services/reviews/status","verb":"patch",'
    '"user":{"username":"alice","groups":["developers"]},"objectRef":{"resource":"services","namespace":"shop",'
    '"name":"reviews","subresource":"status","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":200},'
    '"requestReceivedTimestamp":"2026-01-02T03:04:05.678901Z"}\n'
    '{"stage":"ResponseComplete","requestURI":"/apis","verb":"get","user":{"username":"bob"},'
    '"responseStatus":{"code":200},"requestReceivedTimestamp":"2026-01-02T03:04:06.000000Z"}\n'
    '{"stage":"Resp'
)

METRICS = """\
# TYPE apiserver_request_total counter
apiserver_request_total{code="200",dry_run="",group="",resource="pods",subresource="",verb="LIST"} 3
apiserver_request_total{code="200",dry_run="",group="",resource="pods",subresource="status",verb="PATCH"} 4
apiserver_request_total{code="409",dry_run="",group="apps",resource="deployments",subresource="",verb="PATCH"} 1.2e+06
apiserver_request_duration_seconds_count{verb="LIST"} 99
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "audit.log"
    path.write_text(AUDIT)
    return path


def test_an_event_says_who_did_what_to_which_object(log: Path) -> None:
    event = next(read_events(log))
    assert (event.user, event.verb, event.code) == ("alice", "patch", 200)
    assert (event.namespace, event.resource, event.name, event.subresource) == ("shop", "services", "reviews", "status")
    assert event.timestamp.isoformat() == "2026-01-02T03:04:05.678901+00:00"


def test_a_line_that_is_half_written_is_left_for_later(log: Path) -> None:
    assert [event.user for event in read_events(log)] == ["alice", "bob"]


def test_events_can_be_those_of_one_user(log: Path) -> None:
    assert [event.request_uri for event in read_events(log, user="bob")] == ["/apis"]


@pytest.mark.parametrize(
    ("labels", "count"),
    [
        ({}, 1_200_007),
        ({"verb": "LIST"}, 3),
        ({"verb": "PATCH", "resource": "pods"}, 4),
        ({"resource": "pods", "subresource": ""}, 3),
        ({"group": "apps", "code": 409}, 1_200_000),
        ({"group": ""}, 7),
        ({"verb": "DELETE"}, 0),
    ],
)
def test_requests_are_counted_by_any_label(labels: dict[str, str | int], count: int) -> None:
    assert count_requests(METRICS, **labels) == count  # type: ignore[arg-type]
