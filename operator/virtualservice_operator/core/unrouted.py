"""Plans of Services that are not routed: released, frozen, skipped; and what is deleted."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from virtualservice_operator.api import names
from virtualservice_operator.api.conditions import Reason, ServiceState
from virtualservice_operator.core.changes import Action, Change, Entry, ServicePlan
from virtualservice_operator.core.frozen import frozen_by
from virtualservice_operator.core.objects import Finding, Key, VirtualService
from virtualservice_operator.core.resolution import ResolvedPolicy
from virtualservice_operator.core.snapshot import Snapshot, virtual_service_key


def released(key: Key, observed: VirtualService, governing: Sequence[ResolvedPolicy]) -> ServicePlan:
    """Return the plan for one that its owner released: our mark comes off, and the Service is theirs from then on."""
    finding = Finding(
        Reason.HOST_TAKEN,
        f"VirtualService {observed.key} was released; to hand it back: kubectl annotate virtualservice "
        f"{observed.key.name} -n {key.namespace} {names.MANAGED_ANNOTATION}- {names.ADOPT_ANNOTATION}=true",
    )
    return skipped(key, observed, governing, finding)


def frozen(
    key: Key,
    observed: VirtualService | None,
    governing: Sequence[ResolvedPolicy],
    freezers: Sequence[ResolvedPolicy],
) -> ServicePlan:
    """Return the plan for one that stays as it is, for the sake of policies that are not accepted or suspended."""
    plan = everywhere(key, (*governing, *freezers), ServiceState.FROZEN, frozen_by(freezers))
    name = observed.key.name if observed is not None else None
    entries = {p: replace(entry, virtual_service=name) for p, entry in plan.entries.items()}
    return replace(plan, entries=entries, placeholders=None)


def skipped(
    key: Key, observed: VirtualService | None, governing: Sequence[ResolvedPolicy], finding: Finding
) -> ServicePlan:
    """Return the plan for a Service that gets no VirtualService; ours is deleted."""
    plan = everywhere(key, governing, ServiceState.SKIPPED, finding)
    return replace(plan, changes=tuple(delete(observed, finding.message)))


def everywhere(key: Key, policies: Sequence[ResolvedPolicy], state: ServiceState, finding: Finding) -> ServicePlan:
    """Return a plan without a change, with the same entry for every policy."""
    entry = Entry(key.name, state, finding.reason, finding.message)
    # Where the VirtualService cannot be written, placeholders stay as they are too.
    placeholders = None if state is ServiceState.FAILED else ()
    return ServicePlan(key, (), {policy.policy.key.name: entry for policy in policies}, placeholders=placeholders)


def delete(observed: VirtualService | None, why: str) -> Iterator[Change]:
    """Yield the deletion of a VirtualService, if it is ours; only our mark comes off where its owner released it."""
    if observed is None or not observed.marked:
        return
    action = Action.RELEASE if observed.released else Action.DELETE
    yield Change(action, observed.key, why, None, observed)


def delete_orphans(snapshot: Snapshot, key: Key) -> Iterator[Change]:
    """Yield the deletion of VirtualServices with our mark that are not the one of this Service."""
    wanted = virtual_service_key(key)
    for item in snapshot.assigned(key):
        if item.key != wanted:
            yield from delete(item, "it has our mark, and no policy wants it")
