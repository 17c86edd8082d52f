"""
What a run came to, to be compared with a run without faults: the state after each step of the story, and the creates
and deletes per object.

The idea is Sieve's (OSDI 2022): whatever went wrong on the way, these two must come out the same.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.world import ISTIO, POLICIES, World
from faults.journal import Write

# Of an object, what differs between two runs of the same story.
PASSING = frozenset(
    {"uid", "resourceVersion", "creationTimestamp", "generation", "time", "lastTransitionTime", "observedGeneration"}
)
UID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # managed fields name owners by it
ADDRESSES = frozenset({"clusterIP", "clusterIPs"})
PLANNED = frozenset({"virtualservices", "services"})

Target = tuple[str, str, str]


@dataclass(frozen=True)
class Outcome:
    """
    What a run came to: its objects after each step, and the writes of planned objects that went through.

    `writes` counts by what they did and to what.
    """

    objects: Sequence[Mapping[Target, str]]
    writes: Mapping[tuple[str, Target], int]

    @property
    def total(self) -> int:
        """Return how many writes went through."""
        return sum(self.writes.values())

    @classmethod
    def of(cls, world: World, writes: Iterable[Write], steps: Sequence[Mapping[Target, str]] = ()) -> Outcome:
        """Return what was written in a world, beside what was stored there after each step."""
        counted = Counter(
            (write.kind, _short(world, target_of(write)))
            for write in writes
            if write.went_through
            and write.call.resource in PLANNED
            and write.call.namespace.startswith(f"{world.prefix}-")
        )
        return cls(tuple(steps), counted)


def target_of(write: Write) -> Target:
    """Return what a write was about; one that the server named (an Event, a POST) has no name."""
    return write.call.resource, write.call.namespace, write.call.name


def differences(clean: Outcome, run: Outcome) -> list[str]:
    """Return where a run came to something else than the clean one; updates may differ, and are bounded elsewhere."""
    found = [
        f"after step {number}, {'/'.join(target)}: {_apart(here.get(target, ''), there.get(target, ''))}"
        for number, (there, here) in enumerate(zip(clean.objects, run.objects, strict=True), 1)
        for target in sorted(there.keys() | here.keys())
        if there.get(target) != here.get(target)
    ]
    for kind, target in sorted(clean.writes.keys() | run.writes.keys()):
        here, there = run.writes.get((kind, target), 0), clean.writes.get((kind, target), 0)
        if kind != "update" and here != there:
            found.append(f"{'/'.join(target)}: {here} {kind}s, in a clean run {there}")
    return found


def _apart(here: str, there: str) -> str:
    """Return where two texts part, with a little around it."""
    same = next((at for at, (left, right) in enumerate(zip(here, there, strict=False)) if left != right), 0)
    start = max(0, same - 40)
    return f"…{here[start : start + 200] or 'missing'}, in a clean run …{there[start : start + 200] or 'missing'}"


def stored_objects(world: World) -> dict[Target, str]:
    """Return what of a world should come out the same in each run, by short names."""
    return dict(_objects(world))


def _objects(world: World) -> Iterable[tuple[Target, str]]:
    places = {"services": "/api/v1", "virtualservices": ISTIO, "routingpolicies": POLICIES}
    for resource, path in places.items():
        for item in world.plane.request("GET", f"{path}/{resource}")["items"]:
            metadata = item["metadata"]
            if metadata["namespace"].startswith(f"{world.prefix}-"):
                target = (resource, metadata["namespace"], metadata["name"])
                text = json.dumps(_lasting(item), sort_keys=True).replace(f"{world.prefix}-", "")
                yield _short(world, target), UID.sub("uid", text)


def _lasting(value: Any) -> Any:
    """Return a value without what passes; who owns which field stays, but not since when, nor in that order."""
    if isinstance(value, Mapping):
        dropped = PASSING | (ADDRESSES if value.get("clusterIP") != "None" else frozenset())
        kept = {key: _lasting(item) for key, item in value.items() if key not in dropped}
        if "managedFields" in kept:
            kept["managedFields"] = sorted(json.dumps(entry, sort_keys=True) for entry in kept["managedFields"])
        return kept
    if isinstance(value, list):
        return [_lasting(item) for item in value]
    return value


def _short(world: World, target: Target) -> Target:
    resource, namespace, name = target
    return resource, namespace.removeprefix(f"{world.prefix}-"), name
