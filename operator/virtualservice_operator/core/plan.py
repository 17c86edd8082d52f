"""
Wanted against observed, for one Service: ordered changes, each with its reason, and what each policy gets to know.

    in this order                                the VirtualService       entry
    a policy was deleted a moment ago            stays                    (none: the last one stands)
    released by its owner                        our mark comes off       Skipped/HostTaken
    our name taken by an unmarked one            untouched                Failed/NameConflict
    a foreign one on our host, same namespace    ours is withdrawn        Skipped/HostTaken (unless Keep)
    named after one not accepted, or suspended   stays (frozen)           Frozen
    no Service, no policy                        deleted if ours          (none)
    not eligible, or nothing to route            deleted if ours          Skipped
    a foreign one elsewhere that ranks first     not created; kept        Failed/HostConflict
    otherwise                                    created, updated         Programmed …

A foreign one that no client of ours sees (`exportTo`) is passed over. A policy in mode Observe has no part in this; its entry
says what would be different with it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from virtualservice_operator.api import names
from virtualservice_operator.api.conditions import Reason, ServiceState
from virtualservice_operator.core.blocks import resolve_blocks
from virtualservice_operator.core.changes import Action, Change, Entry, PlaceholderChange, ServicePlan
from virtualservice_operator.core.check import check_size, check_virtual_service
from virtualservice_operator.core.contest import Contest, contend
from virtualservice_operator.core.copies import choose_copies
from virtualservice_operator.core.draft import Draft, make_draft, own_draft
from virtualservice_operator.core.foreign import find_rival, host_conflict, host_taken, name_conflict, who_sees_ours
from virtualservice_operator.core.foresee import Prospect, foresee_entry
from virtualservice_operator.core.frozen import find_freezers, named_policies, reaches_refused
from virtualservice_operator.core.objects import Finding, Key, Service, VirtualService
from virtualservice_operator.core.output import check_draft
from virtualservice_operator.core.ownership import differs, digest, stamp
from virtualservice_operator.core.placeholders import Placement, placeholder_changes, placeholders_after
from virtualservice_operator.core.precedence import in_precedence
from virtualservice_operator.core.renderings import VARIABLES_LIMIT, NeedsRenders, TemplateFails
from virtualservice_operator.core.resolution import ResolvedPolicy
from virtualservice_operator.core.routes import write_rules
from virtualservice_operator.core.selection import governs, skip_finding
from virtualservice_operator.core.snapshot import Case, Snapshot, virtual_service_key
from virtualservice_operator.core.template import Metered, Render, Renders, template_of
from virtualservice_operator.core.template_variables import Scene
from virtualservice_operator.core.unrouted import delete, delete_orphans, everywhere, frozen, released, skipped

_NOTHING_RENDERED: Final[Renders] = {}


def plan_service(snapshot: Snapshot, key: Key, now: float = 0.0, renders: Renders = _NOTHING_RENDERED) -> ServicePlan:
    """
    Return the changes that bring the VirtualService of one Service to what all policies together want.

    `now`: seconds since 1970; only the end of placeholders' time depends on it. `renders`: what is known to come of
    templates; a plan that needs more says so and nothing else.
    """
    if snapshot.settings.is_denied(key.namespace):
        return ServicePlan(key)  # nothing is touched there, whatever it looks like
    service = snapshot.service(key)
    observed = snapshot.virtual_service(virtual_service_key(key))
    concerned = _concerned(snapshot, service) if service is not None else ()
    governing = tuple(policy for policy in concerned if policy.is_in_force)
    named = tuple(named_policies(snapshot, observed))
    if any(policy.policy.departing for policy in (*governing, *named)):
        return ServicePlan(key, waiting=True)
    unchecked = {policy.policy.key: policy for policy in (*concerned, *named) if policy.unchecked}
    if unchecked:
        return ServicePlan(key, needs=tuple(check_of(policy) for policy in unchecked.values()))
    case = Case(snapshot, key, service, observed, now, Metered(renders))
    try:
        plan = _plan_wanted(case, in_precedence(governing))
        would_be = _would_be(case, governing, [policy for policy in concerned if policy.observes])
    except NeedsRenders as missing:
        return ServicePlan(key, needs=missing.renders)
    foreseen = _foreseen(case, plan, would_be) if would_be else {}
    before, after = placeholder_changes(snapshot, key, plan.placeholders)
    changes = (*before, *plan.changes, *after, *delete_orphans(snapshot, key))
    possible = tuple(change for change in changes if not _comes_too_late(snapshot, change))
    moments = [found.due for found in (plan, *would_be.values()) if found.due is not None]
    entries = {**plan.entries, **foreseen}
    return replace(plan, changes=possible, entries=entries, due=min(moments, default=None))


def _would_be(
    case: Case, governing: tuple[ResolvedPolicy, ...], observers: Sequence[ResolvedPolicy]
) -> dict[str, ServicePlan]:
    """Return the plan with each of the observers; what is missing for several of them is asked for at once."""
    found, missing, size = dict[str, ServicePlan](), dict[Render, None](), 0
    for observer in observers:
        try:
            found[observer.policy.key.name] = _plan_wanted(case, in_precedence((*governing, observer)))
        except NeedsRenders as needs:
            missing |= dict.fromkeys(needs.renders)
            size += sum(len(render.variables) for render in needs.renders)
            if size > VARIABLES_LIMIT:
                break
    if missing:
        raise NeedsRenders(tuple(missing))
    return found


def _foreseen(case: Case, plan: ServicePlan, would_be: Mapping[str, ServicePlan]) -> dict[str, Entry]:
    """Return the entries of the observers, each by the plan with it."""
    without = _prospect(case, plan)
    return {
        name: foresee_entry(_entry_with(name, would, plan), without, _prospect(case, would))
        for name, would in would_be.items()
    }


def _entry_with(name: str, would: ServicePlan, plan: ServicePlan) -> Entry:
    """Return an observer's entry of the plan with it; where another policy's template fails only then, it says so."""
    entry = would.entries[name]
    for other, found in would.entries.items():
        if other != name and found.rejection is not None and plan.entries[other].rejection is None:
            why = found.rejection.message.removeprefix(f"Service {entry.service}: ")
            message = f"would leave the Service without the template of policy {other}: {why}"
            return replace(entry, state=ServiceState.FAILED, reason=found.rejection.reason, message=message)
    return entry


def _comes_too_late(snapshot: Snapshot, change: Change | PlaceholderChange) -> bool:
    """Tell whether a change would create something in a namespace that is being deleted, which takes nothing new."""
    namespace = snapshot.namespace(change.target.namespace)
    return change.action is Action.CREATE and namespace is not None and namespace.terminating


def check_of(policy: ResolvedPolicy) -> Render:
    """Return what has to be asked about a policy's template before anything is decided by it."""
    found = policy.policy
    if policy.spec.template is None:
        raise ValueError(f"{found.key} has no template")
    return Render(found.key, found.uid, found.generation, template_of(policy.spec.template))


