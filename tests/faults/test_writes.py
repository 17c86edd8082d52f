"""
Every write of the story goes wrong once: the operator dies after it, before it, or its answer is lost (F01, F02, F03).

The quick tests take two of the writes, the slow ones each.
"""

from collections.abc import Callable, Sequence

import pytest

from cluster.world import World
from faults.breakage import Breakage, Kill, LostAnswer, Reset
from faults.call import WRITES
from faults.proxy import FaultProxy
from faults.rig import OBJECTS, Measured, Run, compare, extra_writes, run_story
from faults.rules import Rule
from operator_process import OperatorProcess


def crash_after(operator: OperatorProcess) -> Breakage:
    return Kill(operator.kill)


def crash_before(operator: OperatorProcess) -> Breakage:
    return Kill(operator.kill, too_early=True)


def lose_the_answer(_: OperatorProcess) -> Breakage:
    return LostAnswer()


def reset(_: OperatorProcess) -> Breakage:
    return Reset()


FAULTS = [
    pytest.param(crash_after, marks=pytest.mark.fault("F01"), id="F01 crash after a write"),
    pytest.param(lose_the_answer, marks=pytest.mark.fault("F02"), id="F02 answer lost"),
    pytest.param(crash_before, marks=pytest.mark.fault("F03"), id="F03 crash before a write"),
    pytest.param(reset, marks=pytest.mark.fault("F03"), id="F03 connection reset before a write"),
]


def run_broken(rules: Sequence[Rule], clean: Run, operator: OperatorProcess, proxy: FaultProxy) -> Run:
    """Go through the story once, under rules."""
    proxy.heal()
    proxy.forget()
    for rule in rules:
        proxy.add(rule)
    return run_story(operator, proxy, World.new(clean.world.plane))


def note(measured: Measured, clean: Run, run: Run) -> list[str]:
    """Note what a run has come to and return what is broken."""
    measured.runs += 1
    measured.recoveries += run.recoveries
    measured.extra += extra_writes(clean, run)
    return compare(clean, run)


@pytest.mark.parametrize("make", FAULTS)
def test_i1_i2_i3_i4_i5_hold_when_a_route_and_a_placeholder_go_wrong(
    make: Callable[[OperatorProcess], Breakage],
    clean: Run,
    operator: OperatorProcess,
    proxy: FaultProxy,
    measured: Measured,
) -> None:
    route = Rule(make(operator), WRITES, frozenset({"virtualservices"}), skip=1)
    placeholder = Rule(make(operator), frozenset({"create"}), frozenset({"services"}))
    run = run_broken([route, placeholder], clean, operator, proxy)
    assert (route.hits, placeholder.hits) == (1, 1), "the story lacks what was to go wrong"
    measured.check(note(measured, clean, run))


@pytest.mark.slow("every write of the story goes wrong once")
@pytest.mark.parametrize("make", FAULTS)
def test_i1_i2_i3_i4_i5_hold_whichever_write_goes_wrong(
    make: Callable[[OperatorProcess], Breakage],
    clean: Run,
    operator: OperatorProcess,
    proxy: FaultProxy,
    measured: Measured,
) -> None:
    broken, number = [], 0
    while True:
        rule = Rule(make(operator), WRITES, OBJECTS, skip=number)
        run = run_broken([rule], clean, operator, proxy)
        if not rule.hits:
            break
        number += 1
        broken += [f"write {number}: {item}" for item in note(measured, clean, run)]
    assert number >= clean.outcome.total
    measured.check(broken)
