"""
What a policy's status says, from the entries of its Services. Values only: the shell writes it, with the time.

    Accepted      the spec is valid and allowed
    ResolvedRefs  namespaces and copies that could not be used; never unsets Ready: sandboxes come and go
    Programmed    the VirtualServices are written
    Ready         Accepted and Programmed
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any, Final

from virtualservice_operator.api.conditions import (
    Condition,
    ConditionType,
    PlannedChange,
    Reason,
    ServiceState,
    merge_conditions,
)
from virtualservice_operator.core.changes import Entry
from virtualservice_operator.core.objects import Finding
from virtualservice_operator.core.resolution import ResolvedPolicy
from virtualservice_operator.core.wording import cut, say_few, stored_size

SERVICES_LIMIT: Final = 64
DEVELOPERS_LIMIT: Final = 8
ENTRY_MESSAGE_LIMIT: Final = 256
# Less than the 32 KiB of the contract: others write the same JSON with spaces, or with longer escapes.
STATUS_LIMIT: Final = 30 * 1024
_SHOWN: Final = 3
_STATE_ORDER: Final = {state: index for index, state in enumerate(ServiceState)}
_CHANGE_ORDER: Final = {change: index for index, change in enumerate(PlannedChange)}
_PROGRAMMED_STATES: Final = (ServiceState.PROGRAMMED, ServiceState.PARTIALLY_PROGRAMMED, ServiceState.OVERRIDDEN)
_RETRIED: Final = (Reason.FORBIDDEN, Reason.ADMISSION_REJECTED, Reason.APPLY_FAILED, Reason.ISTIO_NOT_INSTALLED)
_FINAL: Final = (Reason.HOST_CONFLICT, Reason.NAME_CONFLICT, Reason.OUTPUT_NOT_ALLOWED)


@dataclass(frozen=True, slots=True)
class Standing:
    """
    What is known about one policy when its status is written.

    `entries` are those of the Services it governs, made for its present generation unless listed in `pending`.
    `observed_generation` is what its status said before; `by_name`: the entries by their Services' names.
    """

    policy: ResolvedPolicy
    entries: Mapping[str, Entry]
    pending: Collection[str]
    observed_generation: int | None = None
    by_name: tuple[Entry, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Sort the entries by their Services' names, once for all that look at them."""
        object.__setattr__(self, "by_name", tuple(self.entries[name] for name in sorted(self.entries)))

    @property
    def rejections(self) -> list[Finding]:
        """Return why the policy's template comes to nothing for some Services."""
        return [entry.rejection for entry in self.by_name if entry.rejection is not None]

    @property
    def findings(self) -> list[Finding]:
        """Return what could not be used, the policy's own first; nothing where it is not accepted."""
        if self.policy.rejection is not None:
            return []
        return [*self.policy.findings, *(found for entry in self.by_name for found in entry.findings)]

    @property
    def ties(self) -> list[str]:
        """Return the routes for which only names decided, each once."""
        return list(dict.fromkeys(tie for entry in self.by_name for tie in entry.ties))


def policy_status(standing: Standing, before: Sequence[Mapping[str, Any]], now: str) -> dict[str, Any]:
    """
    Return the whole status of a policy.

    `before`: the conditions as they are stored; `now`: RFC 3339, used only where a condition changes.
    """
    generation = standing.policy.policy.generation
    done = not standing.pending
    observed = generation if done else standing.observed_generation
    entries = standing.entries
    counts = Counter(entry.state for entry in entries.values())
    programmed = sum(counts[state] for state in _PROGRAMMED_STATES)
    conditions = merge_conditions(before, _conditions(standing, programmed, counts), generation=observed or 0, now=now)
    status = {
        **({"observedGeneration": observed} if observed is not None else {}),
        "servicesReady": f"{programmed}/{_matched(standing) - counts[ServiceState.SKIPPED]}",
        "matchedServices": _matched(standing),
        "programmedServices": programmed,
        "skippedServices": counts[ServiceState.SKIPPED],
        "failedServices": counts[ServiceState.FAILED],
        "developers": len(standing.policy.developers),
        "developerRoutes": sum(entry.routes for entry in entries.values()),
        "placeholders": sum(entry.placeholders for entry in entries.values()),
        "conditions": conditions,
    }
    room = STATUS_LIMIT - stored_size({**status, "services": [], "omittedServices": len(entries)})
    shown = _fitting(sorted(entries.values(), key=_urgency), room)
    # An apply that empties a list takes the field away: written as an empty list, it would never be as it is stored.
    return {**status, **({"services": shown} if shown else {}), "omittedServices": len(entries) - len(shown)}


