"""Ten thousand requests while policies, Services and endpoints change and the operator is killed: none goes astray."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import pytest

from mesh.lines import Json
from mesh.requests import Request, question_of
from mesh.rig import Rig
from traffic.conftest import CALLERS, print_row
from traffic.objects import developers, endpoints, namespaces, policy, service

REQUESTS, EDITS, CHANGES = 10_000, 50, 50
PAUSE = 0.008
LONGEST = 420.0
HEADERS = ("x-developer", "x-sandbox")
IGNORE = {"virtualservice-operator.dev/ignore": "true"}


@dataclass(frozen=True)
class Spoken:
    """What the policy says: who is a developer, and by which header."""

    names: tuple[str, ...] = ("alice", "bob")
    header: str = "x-developer"


@dataclass(frozen=True)
class Standing:
    """What the Services are: is bob's copy ignored, how many endpoints has alice's, has the default a second port."""

    ignored: bool = False
    ready: int = 1
    second_port: bool = False
    tier: str = "web"


# Number of the request, begin, end, status, who answered.
Result = tuple[int, float, float, Any, Any]
State = TypeVar("State", bound=Hashable)


class History(Generic[State]):
    """States with the time in which each was current: from before it was written until the next one was everywhere."""

    def __init__(self, first: State) -> None:
        self._spans: list[tuple[State, float, float]] = [(first, 0.0, float("inf"))]

    @property
    def last(self) -> State:
        return self._spans[-1][0]

    def begin(self, state: State) -> None:
        self._spans.append((state, time.monotonic(), float("inf")))

    def settle(self) -> None:
        """Note that nothing but the last state is anywhere any more."""
        state, begun, _ = self._spans[-2]
        self._spans[-2] = (state, begun, time.monotonic())

    def during(self, begun: float, ended: float) -> Iterator[State]:
        return (state for state, since, until in self._spans if since <= ended and until >= begun)


def right_answers(spoken: Spoken, standing: Standing, headers: Json) -> str:
    """Say who should answer: written down here once more, not asked of the operator's own code."""
    name = headers.get(spoken.header, "")
    if name not in spoken.names or (name == "bob" and standing.ignored):
        return "reviews.shop"
    return f"reviews.{name}"


def documents(standing: Standing) -> list[Json]:
    ports = (("http", 80), ("http-admin", 8081)) if standing.second_port else (("http", 80),)
    return [
        service("reviews", "shop", *ports, labels={"tier": standing.tier}),
        service("reviews", "alice"),
        service("reviews", "bob", annotations=IGNORE if standing.ignored else None),
        endpoints("reviews", "alice", *[True] * standing.ready),
    ]


def spoken_policy(spoken: Spoken) -> Json:
    return policy("defaults", developers=developers(*spoken.names), matches=[{"type": "Header", "name": spoken.header}])


def next_spoken(before: Spoken) -> Spoken:
    names = random.choice([("alice",), ("bob",), ("alice", "bob"), ("bob", "carol"), ("carol",)])
    found = Spoken(names, random.choice(HEADERS))
    return found if found != before else next_spoken(before)


def next_standing(before: Standing) -> Standing:
    return random.choice(
        [
            replace(before, ignored=not before.ignored),
            replace(before, ready=3 - before.ready),
            replace(before, second_port=not before.second_port),
            replace(before, tier="api" if before.tier == "web" else "web"),
        ]
    )


REQUESTED: list[Json] = [
    {"x-developer": "alice"},
    {"x-developer": "bob"},
    {},
    {"x-sandbox": "alice"},
    {"x-developer": "Alice"},
    {"x-developer": "alice", "x-sandbox": "bob"},
    {"x-developer": "mallory"},
]


