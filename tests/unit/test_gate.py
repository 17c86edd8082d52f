"""The gate without an API server: the clock is a number, and the errors are those of test_errors."""

import pytest
from prometheus_client import generate_latest

from virtualservice_operator.controller.gate import WriteGate
from virtualservice_operator.controller.metrics import Metrics
from virtualservice_operator.core.objects import Key
from virtualservice_operator.kube.client import KubeClient
from virtualservice_operator.kube.connection import Source
from virtualservice_operator.kube.errors import (
    ApiError,
    ConnectionLost,
    HeldBack,
    KubeError,
    NoAnswer,
    NotLeader,
    Situation,
    judge,
    must_wait,
)

FORBIDDEN = ApiError(403, "Forbidden", "User cannot patch")
DENIED = ApiError(422, "Invalid", "ValidatingAdmissionPolicy 'no' denied request")
WEBHOOK = ApiError(500, "InternalError", 'failed calling webhook "check.example.com": connection refused')
QUOTA = ApiError(403, "Forbidden", "exceeded quota: services")
OVERLOAD = ApiError(429, "", "Too many requests, please try again later.", retry_after=2)
TOKEN = ApiError(401, "Unauthorized", "Unauthorized")
AWAY = ConnectionLost("https://example.com: connection refused")


class Queue:
    """What a gate does to a queue."""

    def __init__(self) -> None:
        self.rested: list[float] = []
        self.hurried: list[str | None] = []

    def rest(self, seconds: float) -> None:
        self.rested.append(seconds)

    def hurry(self, namespace: str | None) -> None:
        self.hurried.append(namespace)


class Bench:
    """A gate, its clock, its queue and its metrics."""

    def __init__(self) -> None:
        self.now = 0.0
        self.queue = Queue()
        self.metrics = Metrics()
        self.gate = WriteGate(KubeClient(Source()), self.metrics, self.queue, clock=lambda: self.now)

    def write(self, target: str, error: KubeError | None = None, verb: str = "create") -> KubeError | None:
        """Make one write that ends in an error, or goes through; return what it met."""
        try:
            with self.gate.request("VirtualService", verb, Key.parse(target)):
                if error is not None:
                    raise error
        except KubeError as met:
            return met
        return None

    def fail(self, namespace: str, error: KubeError, verb: str = "create") -> None:
        """Let three writes to a namespace fail."""
        for name in ("a", "b", "c"):
            assert self.write(f"{namespace}/{name}", error, verb) is error

    def is_held(self, target: str, verb: str = "create") -> bool:
        return isinstance(self.write(target, verb=verb), HeldBack)

    def sample(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"virtualservice_operator_{name}", labels)


@pytest.mark.parametrize("error", [FORBIDDEN, WEBHOOK, QUOTA], ids=["forbidden", "webhook", "quota"])
def test_what_concerns_a_whole_namespace_holds_back_its_writes_and_no_others(error: KubeError) -> None:
    bench = Bench()
    bench.fail("shop", error)
    assert bench.is_held("shop/d")
    assert bench.write("market/a") is None
    assert bench.write("shop/d", verb="delete") is None


def test_what_concerns_one_object_holds_back_nothing() -> None:
    bench = Bench()
    for number in range(50):
        assert bench.write(f"shop/s{number}", DENIED) is DENIED
    assert bench.write("shop/good") is None


def test_who_is_held_back_hears_what_the_others_met_and_when_to_come_back() -> None:
    bench = Bench()
    bench.fail("shop", FORBIDDEN)
    met = bench.write("shop/d")
    assert isinstance(met, HeldBack)
    assert str(met).startswith(
        "requests to create a VirtualService in shop are held back, as several in a row failed; one is tried at least every 60 s: 403"
    )
    assert met.verdict.situation is Situation.FORBIDDEN
    assert 1.6 <= met.retry_after <= 2


def test_the_more_are_held_back_the_later_each_asks_again() -> None:
    """Each time it asks it is planned anew: a thousand must not keep the planner busy."""
    bench = Bench()
    bench.fail("shop", WEBHOOK)
    waits = []
    for number in range(100):
        met = bench.write(f"shop/s{number}")
        assert isinstance(met, HeldBack)
        waits.append(met.retry_after)
    assert waits[0] <= 1
    assert 15 <= waits[-1] <= 30
    assert bench.write("shop/s0") is not None
    bench.now = 40
    assert bench.write("shop/probe") is None
    assert bench.gate._held == {}


def test_a_trouble_that_nobody_asks_about_any_more_is_forgotten() -> None:
    """Its namespace may be gone: no alert is to speak of it for ever."""
    bench = Bench()
    bench.fail("shop", FORBIDDEN)
    bench.now = 100
    assert bench.gate.states()
    bench.now = 130
    assert bench.gate.states() == {}
    assert bench.gate._circuits == {}


def test_no_answer_says_nothing_about_the_api_server_as_a_whole() -> None:
    bench = Bench()
    for number in range(3):
        bench.write(f"n{number}/a", AWAY)
    bench.now = 1
    assert bench.write("other/a", NoAnswer("no answer in time")) is not None
    assert bench.write("other/b", AWAY) is AWAY
    assert bench.is_held("other/c")


def test_one_may_try_when_the_wait_is_over_and_its_success_brings_all_back() -> None:
    bench = Bench()
    bench.fail("shop", FORBIDDEN)
    bench.now = 2
    assert bench.write("shop/d") is None
    assert bench.queue.hurried == ["shop"]
    assert bench.write("shop/e") is None


