"""A copy goes and comes back while its developer is at work: what is lost meanwhile, and the way in which nothing is."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pytest

from mesh.lines import Json
from mesh.requests import Request, question_of
from mesh.rig import Rig
from traffic.conftest import CALLERS, print_row
from traffic.objects import developers, namespaces, policy, service
from traffic.test_under_load import IGNORE, History, Result, finish

ROUNDS = 6
PAUSE = 0.01
LONGEST = 2.0
"""Seconds from a change to the last answer that it cost; on a machine with nothing else to do it is a tenth of that."""
REQUESTED: list[Json] = [{"x-developer": "alice"}, {}, {"x-developer": "alice"}, {"x-developer": "bob"}]
GOES, COMES = "goes", "comes back"
NO_CLUSTER = "NC"

Change = tuple[str, float]
Steps = Sequence[Callable[[Rig], None]]


@dataclass(frozen=True)
class Lost:
    """A request that nobody answered: by which change, and how many seconds after it."""

    by: str
    after: float


@dataclass(frozen=True)
class Found:
    """What came of all requests: how many there were, which were lost by a change, and what else went wrong."""

    asked: int
    lost: list[Lost]
    astray: list[str]
    flags: Mapping[str, int]


def delete(rig: Rig) -> None:
    rig.remove("Service", "alice", "reviews")


def deploy(rig: Rig) -> None:
    put(rig)


def deploy_ignored(rig: Rig) -> None:
    put(rig, annotations=IGNORE)


def put(rig: Rig, annotations: Mapping[str, str] | None = None) -> None:
    """Put the copy there, whose Pods are ready before it is."""
    copy = service("reviews", "alice", annotations=annotations)
    rig.backends.serve(rig.cluster, [copy])
    rig.cluster.put(copy)


def test_a_change_of_a_copy_costs_its_developer_what_envoy_has_no_cluster_for(
    clean: Rig, pytestconfig: pytest.Config
) -> None:
    """Service and route reach an Envoy one after the other: a route without its cluster is 503, and only its own."""
    found = ask_meanwhile(clean, "deleted", goes=[delete], comes=[deploy])
    tell(pytestconfig, "deleted and deployed", found)
    assert not found.astray, found.astray[:10]
    assert set(found.flags) <= {NO_CLUSTER}, found.flags
    assert max((item.after for item in found.lost), default=0) < LONGEST


def test_a_copy_that_is_ignored_while_it_goes_and_comes_costs_nothing(clean: Rig, pytestconfig: pytest.Config) -> None:
    """The route goes before the Service does, and comes after it."""
    found = ask_meanwhile(clean, "ignored", goes=[deploy_ignored, delete], comes=[deploy_ignored, deploy])
    tell(pytestconfig, "deleted and deployed while ignored", found)
    assert (found.astray, found.lost, found.flags) == ([], [], {})


def ask_meanwhile(rig: Rig, mark: str, *, goes: Steps, comes: Steps) -> Found:
    """Take alice's copy away and put it back, again and again, while everybody asks."""
    others = [service("reviews", namespace) for namespace in ("shop", "bob")]
    spoken = policy("defaults", developers=developers("alice", "bob"))
    rig.apply([*namespaces("shop", "alice", "bob", "other"), *others, service("reviews", "alice"), spoken])
    rig.settle()
    start(rig, mark)
    there, changes = History(True), []
    for _ in range(ROUNDS):
        for name, steps in ((GOES, goes), (COMES, comes)):
            changes.append((name, time.monotonic()))
            there.begin(name == COMES)
            for step in steps:
                step(rig)
                rig.settle()
            there.settle()
    results = [item for name in CALLERS for item in finish(rig, name)]
    assert {who for *_, who in results} >= {"reviews.alice", "reviews.bob", "reviews.shop"}
    lost, astray = judge(results, there, changes)
    return Found(len(results), lost, astray, Counter(flags_of_failures(rig, mark)))


def judge(results: list[Result], there: History[bool], changes: list[Change]) -> tuple[list[Lost], list[str]]:
    """Return what of alice's nobody answered, by the change before it, and all else that is not as it should be."""
    lost, astray = [], []
    for number, begun, ended, status, who in results:
        name = REQUESTED[number].get("x-developer")
        right = {answerer(name, present=present) for present in there.during(begun, ended)}
        before = [change for change in changes if change[1] <= ended]
        if status == 503 and name == "alice" and before:
            by, since = before[-1]
            lost.append(Lost(by, ended - since))
        elif status != 200 or who not in right:
            astray.append(f"{name} was answered {status} by {who}, right were {sorted(right)}")
    return lost, astray


def answerer(name: str | None, *, present: bool) -> str:
    return f"reviews.{name}" if name == "bob" or (name == "alice" and present) else "reviews.shop"


def start(rig: Rig, mark: str) -> None:
    asked = (Request("shop", "reviews.shop", headers=headers) for headers in REQUESTED)
    questions = [question_of(request, mark, through_loopback=False) for request in asked]
    requests = [{key: value for key, value in found.items() if key != "do"} for found in questions]
    for name in CALLERS:
        rig.callers[name].pod.ask("load", requests=requests, pause=PAUSE)


def flags_of_failures(rig: Rig, mark: str) -> Iterator[str]:
    """Yield what the Envoys say of each request that was not answered 200; 0 is one that its caller gave up at the end."""
    for name in CALLERS:
        yield from (item.flags for item in rig.logged(name, mark) if item.status not in (0, 200))


def tell(config: pytest.Config, how: str, found: Found) -> None:
    flags = ", ".join(f"{count} {flag}" for flag, count in sorted(found.flags.items())) or "none"
    print_row(config, f"  {found.asked} requests while a copy was {how} {ROUNDS} times: not answered {flags}")
    for name in (GOES, COMES):
        after = [item.after for item in found.lost if item.by == name]
        if after:
            print_row(config, f"    as it {name}: {len(after)}, the last {max(after) * 1000:.0f} ms after the change")
