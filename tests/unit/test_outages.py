"""What is down for long shows in readiness; a moment does not."""

import logging

import pytest

from virtualservice_operator.controller.outages import LeaseTrouble, Outages
from virtualservice_operator.core.lease import LeaseTiming
from virtualservice_operator.core.objects import Key
from virtualservice_operator.kube.errors import ApiError, ConnectionLost, KubeError
from virtualservice_operator.kube.lease import Election

ELECTION = Election(Key("ops", "leader"), "a", LeaseTiming())


class Clock:
    """A clock that stands until it is moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_is_down_shows_after_half_a_minute_with_its_latest_reason() -> None:
    clock = Clock()
    outages = Outages(clock)
    outages.report("Service", "refused")
    clock.now = 29
    assert outages.lasting == []
    outages.report("Service", "forbidden")
    clock.now = 31
    assert outages.lasting == ["Service: down for 31 s: forbidden"]
    assert outages.seconds("Service") == 31


def test_what_comes_back_begins_anew() -> None:
    clock = Clock()
    outages = Outages(clock)
    outages.report("Service", "refused")
    outages.report("Service", None)
    assert outages.seconds("Service") == 0
    clock.now = 40
    outages.report("Service", "refused")
    assert outages.lasting == []


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConnectionLost("no answer in time"), "cannot write Lease ops/leader: no answer in time"),
        (
            ApiError(403, "Forbidden", "no"),
            (
                "cannot write Lease ops/leader: 403 Forbidden: no; grant it: kubectl apply -k kustomize/base, or, where "
                "only one process runs, give --no-leader-election"
            ),
        ),
        (
            ApiError(404, "NotFound", "no namespace"),
            (
                "cannot write Lease ops/leader: 404 NotFound: no namespace; create namespace ops, or name another with "
                "--namespace, or, where only one process runs, give --no-leader-election"
            ),
        ),
    ],
    ids=["lost", "forbidden", "no namespace"],
)
def test_trouble_with_the_lease_is_said_once_with_its_remedy(
    error: KubeError, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock()
    outages = Outages(clock)
    trouble = LeaseTrouble(ELECTION, outages)
    trouble.report("write", error)
    clock.now = 30
    trouble.report("write", error)
    assert outages.lasting == [f"Lease (write): down for 30 s: {text}"]
    trouble.report("write", None)
    trouble.report("write", None)
    assert [record.getMessage() for record in caplog.records] == [
        text,
        "Lease ops/leader: the trouble with writing it is over",
    ]


def test_a_lease_that_can_be_read_is_not_one_that_can_be_written(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock()
    outages = Outages(clock)
    trouble = LeaseTrouble(ELECTION, outages)
    trouble.report("write", ApiError(403, "Forbidden", "no"))
    clock.now = 31
    trouble.report("read", None)
    (line,) = outages.lasting
    assert line.startswith("Lease (write): down for 31 s: cannot write Lease ops/leader: 403")
    assert len(caplog.records) == 1
