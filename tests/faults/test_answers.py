"""Answers that are errors, or late (F11, F12, F13)."""

import itertools
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence

import pytest

from cluster.world import World, eventually, only, shop_with_alice
from controlplane.server import ControlPlane
from faults.breakage import Delay, Status
from faults.call import READS, WRITES, Call
from faults.invariants import i5_truthful, i6_alive, i6_said, i7_unharmed, versions_in
from faults.journal import Entry
from faults.overload import overloaded
from faults.proxy import FaultProxy
from faults.rig import Measured, at_rest, settle
from faults.rules import Rule
from operator_process import OperatorProcess

QUICK, LONG = 8, 60
SLOW = pytest.mark.slow("errors last for 60 s, or are of more kinds")
NEEDED = 5
# 0.5 s doubled to a cap of 30 s and spread: within a minute no request is made more often.
TRIES_IN_A_MINUTE = 12


@pytest.fixture(params=[QUICK, pytest.param(LONG, marks=SLOW)], ids=lambda seconds: f"{seconds} s")
def duration(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def shop(world: World, operator: OperatorProcess, proxy: FaultProxy) -> World:
    shop_with_alice(world, "reviews", "ratings", "api")
    settle(operator, world)
    proxy.forget()
    return world


def change_much(world: World) -> None:
    """Make four writes needed: two updates, a creation, a deletion; one more if the edit comes before the deletion."""
    found = only(world, "alice")
    world.policy("defaults", "shop", developersFrom=found, matches=[{"type": "Header", "name": "x-dev"}])
    world.service("cart", "shop")
    world.delete_service("api", "shop")


def by_call(journal: Sequence[Entry]) -> Iterator[tuple[Call, list[Entry]]]:
    """Yield the requests of each client for the same thing, in order."""
    found: defaultdict[tuple[str, Call], list[Entry]] = defaultdict(list)
    for entry in journal:
        found[entry.client, entry.call].append(entry)
    for (_, call), entries in found.items():
        yield call, entries


def too_soon(journal: Sequence[Entry]) -> list[str]:
    """Return the requests that were made again before the time that the server had asked for."""
    return [
        f"I3: {call} after {again.at - first.ended:.2f} s, asked for {first.asked:g} s"
        for call, entries in by_call(journal)
        for first, again in itertools.pairwise(entries)
        if again.at - first.ended < first.asked
    ]


def too_often(journal: Sequence[Entry], limit: int) -> list[str]:
    """Return what was asked for more often than a back-off allows; a policy's status may be news each second."""
    return [
        f"I3: {call} was asked for {len(entries)} times"
        for call, entries in by_call(journal)
        if call.resource in ("virtualservices", "services", "namespaces") and len(entries) > limit
    ]


def finish(
    world: World, operator: OperatorProcess, proxy: FaultProxy, measured: Measured, *problems: list[str]
) -> None:
    """Let faults end, and hold the end against what was needed."""
    proxy.heal()
    measured.recoveries.append(settle(operator, world))
    outcome, _ = at_rest(proxy, world)
    measured.extra = max(0, outcome.total - NEEDED)
    bounded = [] if outcome.total <= NEEDED else [f"I3: {outcome.total} writes for {NEEDED}: {outcome.writes}"]
    measured.check(bounded, i6_alive(operator), *problems)


@pytest.mark.fault("F11")
def test_i1_i3_i6_overload_is_waited_out_as_the_api_server_asks(
    duration: int,
    plane: ControlPlane,
    shop: World,
    operator: OperatorProcess,
    proxy: FaultProxy,
    measured: Measured,
) -> None:
    with overloaded(plane):
        eventually("the operator is told to wait", lambda: is_refused(proxy))
        change_much(shop)
        time.sleep(duration)
        journal = proxy.journal
    finish(shop, operator, proxy, measured, too_soon(journal))


def is_refused(proxy: FaultProxy) -> bool:
    """Break the watches, and tell whether the API server refuses what is asked instead."""
    proxy.cut()
    time.sleep(0.5)
    return any(entry.answered == 429 for entry in proxy.journal)


@pytest.mark.fault("F12")
@pytest.mark.parametrize(
    ("code", "share", "duration"),
    [
        (503, 0.5, QUICK),
        (503, 1.0, QUICK),
        *(pytest.param(code, share, QUICK, marks=SLOW) for code in (500, 504) for share in (0.5, 1.0)),
        *(pytest.param(503, share, LONG, marks=SLOW) for share in (0.1, 0.5, 1.0)),
    ],
)
def test_i1_i3_i6_errors_of_the_server_are_tried_again_ever_later(
    code: int,
    share: float,
    duration: int,
    shop: World,
    operator: OperatorProcess,
    proxy: FaultProxy,
    measured: Measured,
) -> None:
    proxy.add(Rule(Status(code, "InternalError"), READS | WRITES, times=None, share=share))
    proxy.cut()
    change_much(shop)
    time.sleep(duration)
    said = i6_said(operator) if (share, duration) == (1.0, LONG) else []
    finish(shop, operator, proxy, measured, said, too_often(proxy.journal, TRIES_IN_A_MINUTE))
    eventually("it is ready again", lambda: operator.get("/readyz") == "ok\n")


@pytest.mark.fault("F12")
def test_i5_i7_writes_that_keep_failing_are_said_and_cost_no_other_namespace(
    shop: World, operator: OperatorProcess, proxy: FaultProxy, measured: Measured
) -> None:
    shop.namespace("pay")
    shop.service("cart", "pay")
    shop.policy("defaults", "pay", developersFrom=only(shop, "alice"))
    settle(operator, shop, "shop", "pay")
    broken = Rule(
        Status(503, "ServiceUnavailable"), WRITES, frozenset({"virtualservices"}), shop.ns("shop"), times=None
    )
    proxy.add(broken)
    shop.delete_service("reviews", "alice")
    eventually("it is said", lambda: shop.condition("defaults", "shop", "Ready") == ("False", "ApplyFailed"))
    measured.check(i5_truthful(shop, "shop"))
    shop.service("cart", "alice")
    measured.recoveries.append(settle(operator, shop, "pay"))
    settled = versions_in(shop, "pay")
    time.sleep(3)
    measured.check(i5_truthful(shop, "shop"), i7_unharmed(settled, versions_in(shop, "pay")), i6_alive(operator))
    proxy.heal()
    measured.recoveries.append(settle(operator, shop, "shop", "pay"))


@pytest.mark.fault("F13")
def test_i1_i6_a_slow_api_server_is_only_slow(
    shop: World, operator: OperatorProcess, proxy: FaultProxy, measured: Measured
) -> None:
    proxy.add(Rule(Delay(5), READS | WRITES, times=None))
    change_much(shop)
    settle(operator, shop)
    assert "no answer in time" not in operator.log.read_text()
    finish(shop, operator, proxy, measured)
