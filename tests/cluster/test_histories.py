"""Random histories: what the operator has made step by step is what a plan from scratch makes of the end, to the byte."""

import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from cluster.from_scratch import left_behind
from cluster.test_consent import consent
from cluster.world import COPY_OF, Json, World, eventually, only
from controlplane.errors import ApiError

EVENTS = 200
SHOPS = ("shop", "pay")
SANDBOXES = ("alice", "bob", "team")
SERVICES = ("api", "web", "cart")


class History:
    """Random events in one world; each is what a user can do with kubectl."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.random = random.Random(seed)
        self.told: list[str] = []
        for name in (*SHOPS, *SANDBOXES):
            world.namespace(name)
        for name in SANDBOXES:
            consent(world, name, "*")
        self._events: tuple[Callable[[], str], ...] = (
            *(self._service,) * 4,
            *(self._no_service,) * 3,
            *(self._policy,) * 3,
            self._no_policy,
            self._label,
            self._consent,
            self._foreign,
            self._no_foreign,
            self._hand_edit,
        )

    def run(self) -> None:
        for _ in range(EVENTS):
            event = self.random.choice(self._events)
            try:
                self.told.append(event())
            except ApiError as error:
                if error.status not in _REFUSALS:
                    raise
            if self.random.random() < 0.1:
                time.sleep(self.random.choice([0.2, 0.2, _PLACEHOLDER_DELAY]))

    def _service(self) -> str:
        namespace, name = self.random.choice((*SHOPS, *SANDBOXES)), self.random.choice(SERVICES)
        ports = self.random.choice([(("http", 80),), (("http", 8080),), (("http", 80), ("grpc", 9090))])
        original = self.random.choice([None, None, None, f"{self.world.ns('shop')}/api"])
        annotations = {COPY_OF: original} if original and namespace in SANDBOXES else {}
        self.world.service(name, namespace, *ports, annotations=annotations)
        return f"+ {namespace}/{name}"

    def _no_service(self) -> str:
        namespace, name = self.random.choice((*SHOPS, *SANDBOXES)), self.random.choice(SERVICES)
        self.world.delete_service(name, namespace)
        return f"- {namespace}/{name}"

    def _policy(self) -> str:
        shop, name = self.random.choice(SHOPS), self.random.choice(("p", "q"))
        blocks: Json = {}
        for field, choices in _BLOCKS.items():
            if self.random.random() < (0.6 if field == "placeholder" else 0.3):
                blocks[field] = self.random.choice(choices)
        found: Json = self.random.choice(
            [
                {"developersFrom": only(self.world, *SANDBOXES)},
                {"developers": [{"name": "alice", "namespaces": [self.world.ns("alice"), self.world.ns("team")]}]},
                {"developers": [{"name": "bob", "namespaces": [self.world.ns("bob")]}, {"name": "nobody"}]},
            ]
        )
        self.world.policy(name, shop, **found, **blocks)
        return f"+ policy {shop}/{name} {blocks}"

    def _no_policy(self) -> str:
        shop, name = self.random.choice(SHOPS), self.random.choice(("p", "q"))
        self.world.delete_policy(name, shop)
        return f"- policy {shop}/{name}"

    def _label(self) -> str:
        namespace, developer = self.random.choice(SANDBOXES), self.random.choice(["ann", "ben", None])
        self.world.label(namespace, developer=developer)
        return f"label {namespace} {developer}"

    def _consent(self) -> str:
        namespace = self.random.choice(SANDBOXES)
        to = self.random.choice([None, "*", "*", self.world.ns("shop"), ""])
        consent(self.world, namespace, to)
        return f"consent {namespace} {to}"

    def _foreign(self) -> str:
        shop, host = self.random.choice(SHOPS), self.random.choice(SERVICES)
        rule = {"route": [{"destination": {"host": "elsewhere.example"}}]}
        self.world.virtual_service("by-hand", shop, {"hosts": [host], "http": [rule]})
        return f"+ by-hand {shop} {host}"

    def _no_foreign(self) -> str:
        shop = self.random.choice(SHOPS)
        self.world.delete_virtual_service("by-hand", shop)
        return f"- by-hand {shop}"

    def _hand_edit(self) -> str:
        shop, name = self.random.choice(SHOPS), self.random.choice(SERVICES)
        self.world.edit_virtual_service(name, shop, {"spec": {"http": [{"route": [{"destination": {"host": "x"}}]}]}})
        return f"edit {shop}/{name}"


# After such a pause a deleted copy has its placeholder (conftest.FLAGS).
_PLACEHOLDER_DELAY = 1.2
# Not there, there already, or not allowed: into Observe, or blocks that exclude each other.
_REFUSALS = (404, 409, 422)
_BLOCKS: dict[str, list[Any]] = {
    "mode": ["Suspended", "Observe"],
    "priority": [1, 2],
    "services": [{"names": ["api"]}, {"excludedNames": ["web"]}],
    "matches": [
        [{"type": "Header", "name": "x-dev", "matchType": "Prefix"}],
        [{"type": "Baggage", "name": "dev"}, {"type": "SourceNamespace"}],
        [{"type": "Header", "name": "x-dev", "matchType": "Regex", "value": "({{ DeveloperName }}"}],
    ],
    "copies": [{"whenMissing": "Reject"}, {"unknownDeveloper": "Reject"}],
    "placeholder": [
        {"mode": "ExternalName"},
        {"mode": "NoEndpoints"},
        {"mode": "Alias"},
        {"mode": "Alias", "createFor": "AllServices"},
    ],
    "defaultRoute": [{"timeout": "3s"}],
    "developerRoute": [{"timeout": "0s"}, {"retries": {"attempts": 2}}],
    "exportTo": [["."]],
    "routedToHeader": ["x-routed-to"],
    "virtualServiceFor": ["RoutedServices"],
    "foreignVirtualServices": ["Keep"],
}


@pytest.mark.usefixtures("placeholder_rights")
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_two_hundred_events_come_to_what_a_plan_from_scratch_makes(world: World, seed: int) -> None:
    history = History(world, seed)
    history.run()
    left: list[str] = []

    def is_settled() -> bool:
        left[:] = left_behind(world, *SHOPS)
        return not left

    try:
        eventually("all is as planned from scratch", is_settled, seconds=90)
    except AssertionError as error:
        raise AssertionError("\n".join(["left behind:", *left, "after:", *history.told[-40:]])) from error
