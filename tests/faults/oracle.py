"""
What a run came to, to be compared with a run without faults: the end state, and the creates and deletes per object.

The idea is Sieve's (OSDI 2022): whatever went wrong on the way, these two must come out the same.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cluster.world import ISTIO, POLICIES, World
from faults.journal import Write

# Of an object, what differs between two runs of the same story.
PASSING = frozenset(
    {"uid", "resourceVersion", "creationTimestamp", "generation", "time", "lastTransitionTime", "observedGeneration"}
)
ADDRESSES = frozenset({"clusterIP", "clusterIPs"})
PLANNED = frozenset({"virtualservices", "services"})

Target = tuple[str, str, str]


@dataclass(frozen=True)
class Outcome:
    """What a run came to: its objects, and the writes of planned objects that went through, by what they did."""

    objects: Mapping[Target, str]
    writes: Mapping[tuple[str, Target], int]

    @property
    def total(self) -> int:
        """Return how many writes went through."""
        return sum(self.writes.values())

    @classmethod
    def of(cls, world: World, writes: Iterable[Write]) -> Outcome:
        """Return what is stored in a world, and what was written there."""
        counted = Counter(
            (write.kind, _short(world, target_of(write)))
            for write in writes
            if write.went_through
            and write.call.resource in PLANNED
            and write.call.namespace.startswith(f"{world.prefix}-")
        )
        return cls(dict(_objects(world)), counted)


def target_of(write: Write) -> Target:
    """Return what a write was about; one that the server named (an Event, a POST) has no name."""
    return write.call.resource, write.call.namespace, write.call.name


def differences(clean: Outcome, run: Outcome) -> list[str]:
    """Return where a run came to something else than the clean one; updates may differ, and are bounded elsewhere."""
    found = [
        f"{'/'.join(target)}: {run.objects.get(target, 'missing')}, in a clean run {clean.objects.get(target, 'missing')}"
        for target in sorted(clean.objects.keys() | run.objects.keys())
        if clean.objects.get(target) != run.objects.get(target)
    ]
    for kind, target in sorted(clean.writes.keys() | run.writes.keys()):
        here, there = run.writes.get((kind, target), 0), clean.writes.get((kind, target), 0)
        if kind != "update" and here != there:
            found.append(f"{'/'.join(target)}: {here} {kind}s, in a clean run {there}")
    return found


def _objects(world: World) -> Iterable[tuple[Target, str]]:
    places = {"services": "/api/v1", "virtualservices": ISTIO, "routingpolicies": POLICIES}
    for resource, path in places.items():
        for item in world.plane.request("GET", f"{path}/{resource}")["items"]:
            metadata = item["metadata"]
            if metadata["namespace"].startswith(f"{world.prefix}-"):
                target = (resource, metadata["namespace"], metadata["name"])
                text = json.dumps(_lasting(item), sort_keys=True).replace(f"{world.prefix}-", "")
                yield _short(world, target), text


def _lasting(value: Any) -> Any:
    """Return a value without what passes; who owns which field stays."""
    if isinstance(value, Mapping):
        dropped = PASSING | (ADDRESSES if value.get("clusterIP") != "None" else frozenset())
        return {key: _lasting(item) for key, item in value.items() if key not in dropped}
    if isinstance(value, list):
        return [_lasting(item) for item in value]
    return value


def _short(world: World, target: Target) -> Target:
    resource, namespace, name = target
    return resource, namespace.removeprefix(f"{world.prefix}-"), name
