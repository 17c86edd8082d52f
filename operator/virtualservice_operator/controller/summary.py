"""What is said of one reconcile: in the status, in the log, in metrics and in traces."""

from collections.abc import Sequence

from virtualservice_operator.api.conditions import Reason, ServiceState
from virtualservice_operator.controller.act import Outcome
from virtualservice_operator.controller.events import policies_of
from virtualservice_operator.controller.tracing import Span
from virtualservice_operator.core.changes import Change, Entry, PlaceholderChange, ServicePlan
from virtualservice_operator.core.objects import Finding
from virtualservice_operator.core.report import entry_without_placeholder, failed_entry
from virtualservice_operator.kube.errors import Reaction


def entries_of(plan: ServicePlan, outcomes: Sequence[Outcome]) -> dict[str, Entry]:
    """Return the plan's entries, or what went wrong in their place."""
    entries = dict(plan.entries)
    for outcome in outcomes:
        if outcome.reaction is None:
            continue
        finding = outcome.finding or _overtaken(outcome.change)
        if isinstance(outcome.change, PlaceholderChange):
            concerned = entries.keys() & {policy.name for policy in outcome.change.policies}
            entries |= {name: entry_without_placeholder(entries[name], finding) for name in concerned}
        else:
            return {name: failed_entry(entry, finding) for name, entry in plan.entries.items()}
    return entries


def _overtaken(change: Change | PlaceholderChange) -> Finding:
    return Finding(
        Reason.APPLY_FAILED,
        f"cannot {change.action} {change.target}: it is not as it was seen, again and again (is it being deleted, with a "
        "finalizer that nobody removes?); it is tried again",
    )


def log_fields(change: Change | PlaceholderChange, action: str) -> dict[str, str]:
    """Return what a log line says beside its message, for who searches it."""
    policies = ",".join(str(policy) for policy in policies_of(change))
    return {"action": action, "object": str(change.target), "policies": policies, "reason": change.why}


def describe(span: Span, plan: ServicePlan, outcomes: Sequence[Outcome]) -> None:
    """Say in a span what came of a plan."""
    span.say("virtualservice_operator.policies", sorted(plan.entries))
    span.say("virtualservice_operator.result", result_of(outcomes))
    for outcome in outcomes:
        if outcome.verdict is not None:
            said = outcome.finding.message if outcome.finding is not None else outcome.change.why
            span.fail(outcome.verdict.situation, said)


def action_without_write(plan: ServicePlan, outcomes: Sequence[Outcome]) -> str:
    """Return the `action` of the metric where nothing was written: refused, skipped or unchanged."""
    states = {entry.state for entry in plan.entries.values()}
    if outcomes or ServiceState.FAILED in states:
        return "refused"
    return "skipped" if ServiceState.SKIPPED in states or not states else "unchanged"


def result_of(outcomes: Sequence[Outcome]) -> str:
    """Return the `result` of the metric and of the span: success, retry or error."""
    reactions = {outcome.reaction for outcome in outcomes} - {None}
    if not reactions:
        return "success"
    return "retry" if reactions <= {Reaction.RETRY, Reaction.REPLAN, Reaction.NOT_INSTALLED} else "error"
