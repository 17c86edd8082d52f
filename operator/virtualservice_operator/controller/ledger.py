"""
What is known of each policy between two status writes: the entries of its Services, and which are still to come.

The reconciler records, the status writer reads; both in one event loop.
"""

from collections.abc import Mapping

from virtualservice_operator.core.objects import Key
from virtualservice_operator.core.plan import Entry, ServicePlan
from virtualservice_operator.core.report import Standing
from virtualservice_operator.core.resolution import ResolvedPolicy
from virtualservice_operator.core.selection import governs
from virtualservice_operator.core.snapshot import Snapshot

# The policy's uid and generation that an entry was made for.
Edition = tuple[str, int]


class Ledger:
    """Entries by policy. `record` says which policies got news."""

    def __init__(self) -> None:
        self._accounts: dict[Key, dict[str, tuple[Entry, Edition]]] = {}

    def record(self, snapshot: Snapshot, plan: ServicePlan, entries: Mapping[str, Entry]) -> set[Key]:
        """Enter what one Service's plan came to, and return the policies whose status may change by it."""
        news = set()
        for resolved in snapshot.policies(plan.key.namespace):
            policy = resolved.policy
            account = self._accounts.setdefault(policy.key, {})
            entry = entries.get(policy.key.name)
            before = account.get(plan.key.name)
            if entry is not None:
                account[plan.key.name] = (entry, (policy.uid, policy.generation))
            elif before is not None:
                del account[plan.key.name]
            if account.get(plan.key.name) != before:
                news.add(policy.key)
        return news

    def forget(self, policy: Key) -> None:
        """Drop a policy that is gone."""
        self._accounts.pop(policy, None)

    def standing(self, snapshot: Snapshot, resolved: ResolvedPolicy, observed_generation: int | None) -> Standing:
        """Return what a policy's status is made from."""
        policy = resolved.policy
        account = self._accounts.setdefault(policy.key, {})
        current = (policy.uid, policy.generation)
        governed = _governed(snapshot, resolved)
        frozen = {name for name, (entry, _) in account.items() if name not in governed}
        # A policy that is not accepted, or suspended, governs nothing, but what it contributed to is frozen.
        kept = governed | frozen if resolved.freezes else governed
        entries = {name: entry for name, (entry, _) in account.items() if name in kept}
        pending = {name for name in governed if name not in entries or account[name][1] != current}
        return Standing(resolved, entries, pending, observed_generation)


def _governed(snapshot: Snapshot, resolved: ResolvedPolicy) -> set[str]:
    if resolved.freezes:
        return set()
    services = snapshot.services_in(resolved.policy.key.namespace)
    return {service.key.name for service in services if governs(resolved.spec, service)}
