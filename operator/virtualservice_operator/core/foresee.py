"""What a policy in mode Observe would change for one Service: with it against without it, in words."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from virtualservice_operator.api.conditions import PlannedChange, Reason, ServiceState
from virtualservice_operator.core.changes import Entry
from virtualservice_operator.core.objects import Key
from virtualservice_operator.core.wording import list_few

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Prospect:
    """
    What is wanted for one Service by some policies: the VirtualService, None for none, and the placeholders that stand.

    `placeholders` are by key, each with the name that it leads to; None for one without endpoints.
    """

    document: Document | None = None
    placeholders: Mapping[Key, str | None] = field(default_factory=dict)


def foresee_entry(entry: Entry, without: Prospect, with_it: Prospect) -> Entry:
    """Return the entry of a policy in mode Observe; `entry` is what it would be in mode Enforce."""
    found = Entry(entry.service, ServiceState.OBSERVED, Reason.OBSERVED, rejection=entry.rejection)
    if entry.state is ServiceState.FAILED or entry.reason is Reason.HOST_TAKEN:
        return replace(found, planned_change=PlannedChange.CONFLICT, message=entry.message)
    if entry.state is ServiceState.FROZEN:
        return replace(found, planned_change=PlannedChange.NONE, message=entry.message)
    change, message = foresee(without, with_it)
    ties = _would_be_ties(entry)
    # What the ties say already is not said once more.
    others = "; ".join(item.how for item in entry.overrides if not item.is_tie) if entry.overrides else entry.message
    text = "; ".join(part for part in (ties, message, others) if part)
    planned = PlannedChange.CONFLICT if ties else change
    return replace(found, planned_change=planned, message=text, developers=entry.developers, findings=entry.findings)


def _would_be_ties(entry: Entry) -> str:
    """Return the first route of a Service for which only names would decide, with the remedy, and how many more there are."""
    ties = [tie.removeprefix(f"{entry.service}: ") for tie in entry.ties]
    return "; and ".join([*ties[:1], *([f"{len(ties) - 1} more"] if len(ties) > 1 else [])])


def foresee(without: Prospect, with_it: Prospect) -> tuple[PlannedChange, str]:
    """
    Return what a policy would change, and a sentence about it.

    `without`, `with_it`: what is wanted without and with the policy. Of the VirtualService only the spec counts, and of
    placeholders where they lead: annotations and owners change with every policy, and no request goes another way by them.
    """
    change, routes = _foresee_routes(without.document, with_it.document)
    placeholders = _difference(without.placeholders, with_it.placeholders, "placeholder ")
    if placeholders and change is PlannedChange.NONE:
        change = PlannedChange.UPDATE
    parts = [text for text in (routes, placeholders) if text]
    return change, "would " + ("; ".join(parts) or "change nothing")


def _foresee_routes(without: Document | None, with_it: Document | None) -> tuple[PlannedChange, str]:
    if with_it is None:
        taken = without is not None
        return (PlannedChange.DELETE, "take the VirtualService away") if taken else (PlannedChange.NONE, "")
    if without is None:
        return PlannedChange.CREATE, f"create a VirtualService with {list_few(list(_rules(with_it)))}"
    if without["spec"] == with_it["spec"]:
        return PlannedChange.NONE, ""
    return PlannedChange.UPDATE, _difference(_rules(without), _rules(with_it)) or "change its settings"


def _rules(document: Document) -> dict[str, Any]:
    """Return the rules by name; a template need not give them any."""
    return {rule.get("name", f"rule {index}"): rule for index, rule in enumerate(document["spec"]["http"])}


def _difference(before: Mapping[Any, Any], after: Mapping[Any, Any], what: str = "") -> str:
    added = "create" if what else "add"
    found = (
        (added, [str(name) for name in after if name not in before]),
        ("change", [str(name) for name in after if name in before and before[name] != after[name]]),
        ("remove", [str(name) for name in before if name not in after]),
    )
    return "; ".join(f"{verb} {what}{list_few(names)}" for verb, names in found if names)
