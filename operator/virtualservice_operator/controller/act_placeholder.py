"""
One change of a placeholder carried out. Never by an apply: it would merge into a user's Service (docs/adr/0009).

Letting go asks the API server for the Service as it is: what the user has written stays, whatever that is by now.
"""

from collections.abc import Mapping
from typing import Any

from virtualservice_operator.api import names
from virtualservice_operator.controller.store import Store
from virtualservice_operator.core.changes import Action, PlaceholderChange, document_of
from virtualservice_operator.core.objects import Service
from virtualservice_operator.kube.client import KubeClient, others_fields, pointer
from virtualservice_operator.kube.decode import decode_service

Patch = list[dict[str, Any]]


async def carry_out_placeholder(client: KubeClient, store: Store, change: PlaceholderChange) -> None:
    """Carry out one change; every answer enters the store."""
    match change.action:
        case Action.CREATE:
            store.put_answer(decode_service(await client.create_placeholder(document_of(change))))
        case Action.UPDATE:
            version = str(_observed(change).version)
            patch = _adjusting(document_of(change))
            answer = await client.patch_placeholder(change.target, version, patch)
            store.put_answer(decode_service(answer))
        case Action.RELEASE:
            await _release(client, store, change)
        case Action.DELETE:
            observed = _observed(change)
            if observed.placed is not None:
                await client.delete_placeholder(change.target, observed.placed.uid, observed.version)
                store.forget_placeholder(observed)


async def _release(client: KubeClient, store: Store, change: PlaceholderChange) -> None:
    """
    Make it whoever's it is by now: first what it is, then our marks, with what our field manager owns.

    So every write of ours is of something that bears our mark, which an admission policy can insist on.
    """
    stored = await client.get_service(change.target)
    placed = decode_service(stored).placed
    if placed is not None and placed.taken_over:
        for patch_of in (_becoming_a_cluster_ip, _letting_go):
            patch = patch_of(stored)
            if patch:
                stored = await client.patch_service(change.target, stored["metadata"]["resourceVersion"], patch)
    store.put_answer(decode_service(stored))


def _adjusting(document: Mapping[str, Any]) -> Patch:
    """Return what makes a placeholder of the same type as it is wanted."""
    policies = document["metadata"]["annotations"][names.POLICIES_ANNOTATION]
    spec = document["spec"]
    field = "externalName" if "externalName" in spec else "ports"
    return [
        {"op": "replace", "path": f"/metadata/annotations/{pointer(names.POLICIES_ANNOTATION)}", "value": policies},
        {"op": "replace", "path": f"/spec/{field}", "value": spec[field]},
    ]


def _becoming_a_cluster_ip(stored: Mapping[str, Any]) -> Patch:
    """Return nothing, or what mends an ExternalName with ports: it is left of a `kubectl apply` without a type."""
    spec = stored["spec"]
    if spec.get("type") != "ExternalName" or not spec.get("ports") or _is_type_theirs(stored["metadata"]):
        return []
    return [
        {"op": "replace", "path": "/spec/type", "value": "ClusterIP"},
        {"op": "remove", "path": "/spec/externalName"},
    ]


def _letting_go(stored: Mapping[str, Any]) -> Patch:
    """Return what takes our marks off, and our field manager out."""
    metadata = stored["metadata"]
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    marks = [("labels", names.MANAGED_BY_LABEL)] if labels.get(names.MANAGED_BY_LABEL) == names.OPERATOR else []
    ours = (names.PLACEHOLDER_ANNOTATION, names.SOURCE_ANNOTATION, names.POLICIES_ANNOTATION)
    marks += [("annotations", name) for name in ours if name in annotations]
    return [
        *({"op": "remove", "path": f"/metadata/{kind}/{pointer(name)}"} for kind, name in marks),
        {"op": "replace", "path": "/metadata/managedFields", "value": others_fields(metadata)},
    ]


def _is_type_theirs(metadata: Mapping[str, Any]) -> bool:
    """Tell whether somebody else has written the type, so that it is what they want."""
    return any("f:type" in entry.get("fieldsV1", {}).get("f:spec", {}) for entry in others_fields(metadata))


def _observed(change: PlaceholderChange) -> Service:
    if change.observed is None:
        raise ValueError(f"{change.action} of {change.target} starts from nothing observed")
    return change.observed