def _prospect(case: Case, plan: ServicePlan) -> Prospect:
    return Prospect(plan.wanted, placeholders_after(case.snapshot, case.key, plan.placeholders))


def _concerned(snapshot: Snapshot, service: Service) -> tuple[ResolvedPolicy, ...]:
    return tuple(policy for policy in snapshot.accepted(service.key.namespace) if governs(policy.spec, service))


def _plan_wanted(
    case: Case, governing: tuple[ResolvedPolicy, ...], refused: tuple[ResolvedPolicy, ...] = ()
) -> ServicePlan:
    """
    Return the plan by these policies.

    `refused` are those whose template comes to nothing here: for this Service they count as not accepted.
    """
    snapshot, key, service, observed = case.snapshot, case.key, case.service, case.observed
    freezers = find_freezers(snapshot, observed, refused)
    if service is not None and (governing or freezers):
        claimed = _claimed_by_others(snapshot, service, observed, (*governing, *freezers))
        if claimed is not None:
            return claimed
    if freezers:
        return frozen(key, observed, governing, freezers)
    if service is None or not governing:
        return ServicePlan(key, tuple(delete(observed, "no policy governs a Service of this name")))
    skip = skip_finding(service)
    if skip is not None:
        return skipped(key, observed, governing, skip)
    try:
        return _plan_routing(case, service, governing)
    except TemplateFails as failure:
        return _without_template(case, governing, refused, str(failure))


