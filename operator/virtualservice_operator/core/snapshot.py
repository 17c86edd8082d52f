"""
The cluster for one decision, with the indices a decision asks.

Planning never awaits, so between two events a Snapshot stands still: it is a frozen view without the cost of a copy
(copying 10,000 Services for each of 10,000 decisions would be quadratic). Only `put` and `remove` change it, and only
the store calls them; the planner reads.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from virtualservice_operator.api import names
from virtualservice_operator.core.objects import ClusterObject, Key, Namespace, Policy, Service, VirtualService
from virtualservice_operator.core.ownership import assigned_key, claimed_keys
from virtualservice_operator.core.resolution import (
    PlanSettings,
    ResolvedPolicy,
    Verdict,
    depends_on_namespace,
    resolve_policy,
)
from virtualservice_operator.core.template import Metered

_Outer = TypeVar("_Outer")
_Inner = TypeVar("_Inner")
_Item = TypeVar("_Item")


class Snapshot:
    """Services, Namespaces, RoutingPolicies and VirtualServices by key, and what follows from them."""

    def __init__(self, settings: PlanSettings, objects: Iterable[ClusterObject] = ()) -> None:
        self.settings = settings
        self._services: dict[str, dict[str, Service]] = defaultdict(dict)
        self._namespaces: dict[str, Namespace] = {}
        self._policies: dict[str, dict[str, Policy]] = defaultdict(dict)
        self._virtual_services: dict[str, dict[str, VirtualService]] = defaultdict(dict)
        self._gone: dict[Key, float] = {}
        self._placeholders: dict[Key, dict[Key, Service]] = defaultdict(dict)
        self._copies_of: dict[str, dict[Key, Service]] = defaultdict(dict)
        self._assigned: dict[Key, dict[Key, VirtualService]] = defaultdict(dict)
        self._claims: dict[Key, dict[Key, VirtualService]] = defaultdict(dict)
        self._resolved: dict[Key, ResolvedPolicy] = {}
        self._verdicts: dict[Key, Verdict] = {}
        self._reaching: dict[str, frozenset[str]] | None = None
        self._rivals: dict[str, frozenset[str]] = {}
        for item in objects:
            self.put(item)

    # ---- reading

    def service(self, key: Key) -> Service | None:
        """Return a Service, if there is one."""
        return self._services.get(key.namespace, {}).get(key.name)

    def services_in(self, namespace: str) -> tuple[Service, ...]:
        """Return the Services of a namespace."""
        return tuple(self._services.get(namespace, {}).values())

    def namespace(self, name: str) -> Namespace | None:
        """Return a Namespace, if there is one."""
        return self._namespaces.get(name)

    def annotated_copies(self, key: Key) -> tuple[Service, ...]:
        """Return the Services, anywhere, whose `copy-of` annotation names this one."""
        return tuple(self._copies_of.get(str(key), {}).values())

    def placeholders(self, key: Key) -> tuple[Service, ...]:
        """Return the placeholders of ours, anywhere, that stand for this Service."""
        return tuple(item for _, item in sorted(self._placeholders.get(key, {}).items()))

    def gone_since(self, key: Key) -> float | None:
        """Return when a Service was deleted, in seconds since 1970; None where that is long ago, or it never was there."""
        return self._gone.get(key)

    def all_placeholders(self) -> Iterator[Service]:
        """Yield every placeholder of ours."""
        for items in self._placeholders.values():
            yield from items.values()

    def virtual_service(self, key: Key) -> VirtualService | None:
        """Return a VirtualService, if there is one."""
        return self._virtual_services.get(key.namespace, {}).get(key.name)

    def assigned(self, key: Key) -> tuple[VirtualService, ...]:
        """Return the VirtualServices with our mark that belong to a Service's key, orphans included."""
        found = self._assigned.get(key, {}).values()
        return tuple(sorted((item for item in found if item.marked), key=lambda item: item.key))

    def claims(self, key: Key) -> tuple[VirtualService, ...]:
        """Return the VirtualServices without our mark that claim a Service's host on the mesh, by Istio's rank."""
        return tuple(sorted(self._claims.get(key, {}).values(), key=lambda item: item.rank))

    def policies(self, namespace: str) -> tuple[ResolvedPolicy, ...]:
        """Return the policies of a namespace, accepted or not, by name."""
        return tuple(self._resolve(policy) for _, policy in sorted(self._policies.get(namespace, {}).items()))

    def policy(self, key: Key) -> ResolvedPolicy | None:
        """Return one policy, if there is one."""
        policy = self._policies.get(key.namespace, {}).get(key.name)
        return self._resolve(policy) if policy is not None else None

    def accepted(self, namespace: str) -> tuple[ResolvedPolicy, ...]:
        """Return the accepted policies of a namespace, by name."""
        return tuple(policy for policy in self.policies(namespace) if policy.rejection is None)

    def decides_missing(self, namespace: str) -> bool:
        """Tell whether some policy of a namespace says what happens where there is no copy; a template may."""
        specs = (policy.spec for policy in self.accepted(namespace))
        return any(block is not None for spec in specs for block in (spec.copies, spec.placeholder, spec.template))

    def policy_namespaces_reaching(self, namespace: str) -> frozenset[str]:
        """Return the namespaces whose accepted policies reach a developer's namespace."""
        if self._reaching is None:
            reaching: dict[str, set[str]] = defaultdict(set)
            for policy in self.all_policies():
                for reached in policy.namespaces:
                    reaching[reached].add(policy.policy.key.namespace)
            self._reaching = {name: frozenset(found) for name, found in reaching.items()}
        return self._reaching.get(namespace, frozenset())

    def rival_namespaces(self, namespace: str) -> frozenset[str]:
        """Return the other policy namespaces that reach a developer's namespace which this one reaches too."""
        if namespace not in self._rivals:
            reached = {name for policy in self.accepted(namespace) for name in policy.namespaces}
            found = {other for name in reached for other in self.policy_namespaces_reaching(name)}
            self._rivals[namespace] = frozenset(found - {namespace})
        return self._rivals[namespace]

    def managed_in(self, namespace: str) -> tuple[VirtualService, ...]:
        """Return the VirtualServices of a namespace that carry our mark."""
        return tuple(item for item in self._virtual_services.get(namespace, {}).values() if item.marked)

    def all_policies(self) -> Iterator[ResolvedPolicy]:
        """Yield every policy."""
        for policies in self._policies.values():
            for policy in policies.values():
                yield self._resolve(policy)

    def all_of(self, kind: type[ClusterObject]) -> Iterator[ClusterObject]:
        """Yield every object of a kind."""
        if kind is Namespace:
            yield from self._namespaces.values()
            return
        by_namespace = {Service: self._services, Policy: self._policies, VirtualService: self._virtual_services}
        for items in by_namespace[kind].values():  # type: ignore[attr-defined]
            yield from items.values()

    def all_virtual_services(self) -> Iterator[VirtualService]:
        """Yield every VirtualService."""
        for items in self._virtual_services.values():
            yield from items.values()

    def _resolve(self, policy: Policy) -> ResolvedPolicy:
        resolved = self._resolved.get(policy.key)
        if resolved is None:
            verdict = self._verdicts.get(policy.key)
            resolved = self._resolved[policy.key] = resolve_policy(policy, self._namespaces, self.settings, verdict)
        return resolved

    # ---- changing (the store only)

    def put(self, item: ClusterObject) -> ClusterObject | None:
        """Enter an object in place of the one of the same kind and key, and return that one."""
        before = self.remove(type(item), item.key)
        match item:
            case Service():
                self._services[item.key.namespace][item.key.name] = item
                self._gone.pop(item.key, None)
                if item.copy_of is not None:
                    self._copies_of[item.copy_of][item.key] = item
                if item.placed is not None:
                    self._placeholders[item.placed.source][item.key] = item
            case Namespace():
                self._namespaces[item.key.name] = item
                self._forget_resolutions(item)
            case Policy():
                self._policies[item.key.namespace][item.key.name] = item
                self._forget_reach()
            case VirtualService():
                self._put_virtual_service(item)
        return before

    def note_gone(self, key: Key, now: float) -> None:
        """Note that a Service was deleted; what was noted longer ago than placeholders wait is forgotten."""
        limit = now - self.settings.placeholder_delay
        self._gone = {known: at for known, at in self._gone.items() if at > limit}
        self._gone[key] = now

    def put_verdict(self, policy: Key, verdict: Verdict | None) -> None:
        """Enter what was found about a policy's template; None where that is to be found anew."""
        self._verdicts = {
            key: known
            for key, known in self._verdicts.items()
            if key != policy and key.name in self._policies.get(key.namespace, {})
        }
        if verdict is not None:
            self._verdicts[policy] = verdict
        self._resolved.pop(policy, None)
        self._forget_reach()

    def remove(self, kind: type[ClusterObject], key: Key) -> ClusterObject | None:
        """Take an object out and return it, if it was there."""
        if kind is Service:
            service = _pop(self._services, key.namespace, key.name)
            if service is not None and service.copy_of is not None:
                _pop(self._copies_of, service.copy_of, key)
            if service is not None and service.placed is not None:
                _pop(self._placeholders, service.placed.source, key)
            return service
        if kind is Namespace:
            namespace = self._namespaces.pop(key.name, None)
            if namespace is not None:
                self._forget_resolutions(namespace)
            return namespace
        if kind is Policy:
            self._resolved.pop(key, None)
            self._forget_reach()
            return _pop(self._policies, key.namespace, key.name)
        found = _pop(self._virtual_services, key.namespace, key.name)
        if found is not None:
            _pop(self._assigned, assigned_key(found), key)
            for claimed in self._claims_of(found):
                _pop(self._claims, claimed, key)
        return found

    def _put_virtual_service(self, item: VirtualService) -> None:
        self._virtual_services[item.key.namespace][item.key.name] = item
        self._assigned[assigned_key(item)][item.key] = item
        for claimed in self._claims_of(item):
            self._claims[claimed][item.key] = item

    def _claims_of(self, item: VirtualService) -> frozenset[Key]:
        return frozenset() if item.marked else claimed_keys(item, self.settings.cluster_domain)

    def _forget_resolutions(self, namespace: Namespace) -> None:
        for policy in [resolved.policy for resolved in self._resolved.values()]:
            if depends_on_namespace(policy, (namespace,)):
                del self._resolved[policy.key]
                self._forget_reach()

    def _forget_reach(self) -> None:
        self._reaching = None
        self._rivals = {}


def _pop(index: dict[_Outer, dict[_Inner, _Item]], outer: _Outer, inner: _Inner) -> _Item | None:
    """Take an item out of an index of indices, and leave nothing of a name that nobody has any more."""
    items = index.get(outer, {})
    found = items.pop(inner, None)
    if not items:
        index.pop(outer, None)
    return found


@dataclass(frozen=True, slots=True)
class Case:
    """
    One Service for which something is decided.

    `service` and `observed`, the VirtualService of the name that is ours, may be missing. `now`: seconds since 1970.
    `renders`: what is known to come of templates.
    """

    snapshot: Snapshot
    key: Key
    service: Service | None
    observed: VirtualService | None
    now: float
    renders: Metered


def virtual_service_key(key: Key) -> Key:
    """Return where the VirtualService of a Service stands."""
    return Key(key.namespace, names.virtual_service_name(key.name))
