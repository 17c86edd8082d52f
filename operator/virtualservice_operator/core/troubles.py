"""
What a policy's owner is warned of by an Event, once, when it begins: from all that stands, not from the conditions.

A condition has one reason, that of what comes first; another trouble that stands beside it is no less news.

    TemplateInvalid               the template does not compile, or comes to nothing for some Service
    ConsentMissing                a developer's namespace does not take routes or placeholders: it does not permit them, or
                                  the name is taken, or the placeholder was refused
    RouteTie, HostTaken           another policy, or a VirtualService of somebody else, is in the way
    NameConflict                  a VirtualService cannot be written, because its name is taken
    AdmissionRejected             … or because it is refused
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from virtualservice_operator.api.conditions import ConditionType, Reason, ServiceState
from virtualservice_operator.core.objects import Finding
from virtualservice_operator.core.report import Standing, say_entry
from virtualservice_operator.core.wording import say_few

TEMPLATE_INVALID: Final = "TemplateInvalid"
CONSENT_MISSING: Final = "ConsentMissing"
_BY_REASON: Final[Mapping[tuple[str, str], str]] = {
    (ConditionType.ACCEPTED, Reason.INVALID_TEMPLATE): TEMPLATE_INVALID,
    (ConditionType.RESOLVED_REFS, Reason.REF_NOT_PERMITTED): CONSENT_MISSING,
    (ConditionType.CONFLICTED, Reason.ROUTE_TIE): Reason.ROUTE_TIE,
    (ConditionType.CONFLICTED, Reason.HOST_TAKEN): Reason.HOST_TAKEN,
    (ConditionType.PROGRAMMED, Reason.NAME_CONFLICT): Reason.NAME_CONFLICT,
    (ConditionType.PROGRAMMED, Reason.ADMISSION_REJECTED): Reason.ADMISSION_REJECTED,
}


def find_troubles(standing: Standing) -> dict[str, str]:
    """Return the troubles that stand: the message of each, by the reason of its Event."""
    rejections = [found for found in (standing.policy.rejection, *standing.rejections) if found is not None]
    said = {
        TEMPLATE_INVALID: _messages(rejections, Reason.INVALID_TEMPLATE),
        CONSENT_MISSING: _messages(standing.findings, Reason.REF_NOT_PERMITTED),
        Reason.ROUTE_TIE: standing.ties,
        Reason.HOST_TAKEN: [say_entry(entry) for entry in standing.by_name if entry.reason is Reason.HOST_TAKEN],
        Reason.NAME_CONFLICT: _failures(standing, Reason.NAME_CONFLICT),
        Reason.ADMISSION_REJECTED: _failures(standing, Reason.ADMISSION_REJECTED),
    }
    return {str(reason): say_few(messages) for reason, messages in said.items() if messages}


def said_troubles(conditions: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Return the troubles that stored conditions have as their reasons: what is surely no news after a restart."""
    reasons = ((str(item.get("type")), str(item.get("reason"))) for item in conditions)
    return frozenset(str(_BY_REASON[reason]) for reason in reasons if reason in _BY_REASON)


def known_after(found: Collection[str], known: frozenset[str], *, complete: bool) -> frozenset[str]:
    """
    Return which troubles are known from now on; one that ends is news when it begins again.

    `complete`: every Service was looked at; until then, what is not found is not over.
    """
    return frozenset(found) if complete else known.union(found)


def _messages(findings: Iterable[Finding], reason: Reason) -> list[str]:
    return list(dict.fromkeys(finding.message for finding in findings if finding.reason is reason))


def _failures(standing: Standing, reason: Reason) -> list[str]:
    failed = (entry for entry in standing.by_name if entry.state is ServiceState.FAILED)
    return [say_entry(entry) for entry in failed if entry.reason is reason]