def _without_template(
    case: Case, governing: tuple[ResolvedPolicy, ...], refused: tuple[ResolvedPolicy, ...], message: str
) -> ServicePlan:
    """Return the plan where a template comes to nothing: what its policy contributed to stays, others go on without it."""
    templated = resolve_blocks(governing).templated
    if templated is None:
        raise ValueError(f"{case.key}: no policy has a template, and one fails")
    found = templated.policy
    rejection = Finding(Reason.INVALID_TEMPLATE, f"Service {case.key.name}: {message}")
    left_out = replace(found, rejection=rejection)
    rest = tuple(policy for policy in governing if policy is not found)
    plan = _plan_wanted(case, rest, (*refused, left_out))
    name = found.policy.key.name
    entry = plan.entries.get(name) or Entry(case.key.name, ServiceState.FAILED, rejection.reason, message)
    return replace(plan, entries={**plan.entries, name: replace(entry, rejection=rejection)})


def _claimed_by_others(
    snapshot: Snapshot, service: Service, observed: VirtualService | None, policies: Sequence[ResolvedPolicy]
) -> ServicePlan | None:
    """Return the plan for a Service whose VirtualService, name or host somebody else has; None where nobody has."""
    key = service.key
    if observed is not None and observed.released:
        return released(key, observed, policies)
    conflict = name_conflict(key, observed)
    if conflict is not None:
        return everywhere(key, policies, ServiceState.FAILED, conflict)
    # Whose VirtualService stays as it is has a say too, or a typo would hand the Service over.
    blocks = resolve_blocks(in_precedence(policy for policy in policies if policy.policy.spec is not None))
    kept = observed if any(policy.freezes for policy in policies) else None
    taken = None if blocks.keeps else host_taken(snapshot, key, who_sees_ours(key, blocks, kept))
    return skipped(key, observed, policies, taken) if taken is not None else None


def _plan_routing(case: Case, service: Service, governing: tuple[ResolvedPolicy, ...]) -> ServicePlan:
    snapshot, key, observed, blocks = case.snapshot, case.key, case.observed, resolve_blocks(governing)
    choices = choose_copies(snapshot, service, governing)
    placement = Placement(case, service, blocks)
    placement.place(governing, choices)
    contest = contend(service, governing, choices, placement.places, blocks)
    placeholders = tuple(item for item in placement.wanted.values() if item.key not in placement.delayed)
    domain = snapshot.settings.cluster_domain
    sections = write_rules(service, governing, contest, blocks, domain)
    if blocks.only_routed and not (contest.leads_elsewhere() or sections.unknown or placement.remembered):
        plan = skipped(key, observed, governing, _NOTHING_TO_ROUTE)
        return replace(plan, placeholders=placeholders, due=placement.due)
    rival = find_rival(snapshot, key, observed, blocks)
    if rival is not None and rival.is_first and observed is None:
        return everywhere(key, governing, ServiceState.FAILED, host_conflict(rival, snapshot, key))
    led = (*contest.developers.values(), *contest.placed.values())
    developers = sorted({name for found in led for name in found} | {name for name, _ in placement.remembered})
    scene = Scene(service, governing, choices, placement.places, sections, blocks, domain)
    draft = make_draft(scene, case.renders)
    contributing = [policy.policy for policy in governing]
    deleted = {place for _, place in placement.remembered} - contest.reached()
    document = stamp(key, draft.spec, contributing, developers, _with_deleted_copies(draft.metadata, deleted))
    change = _change_for(document, observed)
    # What a template made is looked at where it stands already too: a namespace may have refused since.
    findings = _check(draft, document, scene) if change is not None or draft.parts else ()
    if findings:
        return _not_allowed(case, scene, developers, deleted, findings[0])
    entries = {policy.policy.key.name: _entry(key, policy, contest, placement) for policy in governing}
    if rival is not None:
        finding = host_conflict(rival, snapshot, key)
        entries = {name: _beside_rival(entry, finding, outranked=rival.is_first) for name, entry in entries.items()}
    changes = (change,) if change is not None else ()
    source = blocks.templated.policy.policy.key if blocks.templated is not None else None
    return ServicePlan(key, changes, entries, document, placeholders, placement.due, templated=source)


def _with_deleted_copies(metadata: Mapping[str, Any], namespaces: Collection[str]) -> Mapping[str, Any]:
    """Return the metadata that says in which namespaces copies were; where a rule leads, it says so itself."""
    if not namespaces:
        return metadata
    annotations = metadata.get("annotations") or {}
    return {**metadata, "annotations": {**annotations, names.DELETED_COPIES_ANNOTATION: ",".join(sorted(namespaces))}}


