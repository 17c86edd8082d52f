"""
Condition types, reasons, and the one rule by which conditions are merged.

Source: metav1.Condition; the closed list of reasons is part of the contract (docs/status.md).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final


class ConditionType(StrEnum):
    """What a condition speaks of. The first four are always there, the others only while they are True."""

    ACCEPTED = "Accepted"
    RESOLVED_REFS = "ResolvedRefs"
    PROGRAMMED = "Programmed"
    READY = "Ready"
    CONFLICTED = "Conflicted"
    SUSPENDED = "Suspended"
    OBSERVED = "Observed"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"


class Reason(StrEnum):
    """Every reason of a condition and of an entry of `status.services`."""

    # Accepted
    ACCEPTED = "Accepted"
    INVALID_SPEC = "InvalidSpec"
    INVALID_TEMPLATE = "InvalidTemplate"
    NAMESPACE_NOT_ALLOWED = "NamespaceNotAllowed"
    # ResolvedRefs
    RESOLVED_REFS = "ResolvedRefs"
    NAMESPACE_NOT_FOUND = "NamespaceNotFound"
    REF_NOT_PERMITTED = "RefNotPermitted"
    AMBIGUOUS_COPY = "AmbiguousCopy"
    PORT_MISMATCH = "PortMismatch"
    # Programmed
    PROGRAMMED = "Programmed"
    PARTIALLY_PROGRAMMED = "PartiallyProgrammed"
    NO_MATCHING_SERVICES = "NoMatchingServices"
    HOST_CONFLICT = "HostConflict"
    NAME_CONFLICT = "NameConflict"
    OUTPUT_NOT_ALLOWED = "OutputNotAllowed"
    FROZEN = "Frozen"
    ADMISSION_REJECTED = "AdmissionRejected"
    FORBIDDEN = "Forbidden"
    APPLY_FAILED = "ApplyFailed"
    ISTIO_NOT_INSTALLED = "IstioNotInstalled"
    PENDING = "Pending"
    # Conflicted, Reconciling
    ROUTE_TIE = "RouteTie"
    HOST_TAKEN = "HostTaken"
    PROGRESSING = "Progressing"
    PROGRESSING_WITH_RETRY = "ProgressingWithRetry"
    # Modes
    SUSPENDED = "Suspended"
    OBSERVED = "Observed"
    # Entries of status.services only
    ROUTE_OVERRIDDEN = "RouteOverridden"
    POLICY_SUSPENDED = "PolicySuspended"
    POLICY_NOT_ACCEPTED = "PolicyNotAccepted"
    EXTERNAL_NAME = "ExternalName"
    HEADLESS = "Headless"
    NO_HTTP_PORT = "NoHTTPPort"
    IGNORED = "Ignored"
    SYSTEM = "System"
    PLACEHOLDER = "Placeholder"
    GATEWAY = "Gateway"
    NOTHING_TO_ROUTE = "NothingToRoute"


class ServiceState(StrEnum):
    """How one Service stands, in `status.services[].state`, problems first."""

    FAILED = "Failed"
    FROZEN = "Frozen"
    PENDING = "Pending"
    PARTIALLY_PROGRAMMED = "PartiallyProgrammed"
    OVERRIDDEN = "Overridden"
    OBSERVED = "Observed"
    SKIPPED = "Skipped"
    PROGRAMMED = "Programmed"


class PlannedChange(StrEnum):
    """What a policy in mode Observe would do for a Service, the most urgent to know first."""

    CONFLICT = "conflict"
    DELETE = "delete"
    UPDATE = "update"
    CREATE = "create"
    NONE = "none"


ALWAYS_PRESENT: Final = (
    ConditionType.READY,
    ConditionType.ACCEPTED,
    ConditionType.RESOLVED_REFS,
    ConditionType.PROGRAMMED,
)
_NEVER: Final = "1970-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition without its time: what is said, not since when."""

    type: ConditionType
    status: str
    reason: Reason
    message: str = ""


def pending_conditions() -> list[dict[str, str]]:
    """Return the conditions that the API server writes into a new policy, so that nobody takes it for finished."""
    return [
        {
            "type": kind,
            "status": "Unknown",
            "reason": Reason.PENDING,
            "message": "Waiting for the operator",
            "lastTransitionTime": _NEVER,
        }
        for kind in ALWAYS_PRESENT
    ]


def merge_conditions(
    before: Iterable[Mapping[str, Any]], now_true: Sequence[Condition], *, generation: int, now: str
) -> list[dict[str, Any]]:
    """
    Return the full list of conditions as it is to be stored.

    `lastTransitionTime` moves only where the status of a type changes; a type that is not named is dropped.
    `now` is RFC 3339 in UTC: time is an argument, so that the same inputs give the same status.
    """
    known = {item.get("type"): item for item in before}
    return [_stored(condition, known.get(condition.type), generation, now) for condition in now_true]


def _stored(condition: Condition, before: Mapping[str, Any] | None, generation: int, now: str) -> dict[str, Any]:
    unchanged = before is not None and before.get("status") == condition.status
    return {
        "type": str(condition.type),
        "status": condition.status,
        "reason": str(condition.reason),
        "message": condition.message,
        "observedGeneration": generation,
        "lastTransitionTime": before["lastTransitionTime"] if before is not None and unchanged else now,
    }