class Editor(threading.Thread):
    """Writes one state after another; each is everywhere before the next."""

    def __init__(
        self, rig: Rig, history: History[Any], count: int, draw: Callable[[Any], Any], write: Callable[[Any], None]
    ) -> None:
        super().__init__()
        self.rig, self.history, self.count, self.draw, self.write = rig, history, count, draw, write
        self.done = 0
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            for self.done in range(self.count):  # noqa: B020 - it is the progress that others read
                self.wait_for_requests()
                state = self.draw(self.history.last)
                self.history.begin(state)
                self.write(state)
                self.rig.settle(seconds=90)
                self.history.settle()
            self.done = self.count
        except Exception as error:  # noqa: BLE001 - the test shows it
            self.error = error

    def wait_for_requests(self) -> None:
        """Spread the edits over the requests."""
        deadline = time.monotonic() + LONGEST
        while sent(self.rig) < REQUESTS * self.done // self.count and time.monotonic() < deadline:
            time.sleep(0.05)


def test_no_request_goes_astray(clean: Rig, pytestconfig: pytest.Config) -> None:
    rig, spoken, standing = clean, History(Spoken()), History(Standing())
    rig.apply([*namespaces("shop", "alice", "bob", "other"), *documents(standing.last), spoken_policy(spoken.last)])
    rig.settle()
    questions = [
        question_of(Request("shop", "reviews.shop", headers=found), "load", through_loopback=False)
        for found in REQUESTED
    ]
    requests = [{key: value for key, value in found.items() if key != "do"} for found in questions]
    for name in CALLERS:
        rig.callers[name].pod.ask("load", requests=requests, pause=PAUSE)
    editors = [
        Editor(rig, spoken, EDITS, next_spoken, lambda state: rig.apply([spoken_policy(state)])),
        Editor(rig, standing, CHANGES, next_standing, lambda state: rig.apply(documents(state))),
    ]
    for editor in editors:
        editor.start()
    restart_halfway(rig, editors)
    results = [item for name in CALLERS for item in finish(rig, name)]
    errors = [editor.error for editor in editors if editor.error is not None]
    assert not errors, errors
    astray, failed = judge(results, spoken, standing)
    seen = Counter(who for *_, who in results)
    told = ", ".join(f"{count} by {who}" for who, count in sorted(seen.items(), key=str))
    print_row(
        pytestconfig, f"  {len(results)} requests during {EDITS} policy edits and {CHANGES} Service changes: {told}"
    )
    assert len(results) >= REQUESTS
    assert not failed, failed[:10]
    assert not astray, astray[:10]
    assert {"reviews.shop", "reviews.alice", "reviews.bob"} <= set(seen), "the edits did not move anything"


def restart_halfway(rig: Rig, editors: list[Editor]) -> None:
    """Kill the operator in the midst of it, start it again, and wait for the editors and for enough requests."""
    deadline = time.monotonic() + LONGEST
    while editors[0].done < EDITS // 2 and editors[0].is_alive():
        time.sleep(0.05)
    rig.operator.kill()
    time.sleep(1)
    rig.operator.start()
    for editor in editors:
        editor.join(max(1.0, deadline - time.monotonic()))
        assert not editor.is_alive(), "the edits took too long"
    while sent(rig) < REQUESTS and time.monotonic() < deadline:
        time.sleep(0.2)


def sent(rig: Rig) -> int:
    return sum(rig.callers[name].pod.ask("count")["sent"] for name in CALLERS)


def finish(rig: Rig, name: str) -> list[Result]:
    found: list[Result] = rig.callers[name].pod.ask("loaded")["results"]
    return found


def judge(results: list[Result], spoken: History[Spoken], standing: History[Standing]) -> tuple[list[str], list[str]]:
    """Return the answers from a wrong place, and those that are not 200, each against the states of its time."""
    astray, failed = [], []
    for number, begun, ended, status, who in results:
        headers = REQUESTED[number]
        said, stood = list(spoken.during(begun, ended)), list(standing.during(begun, ended))
        right = {right_answers(one, other, headers) for one in said for other in stood}
        if status != 200:
            failed.append(f"{headers} was answered {status}")
        elif who not in right:
            astray.append(f"{headers} was answered by {who}, right were {sorted(right)} of {said} and {stood}")
    return astray, failed
