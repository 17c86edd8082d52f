"""What a policy in mode Observe would change for one Service: with it against without it, in words."""

from collections.abc import Mapping
from typing import Any

from virtualservice_operator.api.conditions import PlannedChange
from virtualservice_operator.core.wording import list_few

Document = Mapping[str, Any]


def foresee(without: Document | None, with_it: Document | None) -> tuple[PlannedChange, str]:
    """
    Return what a policy would change, and a sentence about it.

    `without`, `with_it`: the VirtualService that is wanted without and with the policy, None for none. Only the spec
    counts: annotations and owners change with every policy, and no request goes another way by them.
    """
    if without is None and with_it is None:
        return PlannedChange.NONE, "would change nothing"
    if with_it is None:
        return PlannedChange.DELETE, "would take the VirtualService away"
    if without is None:
        return PlannedChange.CREATE, f"would create a VirtualService with {list_few(list(_rules(with_it)))}"
    if without["spec"] == with_it["spec"]:
        return PlannedChange.NONE, "would change nothing"
    return PlannedChange.UPDATE, "would " + (_difference(_rules(without), _rules(with_it)) or "change its settings")


def _rules(document: Document) -> dict[str, Any]:
    """Return the rules by name; a template need not give them any."""
    return {rule.get("name", f"rule {index}"): rule for index, rule in enumerate(document["spec"]["http"])}


def _difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    found = (
        ("add", [name for name in after if name not in before]),
        ("change", [name for name in after if name in before and before[name] != after[name]]),
        ("remove", [name for name in before if name not in after]),
    )
    return "; ".join(f"{verb} {list_few(rules)}" for verb, rules in found if rules)
