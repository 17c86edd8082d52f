"""Short ways to say what a cluster holds: values as the planner sees them, decoded from the JSON the API server gives."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from virtualservice_operator.api import names
from virtualservice_operator.api.v1alpha1 import RoutingPolicySpec
from virtualservice_operator.core.changes import Action, Change, Entry, PlaceholderChange, ServicePlan
from virtualservice_operator.core.objects import ClusterObject, Key, Namespace, Policy, Service, VirtualService
from virtualservice_operator.core.plan import plan_service
from virtualservice_operator.core.resolution import PlanSettings, ResolvedPolicy
from virtualservice_operator.core.snapshot import Snapshot
from virtualservice_operator.core.template import Render, Result
from virtualservice_operator.kube.decode import DECODERS, decode_virtual_service
from virtualservice_operator.templates.renderer import Renderer

SETTINGS: Final = PlanSettings()
KINDS: Final[Mapping[str, type[ClusterObject]]] = {
    "Namespace": Namespace,
    "RoutingPolicy": Policy,
    "Service": Service,
    "VirtualService": VirtualService,
}
CREATED: Final = "2026-01-01T00:00:00Z"


def key(place: str) -> Key:
    """Return the key for namespace/name."""
    namespace, _, name = place.partition("/")
    return Key(namespace, name)


def stored(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document with what the API server adds, where it is absent: the same each time."""
    metadata = document["metadata"]
    place = "-".join(part for part in (metadata.get("namespace"), metadata["name"]) if part)
    added: dict[str, Any] = {"uid": f"uid-of-{place}", "resourceVersion": "1", "creationTimestamp": CREATED}
    if document["kind"] == "RoutingPolicy":
        added["generation"] = 1
    return {**document, "metadata": {**added, **metadata}}


def decode(document: Mapping[str, Any]) -> ClusterObject:
    """Return the value that the planner sees for a document; it need not say what the API server adds."""
    return DECODERS[KINDS[document["kind"]]](stored(document))


# ---- objects


def service(
    place: str,
    /,
    *,
    ports: Sequence[Mapping[str, Any]] | None = None,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    spec: Mapping[str, Any] | None = None,
    **named: int,
) -> Service:
    """Return a Service: `http=80, grpc=9090` are named ports; without any it has the port http 80."""
    if ports is None:
        ports = [{"name": name, "port": number} for name, number in (named or {"http": 80}).items()]
    found = decode(_document("Service", place, labels, annotations, spec={"ports": list(ports), **(spec or {})}))
    assert isinstance(found, Service)
    return found


def copy_of(original: str, place: str, /, **named: int) -> Service:
    """Return a Service that is annotated as the copy of another."""
    return service(place, annotations={names.COPY_OF_ANNOTATION: original}, **named)


def namespace(
    name: str,
    /,
    *,
    developer: str | None = None,
    labels: Mapping[str, str] | None = None,
    allows: str | None = None,
    terminating: bool = False,
) -> Namespace:
    """Return a Namespace; `developer` is the value of our label, `allows` of the annotation of consent."""
    owned = {} if developer is None else {names.DEVELOPER_LABEL: developer}
    deleted = {"deletionTimestamp": CREATED} if terminating else {}
    consent = {} if allows is None else {"annotations": {names.CONSENT_ANNOTATION: allows}}
    metadata = {"name": name, "labels": {**owned, **(labels or {})}, **consent, **deleted}
    found = decode({"kind": "Namespace", "metadata": metadata})
    assert isinstance(found, Namespace)
    return found


def namespaces(*listed: str) -> tuple[Namespace, ...]:
    """Return Namespaces without labels."""
    return tuple(namespace(name) for name in listed)


def policy(
    place: str,
    spec: Mapping[str, Any] | None = None,
    /,
    *,
    status: Mapping[str, Any] | None = None,
    **metadata: Any,
) -> Policy:
    """Return a RoutingPolicy; its spec is written as in YAML."""
    document = _document("RoutingPolicy", place, None, None, spec=dict(spec or {}))
    found = decode({**document, "metadata": {**document["metadata"], **metadata}, "status": dict(status or {})})
    assert isinstance(found, Policy)
    return found


def developers(*listed: str, **with_namespaces: Sequence[str]) -> list[dict[str, Any]]:
    """Return `spec.developers`: names, then names with their namespaces."""
    return [
        *({"name": name} for name in listed),
        *({"name": name, "namespaces": list(found)} for name, found in with_namespaces.items()),
    ]


def virtual_service(
    place: str,
    /,
    *hosts: str,
    spec: Mapping[str, Any] | None = None,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    **metadata: Any,
) -> VirtualService:
    """Return a VirtualService, foreign unless its labels say otherwise."""
    document = _document("VirtualService", place, labels, annotations, spec={"hosts": list(hosts), **(spec or {})})
    found = decode({**document, "metadata": {**document["metadata"], **metadata}})
    assert isinstance(found, VirtualService)
    return found