def test_each_probe_that_fails_makes_the_next_wait_longer_up_to_a_cap() -> None:
    bench = Bench()
    bench.fail("shop", FORBIDDEN)
    probes = 0
    for second in range(600):
        bench.now = second
        probes += bench.write("shop/d", FORBIDDEN) is FORBIDDEN
    assert 12 <= probes <= 17  # after 2, 4, 8, 16, 32 and then 60 s, each less up to a fifth


def test_the_message_stays_the_same_while_the_trouble_does() -> None:
    """Or each probe would make a new status of every policy in the namespace."""
    bench = Bench()
    bench.fail("shop", FORBIDDEN)
    before = str(bench.write("shop/d"))
    bench.now = 100
    other = ApiError(403, "Forbidden", "another name in the text")
    assert bench.write("shop/e", other) is other
    assert str(bench.write("shop/d")) == before


def test_an_object_that_is_refused_for_what_it_is_shows_that_the_way_is_free() -> None:
    bench = Bench()
    bench.fail("shop", WEBHOOK)
    bench.now = 1
    assert bench.write("shop/d", DENIED) is DENIED
    assert bench.write("shop/e") is None


def test_overload_pauses_every_write_for_as_long_as_the_api_server_asks() -> None:
    bench = Bench()
    assert bench.write("shop/a", OVERLOAD) is OVERLOAD
    assert bench.queue.rested == [2]
    assert bench.is_held("market/b")
    bench.now = 1.99
    assert bench.is_held("market/b")
    bench.now = 2
    assert bench.write("market/b") is None


@pytest.mark.parametrize("error", [AWAY, TOKEN], ids=["away", "token"])
def test_an_api_server_that_is_away_is_asked_by_one_at_a_time(error: KubeError) -> None:
    bench = Bench()
    for number in range(3):
        assert bench.write(f"n{number}/a", error) is error
    assert bench.is_held("other/a")
    assert bench.queue.rested
    bench.now = 0.5
    assert bench.write("other/a", error) is error
    assert bench.is_held("other/b")
    bench.now = 2
    assert bench.write("other/a") is None
    assert bench.queue.hurried == [None]
    assert bench.write("n0/a") is None


def test_the_wait_for_an_api_server_that_is_away_is_two_seconds_at_most() -> None:
    bench = Bench()
    bench.fail("shop", AWAY)
    probes = 0
    for tenth in range(1000):
        bench.now = tenth / 10
        probes += bench.write("shop/d", AWAY) is AWAY
    assert 48 <= probes <= 63


def test_a_write_that_is_broken_off_leaves_no_trace() -> None:
    bench = Bench()
    with pytest.raises(KeyboardInterrupt), bench.gate.request("VirtualService", "create", Key("shop", "a")):
        raise KeyboardInterrupt
    assert bench.gate._circuits == {}


def test_who_may_not_write_has_learned_nothing_about_the_api_server() -> None:
    bench = Bench()
    bench.fail("shop", FORBIDDEN)
    before = dict(bench.gate._circuits)
    bench.now = 2.5
    lost = NotLeader("the Lease is another's")
    for _ in range(5):
        assert bench.write("market/a", lost) is lost
    assert bench.gate._circuits == before
    assert bench.queue.hurried == []


def test_nothing_is_remembered_of_what_went_well() -> None:
    bench = Bench()
    for number in range(100):
        bench.write(f"n{number}/a")
    assert bench.gate._circuits == {}


def test_the_metrics_show_writes_and_circuits() -> None:
    bench = Bench()
    labels = {"kind": "VirtualService", "verb": "create"}
    bench.write("market/a")
    bench.fail("shop", FORBIDDEN)
    bench.is_held("shop/d")
    assert bench.sample("writes_total", **labels, reason="OK") == 1
    assert bench.sample("writes_total", **labels, reason="Forbidden") == 3
    assert bench.sample("held_back_total", **labels) == 1
    assert bench.sample("circuits_opened_total", **labels) == 1
    assert bench.sample("circuit_state", **labels, namespace="shop") == 2
    bench.now = 2
    assert bench.sample("circuit_state", **labels, namespace="shop") == 1
    bench.write("shop/d")
    assert b"circuit_state{" not in generate_latest(bench.metrics.registry)


def test_when_reads_get_through_again_one_write_of_each_kind_may_try_at_once() -> None:
    bench = Bench()
    bench.fail("shop", FORBIDDEN)
    assert bench.is_held("shop/d")
    bench.gate.hope()
    assert bench.queue.hurried == [None]
    assert bench.write("shop/d", FORBIDDEN) is FORBIDDEN
    assert bench.is_held("shop/e")


def test_hope_does_not_cut_a_wait_short_that_the_api_server_asked_for() -> None:
    bench = Bench()
    bench.fail("shop", ApiError(503, "ServiceUnavailable", "apiserver is shutting down", retry_after=30))
    bench.now = 10.0
    bench.gate.hope()
    assert bench.is_held("shop/d")
    bench.now = 30.0
    assert not bench.is_held("shop/d")


@pytest.mark.parametrize(
    ("error", "firm"),
    [
        (DENIED, True),
        (OVERLOAD, True),
        (QUOTA, False),
        (FORBIDDEN, False),
        (AWAY, False),
        (HeldBack("x", judge(DENIED), 5.0), False),
    ],
    ids=["denied", "asked", "quota", "forbidden", "away", "held back"],
)
def test_what_was_asked_for_and_what_is_refused_is_not_hurried(error: KubeError, *, firm: bool) -> None:
    assert must_wait(error) is firm


def test_hope_comes_every_five_seconds_at_most() -> None:
    bench = Bench()
    for bench.now in (0.0, 1.0, 4.9, 5.0):
        bench.gate.hope()
    assert len(bench.queue.hurried) == 2
