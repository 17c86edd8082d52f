"""Which requests and which events a fault befalls."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from faults.breakage import Breakage
from faults.call import Call


@dataclass(slots=True, eq=False)
class Rule:
    """
    A breakage and the calls it befalls: every trait that is given must fit.

    Of the calls that fit, the first `skip` are spared, then `times` are hit (None: all), each with the chance `share`.
    """

    breakage: Breakage
    verbs: frozenset[str]
    resources: frozenset[str] = frozenset()
    namespace: str = ""
    name: str = ""
    skip: int = 0
    times: int | None = 1
    share: float = 1.0
    seen: int = field(default=0, init=False)
    hits: int = field(default=0, init=False)
    _random: random.Random = field(default_factory=lambda: random.Random(1), init=False, repr=False)

    def takes(self, call: Call) -> bool:
        """Tell whether a call is hit, and count it."""
        if not self._fits(call) or (self.times is not None and self.hits >= self.times):
            return False
        self.seen += 1
        if self.seen <= self.skip or self._random.random() >= self.share:
            return False
        self.hits += 1
        return True

    def _fits(self, call: Call) -> bool:
        return (
            call.verb in self.verbs
            and (not self.resources or call.resource in self.resources)
            and self.namespace in ("", call.namespace)
            and self.name in ("", call.name)
        )


class Treatment(Enum):
    """What becomes of an event of a watch."""

    DROP = "drop"
    DUPLICATE = "duplicate"
    HOLD = "hold"


@dataclass(slots=True, eq=False)
class EventRule:
    """A treatment and the events it is for: of one resource's watches, by type, name and namespace of the object."""

    treatment: Treatment
    resource: str
    types: frozenset[str] = frozenset({"ADDED", "MODIFIED", "DELETED"})
    namespace: str = ""
    name: str = ""
    times: int | None = 1
    hits: int = field(default=0, init=False)

    def takes(self, call: Call, event: Mapping[str, Any]) -> bool:
        """Tell whether an event is treated, and count it."""
        metadata = event["object"].get("metadata", {})
        fits = (
            call.resource == self.resource
            and event["type"] in self.types
            and self.namespace in ("", metadata.get("namespace", ""))
            and self.name in ("", metadata.get("name", ""))
        )
        if not fits or (self.times is not None and self.hits >= self.times):
            return False
        self.hits += 1
        return True