def managed(
    place: str,
    /,
    *,
    policies: str = "defaults",
    leads_to: Iterable[str] = (),
    annotations: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    **metadata: Any,
) -> VirtualService:
    """Return a VirtualService with our mark, whose routes lead to these namespaces: not what would be wanted now."""
    host = key(place).name.removesuffix(names.VIRTUAL_SERVICE_SUFFIX)
    rules = [{"route": [{"destination": {"host": f"{host}.{other}.svc.cluster.local"}}]} for other in leads_to]
    return virtual_service(
        place,
        f"{host}.{key(place).namespace}.svc.cluster.local",
        spec={"http": rules},
        labels={names.MANAGED_BY_LABEL: names.OPERATOR, names.SERVICE_LABEL: host, **(labels or {})},
        annotations={names.POLICIES_ANNOTATION: policies, **(annotations or {})},
        **metadata,
    )


def _document(
    kind: str, place: str, labels: Mapping[str, str] | None, annotations: Mapping[str, str] | None, *, spec: Any
) -> dict[str, Any]:
    where = key(place)
    metadata: dict[str, Any] = {"name": where.name, "namespace": where.namespace}
    if labels is not None:
        metadata["labels"] = dict(labels)
    if annotations is not None:
        metadata["annotations"] = dict(annotations)
    return {"kind": kind, "metadata": metadata, "spec": spec}


# ---- decisions


def snapshot(*objects: ClusterObject, settings: PlanSettings = SETTINGS) -> Snapshot:
    """Return a cluster of these objects."""
    return Snapshot(settings, objects)


def spec_of(found: Policy) -> RoutingPolicySpec:
    """Return the spec of a policy that has one."""
    assert found.spec is not None
    return found.spec


def resolved(cluster: Snapshot, place: str = "shop/defaults") -> ResolvedPolicy:
    """Return a policy of a cluster as it is resolved."""
    found = cluster.policy(key(place))
    assert found is not None
    return found


def plan(cluster: Snapshot, place: str = "shop/reviews") -> ServicePlan:
    """Return the plan for one Service."""
    return plan_service(cluster, key(place))


def entry(cluster: Snapshot, place: str = "shop/reviews", policy_name: str = "defaults") -> Entry:
    """Return how a Service stands for a policy."""
    return plan(cluster, place).entries[policy_name]


def change(cluster: Snapshot, place: str = "shop/reviews") -> Change:
    """Return the only change that is planned for one Service."""
    (only,) = plan(cluster, place).changes
    return only


def written(cluster: Snapshot, place: str = "shop/reviews") -> dict[str, Any]:
    """Return the VirtualService that is written for one Service."""
    document = change(cluster, place).document
    assert document is not None
    return document


def rules(cluster: Snapshot, place: str = "shop/reviews") -> list[dict[str, Any]]:
    """Return the http rules that are written for one Service."""
    found: list[dict[str, Any]] = written(cluster, place)["spec"]["http"]
    return found


def routes(cluster: Snapshot, place: str = "shop/reviews") -> list[str]:
    """Return the http rules in short: name -> host, with the port where one is written."""
    return [f"{rule['name']} -> {_destination(rule)}" for rule in rules(cluster, place)]


def as_stored(document: Mapping[str, Any], **metadata: Any) -> VirtualService:
    """Return the VirtualService that the planner sees after a document was written."""
    return decode_virtual_service(stored({**document, "metadata": {**document["metadata"], **metadata}}))


def entries_of(found: Entry) -> tuple[Any, ...]:
    """Return all that an entry says, in values that can be compared."""
    return (
        *(found.state, found.reason, found.message, found.virtual_service, found.developers, found.routes, found.ties),
        *(found.findings, tuple((item.how, item.where) for item in found.overrides)),
    )


def carry_out(cluster: Snapshot, found: ServicePlan) -> None:
    """Enter what the API server would store after a plan was carried out."""
    for item in found.changes:
        after = outcome(item)
        if after is not None:
            cluster.put(after)
        else:
            cluster.remove(Service if isinstance(item, PlaceholderChange) else VirtualService, item.target)


def outcome(item: Change | PlaceholderChange) -> VirtualService | Service | None:
    """Return what the API server has after a change; None where nothing is left."""
    if item.document is not None:
        found = decode(item.document)
        assert isinstance(found, VirtualService | Service)
        return found
    if item.action is not Action.RELEASE or item.observed is None:
        return None
    if isinstance(item, PlaceholderChange):
        return replace(item.observed, placeholder=False, placed=None, external_name=False)
    return replace(item.observed, marked=False, service_label=None, owners=frozenset(), destinations=frozenset())


def render_all(renderer: Renderer, needs: Sequence[Render]) -> dict[Render, Result]:
    """Return what each rendering comes to, turn after turn. One that is absent could not be tried: there is no worker."""
    found: dict[Render, Result | None] = {}
    while left := [render for render in dict.fromkeys(needs) if render not in found]:
        found |= renderer.render_some(left)
    return {render: result for render, result in found.items() if result is not None}


def _destination(rule: Mapping[str, Any]) -> str:
    (only,) = rule["route"]
    host = only["destination"]["host"].removesuffix(".svc.cluster.local")
    port = only["destination"].get("port")
    return host if port is None else f"{host}:{port['number']}"
