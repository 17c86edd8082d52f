"""
What stays as it is: VirtualServices that a policy made which is not accepted by now, or suspended.

The last good state stands in the cluster, and the annotation says whose it is, so a restart loses nothing of this.
"""

from collections.abc import Iterator, Sequence

from virtualservice_operator.api.conditions import Reason
from virtualservice_operator.core.objects import Finding, Key, VirtualService
from virtualservice_operator.core.resolution import ResolvedPolicy, permits
from virtualservice_operator.core.snapshot import Snapshot


def named_policies(snapshot: Snapshot, observed: VirtualService | None) -> Iterator[ResolvedPolicy]:
    """Yield the existing policies that contributed to a VirtualService of ours, by its annotation."""
    if observed is None or not observed.marked:
        return
    for name in (observed.policies or "").split(","):
        policy = snapshot.policy(Key(observed.key.namespace, name))
        if policy is not None:
            yield policy


def find_freezers(
    snapshot: Snapshot, observed: VirtualService | None, refused: Sequence[ResolvedPolicy]
) -> tuple[ResolvedPolicy, ...]:
    """
    Return the policies that contributed to what stands in the cluster and are not accepted by now, or suspended.

    The last good state stays.

    Safety first: what routes to a namespace that is denied by now, or has withdrawn its consent, is planned anew
    without them.
    """
    if observed is None or reaches_refused(snapshot, observed):
        return ()
    instead = {policy.policy.key: policy for policy in refused}
    named = (instead.get(policy.policy.key, policy) for policy in named_policies(snapshot, observed))
    return tuple(policy for policy in named if policy.freezes)


def reaches_refused(snapshot: Snapshot, observed: VirtualService) -> bool:
    """Tell whether a VirtualService sends requests to a namespace that is denied by now, or has withdrawn its consent."""
    return not all(_may_stay(snapshot, observed, name) for name in observed.destinations)


def _may_stay(snapshot: Snapshot, observed: VirtualService, destination: str) -> bool:
    """Tell whether a route to a namespace may stay as it is; one to a namespace that is gone harms nobody."""
    own = observed.key.namespace
    if destination == own or snapshot.settings.is_denied(destination):
        return destination == own
    namespace = snapshot.namespace(destination)
    return namespace is None or permits(namespace, own, snapshot.settings)


def frozen_by(freezers: Sequence[ResolvedPolicy]) -> Finding:
    """Return the finding; a policy that is not accepted is named before a suspended one: it has to be mended."""
    rejected = [policy.policy.key.name for policy in freezers if policy.rejection is not None]
    if rejected:
        remedy = f"policy {', '.join(rejected)} is accepted again (mend or delete it)"
        return Finding(Reason.POLICY_NOT_ACCEPTED, f"stays as it is until {remedy}")
    listed = ", ".join(policy.policy.key.name for policy in freezers)
    remedy = f"policy {listed} is in force again (set its mode to Enforce, or delete it)"
    return Finding(Reason.POLICY_SUSPENDED, f"stays as it is until {remedy}")
