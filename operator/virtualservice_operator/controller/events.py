"""The Events on policies: what they say, and about which objects. Written by `status`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from virtualservice_operator.api import names
from virtualservice_operator.core.changes import Action, Change, PlaceholderChange
from virtualservice_operator.core.objects import Key, Policy
from virtualservice_operator.core.wording import cut, list_few

_MESSAGE_LIMIT: Final = 1000


class Told(NamedTuple):
    """An Event about objects: `what` of them, `done` to them."""

    reason: str
    type: str
    what: str
    done: str


_DRIFT: Final = Told("DriftRepaired", "Warning", "VirtualService", "changed or deleted by somebody else and repaired")
_VIRTUAL_SERVICES: Final = {
    Action.CREATE: Told("VirtualServiceCreated", "Normal", "VirtualService", "created"),
    Action.DELETE: Told("VirtualServiceDeleted", "Normal", "VirtualService", "deleted"),
}
_PLACEHOLDERS: Final = {
    Action.CREATE: Told("PlaceholderCreated", "Normal", "placeholder", "created"),
    Action.DELETE: Told("PlaceholderRemoved", "Normal", "placeholder", "removed"),
    Action.RELEASE: Told("PlaceholderPromoted", "Normal", "placeholder", "left to whoever has deployed the Service"),
}


class Notice(NamedTuple):
    """An Event before it is written; `type` is Normal or Warning."""

    reason: str
    type: str
    message: str


def told_of(change: Change | PlaceholderChange, *, drifted: bool) -> Told | None:
    """Return what is told of a change that went through; None where it is not worth an Event."""
    found = _PLACEHOLDERS if isinstance(change, PlaceholderChange) else _VIRTUAL_SERVICES
    return _DRIFT if drifted else found.get(change.action)


def say_told(told: Told, objects: Sequence[str]) -> Notice:
    """Return the Event about objects to which the same was done."""
    many = "s" if len(objects) > 1 else ""
    return Notice(told.reason, told.type, f"{len(objects)} {told.what}{many} {told.done}: {list_few(objects)}")


def policies_of(change: Change | PlaceholderChange) -> Sequence[Key]:
    """Return the policies on whose behalf a change is made."""
    if isinstance(change, PlaceholderChange):
        return change.policies
    if change.document is not None:
        annotation = change.document["metadata"]["annotations"][names.POLICIES_ANNOTATION]
    else:
        annotation = (change.observed.policies if change.observed is not None else None) or ""
    return [Key(change.target.namespace, name) for name in annotation.split(",") if name]


def name_of(change: Change | PlaceholderChange) -> str:
    """Return the object's name; placeholders are in other namespaces than the policy."""
    return str(change.target) if isinstance(change, PlaceholderChange) else change.target.name


def event_document(policy: Policy, notice: Notice) -> dict[str, Any]:
    """Return an Event as it is created."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{policy.key.name}.", "namespace": policy.key.namespace},
        "involvedObject": {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "name": policy.key.name,
            "namespace": policy.key.namespace,
            "uid": policy.uid,
        },
        "reason": notice.reason,
        "message": cut(notice.message, _MESSAGE_LIMIT),
        "type": notice.type,
        "source": {"component": names.OPERATOR},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
