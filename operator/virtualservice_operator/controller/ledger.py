"""
What is known of each policy between two status writes: the entries of its Services, and which are still to come.

The reconciler records, the status writer reads; both in one event loop.
"""

from collections.abc import Mapping

from virtualservice_operator.core.changes import Entry
from virtualservice_operator.core.objects import Key
from virtualservice_operator.core.ownership import assigned_key
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

    def record(self, key: Key, entries: Mapping[str, Entry], editions: Mapping[Key, Edition]) -> set[Key]:
        """
        Enter what one Service's plan came to, and return the policies whose status may change by it.

        `editions` are those of all policies of the namespace when it was planned: one that was edited while the
        changes were carried out is not done.
        """
        news = set()
        for policy, edition in editions.items():
            account = self._accounts.setdefault(policy, {})
            entry = entries.get(policy.name)
            before = account.get(key.name)
            if entry is not None:
                account[key.name] = (entry, edition)
            elif before is not None:
                del account[key.name]
            if account.get(key.name) != before:
                news.add(policy)
        return news

    def forget_all(self) -> None:
        """Drop everything: it may be out of date."""
        self._accounts.clear()

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
        expected = _contributed(snapshot, policy.key) if resolved.freezes else governed
        pending = {name for name in expected if name not in entries or account[name][1] != current}
        return Standing(resolved, entries, pending, observed_generation)


def editions_of(snapshot: Snapshot, namespace: str) -> dict[Key, Edition]:
    """Return the editions of the policies of a namespace, for `Ledger.record`."""
    found = (resolved.policy for resolved in snapshot.policies(namespace))
    return {policy.key: (policy.uid, policy.generation) for policy in found}


def _contributed(snapshot: Snapshot, policy: Key) -> set[str]:
    """Return the Services whose VirtualServices a policy has contributed to."""
    named = (item for item in snapshot.managed_in(policy.namespace) if policy.name in (item.policies or "").split(","))
    return {assigned_key(item).name for item in named}


def _governed(snapshot: Snapshot, resolved: ResolvedPolicy) -> set[str]:
    if resolved.freezes:
        return set()
    services = snapshot.services_in(resolved.policy.key.namespace)
    return {service.key.name for service in services if governs(resolved.spec, service)}