def _not_allowed(
    case: Case, scene: Scene, developers: Sequence[str], deleted: Collection[str], finding: Finding
) -> ServicePlan:
    """
    Return the plan where the result is not allowed: what stands stays.

    Safety first: what routes to a namespace that is denied by now, or has withdrawn its consent, is written anew without
    the template; where not even that is allowed, it is deleted.
    """
    key, observed = case.key, case.observed
    plan = everywhere(key, scene.policies, ServiceState.FAILED, finding)
    if observed is None or scene.blocks.templated is None:
        return plan
    draft = own_draft(scene)
    metadata = _with_deleted_copies(draft.metadata, deleted)
    document = stamp(key, draft.spec, [policy.policy for policy in scene.policies], developers, metadata)
    change = _change_for(document, observed)
    is_unsafe = reaches_refused(case.snapshot, observed)
    if is_unsafe and _check(draft, document, scene):
        return replace(plan, changes=tuple(delete(observed, finding.message)))
    if change is not None and not is_unsafe:
        return plan
    said = replace(finding, message=f"written without the template for now: {finding.message}")
    plan = everywhere(key, scene.policies, ServiceState.FAILED, said)
    return replace(plan, changes=(change,) if change is not None else (), wanted=document)


def _check(draft: Draft, document: dict[str, Any], scene: Scene) -> tuple[Finding, ...]:
    """Return why a VirtualService must not be written; what a template made has wider limits and a stricter look."""
    too_large = check_size(document)
    if too_large is not None:
        return (too_large,)
    if draft.parts:
        return check_draft(draft, scene)
    reached = {namespace for policy in scene.policies for namespace in policy.namespaces}
    return check_virtual_service(document, scene.service.key, scene.domain, reached)


def _change_for(document: dict[str, Any], observed: VirtualService | None) -> Change | None:
    target = Key(document["metadata"]["namespace"], document["metadata"]["name"])
    wanted = digest(document["spec"])
    if observed is None:
        return Change(Action.CREATE, target, "a policy governs the Service", document, None, wanted)
    difference = differs(document, wanted, observed)
    if difference is None:
        return None
    return Change(Action.UPDATE, target, difference, document, observed, wanted)


_NOTHING_TO_ROUTE: Final = Finding(
    Reason.NOTHING_TO_ROUTE, "no developer has a copy, and virtualServiceFor is RoutedServices"
)


# ---- foreign VirtualServices


def _beside_rival(entry: Entry, finding: Finding, *, outranked: bool) -> Entry:
    if outranked:
        return replace(entry, state=ServiceState.FAILED, reason=finding.reason, message=finding.message)
    return entry if entry.message else replace(entry, message=finding.message)


# ---- entries


def _entry(key: Key, policy: ResolvedPolicy, contest: Contest, placement: Placement) -> Entry:
    """Return how a routed Service stands for one of its policies."""
    name = policy.policy.key.name
    routed = contest.developers[name]
    developers = tuple(sorted({*routed, *contest.placed[name], *contest.rejected[name]}))
    refused = (finding for (by, _), finding in placement.findings.items() if by == name)
    findings = (*contest.findings[name], *refused)
    lost = tuple(item for item in contest.overrides if item.loser.policy.key == policy.policy.key)
    ties = tuple(
        dict.fromkeys(
            f"{key.name}: {item.where}, not by {item.loser.policy.key.name}: {item.how.partition(' wins ')[2]}"
            for item in contest.overrides
            if item.is_tie and policy.policy.key in (item.loser.policy.key, item.winner.policy.policy.key)
        )
    )
    if lost:
        state = ServiceState.PARTIALLY_PROGRAMMED if developers else ServiceState.OVERRIDDEN
        reason, messages = Reason.ROUTE_OVERRIDDEN, [item.how for item in lost]
    elif findings:
        state = ServiceState.PARTIALLY_PROGRAMMED
        reason, messages = findings[0].reason, [finding.message for finding in findings]
    else:
        state, reason, messages = ServiceState.PROGRAMMED, Reason.PROGRAMMED, []
    return Entry(
        key.name,
        state,
        reason,
        "; ".join(dict.fromkeys(messages)),
        names.virtual_service_name(key.name),
        developers,
        routes=len(routed),
        placeholders=sum(by == name for by, _ in placement.places),
        overrides=lost,
        ties=ties,
        findings=findings,
    )
