"""An operator with its world, behind a proxy or not, and the ways to measure what faults do to it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cluster.from_scratch import left_behind
from cluster.world import World
from controlplane.errors import ApiError
from faults.call import WRITES
from faults.invariants import (
    foreign_versions,
    i1_converged,
    i2_only_planned,
    i2_untouched,
    i3_bounded,
    i3_not_hammered,
    i4_tenants,
    i6_alive,
    writes_above_plan,
)
from faults.journal import Write, writes_of
from faults.oracle import PLANNED, Outcome, Target, differences, stored_objects
from faults.proxy import FaultProxy
from faults.workload import DEVELOPERS, SHOP, STEPS, prepare
from operator_process import OperatorProcess

SETTLE_SECONDS = 60.0
LOOK_SECONDS = 0.05
REST_SECONDS = 1.5
# What the enumerated faults befall, beside the Events: those are told once and not repeated.
OBJECTS = frozenset({"virtualservices", "services", "routingpolicies"})


@dataclass
class Measured:
    """What a test has to say for the table: recoveries in seconds, writes above plan, and invariants that broke."""

    runs: int = 0
    recoveries: list[float] = field(default_factory=list)
    extra: int = 0
    broken: list[str] = field(default_factory=list)

    def check(self, *found: list[str]) -> None:
        """Note what broke, and fail if anything did."""
        broken = [item for items in found for item in items]
        self.broken += broken
        assert not broken, "\n".join(broken)


@dataclass
class Run:
    """What one run through the story left for the invariants to look at."""

    world: World
    outcome: Outcome
    writes: list[Write]
    injected: int
    recoveries: list[float]
    problems: list[str]


def settle(operator: OperatorProcess, world: World, *shops: str, seconds: float = SETTLE_SECONDS) -> float:
    """
    Return when all is as planned from scratch, with the seconds that took; an operator that died is started again.

    The time counts from its being ready where it was started, else from the call.
    """
    started = time.monotonic()
    deadline = started + seconds
    while True:
        if not operator.alive:
            operator.start()
            operator.wait_ready()
            started = time.monotonic()
        left = _left(world, shops or (SHOP,))
        if not left and operator.alive:
            return time.monotonic() - started
        if time.monotonic() > deadline:
            raise AssertionError("\n".join([f"I1: not settled within {seconds:.0f} s:", *left, _tail(operator)]))
        time.sleep(LOOK_SECONDS)


def _left(world: World, shops: Sequence[str]) -> list[str]:
    """Return what is not as planned; an API server that has just started may not be able to say."""
    try:
        return left_behind(world, *shops)
    except (ApiError, OSError) as error:
        return [f"unknown: {error}"]


def run_story(operator: OperatorProcess, proxy: FaultProxy, world: World) -> Run:
    """Go through the story; what the proxy's rules do to it is counted. Everything is settled after each step."""
    prepare(world)
    since = world.plane.request("GET", "/apis/networking.istio.io/v1/virtualservices")["metadata"]["resourceVersion"]
    before = foreign_versions(world)
    changes, recoveries, states = [], [], []
    for step in STEPS:
        hit = _injected(proxy)
        changes.append(time.monotonic())
        step.act(world)
        seconds = settle(operator, world)
        if _injected(proxy) > hit:
            recoveries.append(seconds)
        states.append(stored_objects(world))
    outcome, writes = at_rest(proxy, world, states)
    problems = [
        *i1_converged(world, SHOP),
        *i2_untouched(before, foreign_versions(world)),
        *i2_only_planned(writes, planned_targets(world)),
        *i3_not_hammered(writes, changes),
        *i4_tenants(world, since, DEVELOPERS),
        *i6_alive(operator),
    ]
    return Run(world, outcome, writes, _injected(proxy), recoveries, problems)


def at_rest(
    proxy: FaultProxy, world: World, states: Sequence[Mapping[Target, str]] = ()
) -> tuple[Outcome, list[Write]]:
    """Return what a world came to once nothing is written any more; nothing may be."""
    time.sleep(REST_SECONDS)
    writes = [write for write in writes_of(proxy.journal) if write.call.namespace.startswith(f"{world.prefix}-")]
    last = max((write.at for write in writes if write.call.resource in PLANNED), default=0.0)
    assert time.monotonic() - last >= REST_SECONDS, "I3: it still writes at rest"
    return Outcome.of(world, writes, states), writes


def compare(clean: Run, run: Run) -> list[str]:
    """Return which invariants a run has broken, by itself and against the clean one."""
    oracle = [f"I3: {item}" for item in differences(clean.outcome, run.outcome)]
    return [*run.problems, *oracle, *i3_bounded(clean.outcome, run.outcome, run.injected)]


def extra_writes(clean: Run, run: Run) -> int:
    """Return the writes above plan."""
    return writes_above_plan(clean.outcome, run.outcome, run.injected)


def planned_targets(world: World) -> list[Target]:
    """Return what the story plans at some moment: each Service's VirtualService, and the placeholder."""
    services = ("reviews", "ratings", "api", "cart")
    found = [("virtualservices", world.ns(SHOP), f"{service}-virtual-service") for service in services]
    return [*found, ("services", world.ns("alice"), "ratings")]


def _injected(proxy: FaultProxy) -> int:
    return sum(entry.injected and entry.call.verb in WRITES for entry in proxy.journal)


def _tail(operator: OperatorProcess) -> str:
    return operator.log.read_text()[-2000:]
