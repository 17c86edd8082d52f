"""Which keys an object touches: the Services whose plan may change with it. Asked before and after each change."""

from collections.abc import Iterator

from virtualservice_operator.core.objects import ClusterObject, Key, Namespace, Policy, Service, VirtualService
from virtualservice_operator.core.ownership import assigned_key, claimed_keys
from virtualservice_operator.core.resolution import depends_on_namespace
from virtualservice_operator.core.selection import governs
from virtualservice_operator.core.snapshot import Snapshot


def matters(before: ClusterObject | None, after: ClusterObject | None) -> bool:
    """Tell whether a change can change any plan; our own status writes, for example, come back as events."""
    if isinstance(before, Policy) and isinstance(after, Policy):
        return (before.uid, before.generation, before.departing) != (after.uid, after.generation, after.departing)
    return _without_version(before) != _without_version(after)


def touched_keys(snapshot: Snapshot, item: ClusterObject) -> frozenset[Key]:
    """Return the keys that an object touches as the snapshot stands; call it before and after a change."""
    match item:
        case Service():
            return frozenset(_by_service(snapshot, item))
        case Namespace():
            return frozenset(_by_namespace(snapshot, item))
        case Policy():
            return frozenset(_by_policy(snapshot, item))
        case VirtualService():
            return frozenset({assigned_key(item), *claimed_keys(item, snapshot.settings.cluster_domain)})


def _without_version(item: ClusterObject | None) -> object:
    if isinstance(item, VirtualService):
        return item  # its version is a precondition of our next write
    return None if item is None else tuple(getattr(item, name) for name in item.__slots__ if name != "version")


def _by_service(snapshot: Snapshot, service: Service) -> Iterator[Key]:
    """
    Yield its own key, the keys it may be a copy for, and those that compete with one of them for a copy.

    A namesake in another policy namespace makes a copy ambiguous where both reach the copy's namespace, until an
    annotated copy, whatever its name, is there for one of them.
    """
    namespace, name = service.key
    yield service.key
    if service.placed is not None:
        yield service.placed.source
    for other in snapshot.policy_namespaces_reaching(namespace) | snapshot.rival_namespaces(namespace):
        yield Key(other, name)
    if service.copy_of is not None:
        target_namespace, _, target_name = service.copy_of.partition("/")
        yield Key(target_namespace, target_name)
        for other in snapshot.policy_namespaces_reaching(namespace):
            yield Key(other, target_name)


def _by_namespace(snapshot: Snapshot, item: Namespace) -> Iterator[Key]:
    """
    Yield the keys of the Services in a namespace, and in the other namespaces of its developers.

    A developer's first namespace may stand in a match's value, so its coming or going moves their other copies too.
    Where a policy says what happens to missing copies, a developer who comes or goes moves every Service.
    """
    touched = {item.key.name}
    for policy in snapshot.all_policies():
        if depends_on_namespace(policy.policy, (item,)) and snapshot.decides_missing(policy.policy.key.namespace):
            yield from _by_policy(snapshot, policy.policy)
        for developer in policy.developers if item.key.name in policy.namespaces else ():
            if item.key.name in developer.namespaces:
                touched.update(developer.namespaces)
    for virtual_service in snapshot.all_virtual_services():
        if item.key.name in virtual_service.destinations:  # frozen ones too, which no policy's developers tell of
            yield assigned_key(virtual_service)
    for namespace in touched:
        for service in snapshot.services_in(namespace):
            yield from _by_service(snapshot, service)


def _by_policy(snapshot: Snapshot, policy: Policy) -> Iterator[Key]:
    namespace, name = policy.key
    rivals = snapshot.rival_namespaces(namespace)
    for service in snapshot.services_in(namespace):
        if policy.spec is not None and governs(policy.spec, service):
            yield service.key
            yield from (Key(rival, service.key.name) for rival in rivals)
    for rival in rivals:
        yield from _without_consent(snapshot, rival)
    for item in snapshot.managed_in(namespace):
        if name in (item.policies or "").split(","):
            yield assigned_key(item)
    for placeholder in snapshot.all_placeholders():
        if placeholder.placed is not None and policy.key in placeholder.placed.policies:
            yield placeholder.placed.source


def _without_consent(snapshot: Snapshot, namespace: str) -> Iterator[Key]:
    """
    Yield the Services of a namespace whose findings may name all that reach a developer's namespace (placeholders).

    Wherever a placeholder is not permitted it is remembered that a copy was deleted, or every Service is to have one.
    """
    blocks = [policy.spec.placeholder for policy in snapshot.accepted(namespace) if policy.spec.placeholder is not None]
    if any(block.create_for == "AllServices" for block in blocks):
        yield from (service.key for service in snapshot.services_in(namespace))
    elif blocks:
        yield from (assigned_key(item) for item in snapshot.managed_in(namespace) if item.deleted_copies)