def _fitting(entries: Sequence[Entry], room: int) -> list[dict[str, Any]]:
    """Return the first entries as they are shown: not too many, and no more than fit into so many bytes."""
    found = [_service_status(entry) for entry in entries[:SERVICES_LIMIT]]
    sizes = accumulate(stored_size(item) + len(",") for item in found)
    return found[: sum(size <= room for size in sizes)]


def _urgency(entry: Entry) -> tuple[int, int, str]:
    """Return an entry's place in the list: problems first, and of what would happen, what changes most."""
    planned = 0 if entry.planned_change is None else _CHANGE_ORDER[entry.planned_change]
    return _STATE_ORDER[entry.state], planned, entry.service


def _matched(standing: Standing) -> int:
    return len({*standing.entries, *standing.pending})


def _conditions(standing: Standing, programmed: int, counts: Mapping[ServiceState, int]) -> list[Condition]:
    accepted = _accepted(standing)
    written = _programmed(standing)
    ready = _ready(standing, accepted, written, programmed, counts)
    return [ready, accepted, _resolved_refs(standing), written, *_when_true(standing, accepted, written)]


def _accepted(standing: Standing) -> Condition:
    """Return whether the policy is accepted; a template that comes to nothing for some Service is not."""
    rejection = standing.policy.rejection or next(iter(standing.rejections), None)
    if rejection is not None:
        return Condition(ConditionType.ACCEPTED, "False", rejection.reason, cut(rejection.message))
    return Condition(ConditionType.ACCEPTED, "True", Reason.ACCEPTED)


def _resolved_refs(standing: Standing) -> Condition:
    if standing.policy.rejection is not None:
        return Condition(ConditionType.RESOLVED_REFS, "Unknown", Reason.PENDING, "The policy is not accepted")
    findings = standing.findings
    if not findings:
        return Condition(ConditionType.RESOLVED_REFS, "True", Reason.RESOLVED_REFS)
    messages = list(dict.fromkeys(finding.message for finding in findings))
    return Condition(ConditionType.RESOLVED_REFS, "False", findings[0].reason, say_few(messages))


def _programmed(standing: Standing) -> Condition:
    policy = standing.policy
    if policy.rejection is None and policy.freezes:
        message = "The policy is suspended; set its mode to Enforce to go on"
        return Condition(ConditionType.PROGRAMMED, "Unknown", Reason.SUSPENDED, message)
    return _trouble(standing) or _progress(standing)


def _trouble(standing: Standing) -> Condition | None:
    """Return what the most pressing entries say, if they say that something is not programmed."""
    for state, reason in (
        (ServiceState.FAILED, None),
        (ServiceState.FROZEN, Reason.FROZEN),
        (ServiceState.PENDING, None),
    ):
        if entries := [entry for entry in standing.by_name if entry.state is state]:
            message = say_few([say_entry(entry) for entry in entries])
            return Condition(ConditionType.PROGRAMMED, "False", reason or entries[0].reason, message)
    return None


def _progress(standing: Standing) -> Condition:
    def condition(status: str, reason: Reason, message: str = "") -> Condition:
        return Condition(ConditionType.PROGRAMMED, status, reason, message)

    if standing.policy.rejection is not None:
        return condition("Unknown", Reason.PENDING, "The policy is not accepted")
    if standing.pending and standing.observed_generation is None:
        return condition("Unknown", Reason.PENDING, "Waiting for the operator")
    if not _matched(standing):
        return condition("True", Reason.NO_MATCHING_SERVICES, _no_services(standing.policy))
    if standing.policy.observes:
        return condition("Unknown", Reason.OBSERVED, _would(standing))
    partial = [
        *(entry for entry in standing.by_name if entry.state is ServiceState.PARTIALLY_PROGRAMMED),
        *(entry for entry in standing.by_name if entry.state is ServiceState.OVERRIDDEN),
    ]
    if partial:
        return condition("True", Reason.PARTIALLY_PROGRAMMED, say_few([say_entry(entry) for entry in partial]))
    return condition("True", Reason.PROGRAMMED)


def _would(standing: Standing) -> str:
    """Return how often each change would happen."""
    counts = Counter(entry.planned_change for entry in standing.entries.values())
    return "The policy only observes; it would: " + ", ".join(
        f"{change} {counts[change]}" for change in PlannedChange if counts[change]
    )


