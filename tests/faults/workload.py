"""
One story that every kind of write of the operator has a part in, step by step.

A run through it without faults is what runs with faults are compared with, so each step ends settled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cluster.from_scratch import left_behind
from cluster.test_consent import consent
from cluster.world import Json, World, only

SHOP = "shop"
DEVELOPERS = ("alice", "bob")
ADOPTED = "cart"
FOREIGN = "by-hand"
ADOPT = {"virtualservice-operator.dev/adopt": "true"}


@dataclass(frozen=True)
class Step:
    """A change that a user makes; `what` names it in messages."""

    what: str
    act: Callable[[World], object]


def prepare(world: World) -> None:
    """Make namespaces, Services and copies, and what is not the operator's: no policy yet, so nothing to do."""
    world.namespace(SHOP)
    for developer in DEVELOPERS:
        world.namespace(developer, developer=developer)
    consent(world, "alice", world.ns(SHOP))
    for service in ("reviews", "ratings", "api"):
        world.service(service, SHOP)
        world.service(service, "alice")
    world.namespace("other")
    world.service("quiet", "other")
    world.virtual_service(FOREIGN, "other", {"hosts": ["quiet"], "http": [_rule("quiet")]})


def policy(world: World, **more: object) -> None:
    """Apply the policy of the story."""
    found = only(world, *DEVELOPERS)
    world.policy("defaults", SHOP, developersFrom=found, placeholder={"mode": "ExternalName"}, **more)


def adoptable(world: World) -> None:
    """Hand a VirtualService that was written by hand over to the operator, then make its Service."""
    spec = {"hosts": [ADOPTED], "http": [_rule(ADOPTED)]}
    world.virtual_service(f"{ADOPTED}-virtual-service", SHOP, spec, annotations=ADOPT)
    world.service(ADOPTED, SHOP)


def _rule(host: str) -> Json:
    return {"route": [{"destination": {"host": host}}]}


STEPS = (
    Step("a policy comes", policy),
    Step("a copy comes", lambda world: world.service("reviews", "bob")),
    Step("a copy goes, and leaves a placeholder", lambda world: world.delete_service("ratings", "alice")),
    Step("an edit changes every route", lambda world: policy(world, matches=[{"type": "Header", "name": "x-dev"}])),
    Step("the policy lets a Service go", lambda world: policy(world, services={"excludedNames": ["ratings"]})),
    Step("the policy takes it in again", policy),
    Step("a VirtualService is handed over", adoptable),
    Step("a Service goes", lambda world: world.delete_service("api", SHOP)),
    Step("the policy goes", lambda world: world.delete_policy("defaults", SHOP)),
)


def is_settled(world: World) -> bool:
    """Tell whether all is as a plan from scratch would have it."""
    return not left_behind(world, SHOP)
