"""What a plan is made of: changes, each one request, and what each policy gets to know."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from virtualservice_operator.api.conditions import PlannedChange, Reason, ServiceState
from virtualservice_operator.core.contest import Override
from virtualservice_operator.core.objects import Finding, Key, Service, VirtualService
from virtualservice_operator.core.template import Render


class Action(StrEnum):
    """What is done to one object; RELEASE takes our marks off and leaves it."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    RELEASE = "release"


@dataclass(frozen=True, slots=True)
class Change:
    """
    One VirtualService: `observed` is what it starts from (None for create), `document` what is wanted (None for delete).

    `spec_digest` stands for the document's spec, as in VirtualService.
    """

    action: Action
    target: Key
    why: str
    document: dict[str, Any] | None = None
    observed: VirtualService | None = None
    spec_digest: str = ""


@dataclass(frozen=True, slots=True)
class PlaceholderChange:
    """One placeholder: `observed` and `document` as in Change; `policies` are those it is made for."""

    action: Action
    target: Key
    why: str
    document: dict[str, Any] | None = None
    observed: Service | None = None
    policies: tuple[Key, ...] = ()


def document_of(change: Change | PlaceholderChange) -> dict[str, Any]:
    """Return what a change writes; `ValueError` for one that writes nothing."""
    if change.document is None:
        raise ValueError(f"{change.action} of {change.target} has no document")
    return change.document


@dataclass(frozen=True, slots=True)
class Entry:
    """
    How one Service stands for one policy, if every change succeeds.

    `developers` are those for whom the policy has a rule in the result; `routes` of them are routed to a copy, and for
    `placeholders` a placeholder stands. `rejection`: why the policy's template comes to nothing here, which the policy's
    own condition says too.
    """

    service: str
    state: ServiceState
    reason: Reason
    message: str = ""
    virtual_service: str | None = None
    developers: tuple[str, ...] = ()
    planned_change: PlannedChange | None = None
    routes: int = 0
    placeholders: int = 0
    overrides: tuple[Override, ...] = ()
    ties: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    rejection: Finding | None = None


@dataclass(frozen=True, slots=True)
class Placeholder:
    """
    A placeholder that is wanted: a Service at `key` for the Service `source`, on behalf of `policies`.

    `external_name` is None for one without endpoints, which has the `source`'s ports.
    """

    key: Key
    source: Service
    external_name: str | None
    policies: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """
    What is to be done for one Service, in this order.

    `entries` are by policy name. `wanted` is the VirtualService that is wanted, whether it stands already or not; None
    where none is, or where what stands there stays. `placeholders` are those that are wanted; None where those that
    stand stay. `due`: when to look again, in seconds since 1970. `waiting`: a policy is departing, so nothing may be
    decided yet. `templated`: the policy whose template has made `wanted`. `needs`: renderings without which there is no plan; with their results it is to be asked for again.
    """

    key: Key
    changes: Sequence[Change | PlaceholderChange] = ()
    entries: Mapping[str, Entry] = field(default_factory=dict)
    wanted: dict[str, Any] | None = None
    placeholders: tuple[Placeholder, ...] | None = ()
    due: float | None = None
    waiting: bool = False
    templated: Key | None = None
    needs: tuple[Render, ...] = ()