def _ready(
    standing: Standing, accepted: Condition, written: Condition, programmed: int, counts: Mapping[ServiceState, int]
) -> Condition:
    if accepted.status == "True" and written.reason is Reason.OBSERVED:
        return Condition(ConditionType.READY, "True", Reason.OBSERVED, written.message)
    if accepted.status == "True" and standing.policy.freezes:
        text = f"VirtualServices that stay as they are: {counts[ServiceState.FROZEN]}; set the mode to Enforce to go on"
        return Condition(ConditionType.READY, "False", Reason.SUSPENDED, text)
    for condition in (accepted, written):
        if condition.status != "True":
            return Condition(ConditionType.READY, condition.status, condition.reason, condition.message)
    if written.reason is Reason.NO_MATCHING_SERVICES:
        return Condition(ConditionType.READY, "True", written.reason, written.message)
    skipped = counts[ServiceState.SKIPPED]
    parts = [f"{programmed} of {_matched(standing) - skipped} Services programmed"]
    overridden = len({(entry.service, item.where) for entry in standing.entries.values() for item in entry.overrides})
    if overridden:
        parts.append(f"{overridden} route{'s' if overridden > 1 else ''} overridden")
    if skipped:
        parts.append(f"{skipped} skipped")
    return Condition(ConditionType.READY, "True", written.reason, "; ".join(parts))


def _when_true(standing: Standing, accepted: Condition, written: Condition) -> list[Condition]:
    """Return the conditions that are there only while they are True."""
    found = []
    ties = standing.ties
    taken = [say_entry(entry) for entry in standing.by_name if entry.reason is Reason.HOST_TAKEN]
    if ties or taken:
        reason = Reason.ROUTE_TIE if ties else Reason.HOST_TAKEN
        found.append(Condition(ConditionType.CONFLICTED, "True", reason, say_few([*ties, *taken])))
    for kind, holds, reason in (
        (ConditionType.SUSPENDED, accepted.status == "True" and standing.policy.freezes, Reason.SUSPENDED),
        (ConditionType.OBSERVED, standing.policy.observes, Reason.OBSERVED),
    ):
        if holds:
            found.append(Condition(kind, "True", reason, written.message))
    failing = [
        entry.reason
        for entry in standing.entries.values()
        if entry.state in (ServiceState.FAILED, ServiceState.PENDING)
    ]
    if any(reason in _RETRIED for reason in failing):
        found.append(Condition(ConditionType.RECONCILING, "True", Reason.PROGRESSING_WITH_RETRY, written.message))
    elif standing.pending:
        text = f"{len(standing.pending)} of {_matched(standing)} Services to go"
        found.append(Condition(ConditionType.RECONCILING, "True", Reason.PROGRESSING, text))
    elif accepted.status == "False":
        found.append(Condition(ConditionType.STALLED, "True", accepted.reason, accepted.message))
    elif written.reason in _FINAL:
        found.append(Condition(ConditionType.STALLED, "True", written.reason, written.message))
    return found


def say_entry(entry: Entry) -> str:
    """Return a Service and what is to be said of it."""
    text = "; ".join(dict.fromkeys(item.where for item in entry.overrides)) or entry.message
    return f"{entry.service}: {text}"


def _no_services(policy: ResolvedPolicy) -> str:
    selection = policy.spec.services
    if selection is not None and selection.names is not None:
        return f"namespace {policy.policy.key.namespace} has no Service named {' or '.join(selection.names[:_SHOWN])}"
    return f"namespace {policy.policy.key.namespace} has no Service that the policy selects"


def _service_status(entry: Entry) -> dict[str, Any]:
    status: dict[str, Any] = {"name": entry.service, "state": str(entry.state), "reason": str(entry.reason)}
    if entry.planned_change is not None:
        status["plannedChange"] = str(entry.planned_change)
    if entry.message:
        status["message"] = cut(entry.message, ENTRY_MESSAGE_LIMIT)
    if entry.virtual_service is not None:
        status["virtualServiceName"] = entry.virtual_service
    if entry.developers:
        status["developers"] = list(entry.developers[:DEVELOPERS_LIMIT])
    if len(entry.developers) > DEVELOPERS_LIMIT:
        status["omittedDevelopers"] = len(entry.developers) - DEVELOPERS_LIMIT
    return status


def entry_without_placeholder(entry: Entry, finding: Finding) -> Entry:
    """Return how a Service stands whose VirtualService is right, and one of whose placeholders could not be written."""
    refused = Finding(Reason.REF_NOT_PERMITTED, finding.message)
    if entry.state is ServiceState.PROGRAMMED:
        entry = replace(entry, state=ServiceState.PARTIALLY_PROGRAMMED, reason=refused.reason, message=refused.message)
    return replace(entry, placeholders=max(0, entry.placeholders - 1), findings=(*entry.findings, refused))


def failed_entry(entry: Entry, finding: Finding) -> Entry:
    """Return how a Service stands whose change did not go through."""
    if entry.state in (ServiceState.OBSERVED, ServiceState.FROZEN):
        return entry  # nothing of this is written on its account
    waits = finding.reason is Reason.ISTIO_NOT_INSTALLED
    state = ServiceState.PENDING if waits else ServiceState.FAILED
    return Entry(entry.service, state, finding.reason, finding.message, findings=entry.findings, ties=entry.ties)
