"""
One change of a placeholder carried out. Never by an apply: it would merge into a user's Service (docs/adr/0009).

Letting go asks the API server for the Service as it is: what the user has written stays, whatever that is by now.
"""

from collections.abc import Mapping
from typing import Any

from virtualservice_operator.api import names
from virtualservice_operator.controller.store import Store
from virtualservice_operator.core.changes import Action, PlaceholderChange
from virtualservice_operator.core.objects import Service
from virtualservice_operator.kube.client import KubeClient, pointer
from virtualservice_operator.kube.decode import decode_service

Patch = list[dict[str, Any]]


async def carry_out_placeholder(client: KubeClient, store: Store, change: PlaceholderChange) -> None:
    """Carry out one change; every answer enters the store."""
    match change.action:
        case Action.CREATE:
            store.put_answer(decode_service(await client.create_placeholder(_document(change))))
        case Action.UPDATE:
            version = str(_observed(change).version)
            patch = _adjusting(_document(change))
            answer = await client.patch_placeholder(change.target, version, patch, keeps_label=True)
            store.put_answer(decode_service(answer))
        case Action.RELEASE:
            await _release(client, store, change)
        case Action.DELETE:
            observed = _observed(change)
            if observed.placed is not None:
                await client.delete_placeholder(change.target, observed.placed.uid, observed.version)
                store.forget_placeholder(observed)


async def _release(client: KubeClient, store: Store, change: PlaceholderChange) -> None:
    stored = await client.get_service(change.target)
    placed = decode_service(stored).placed
    if placed is not None and placed.taken_over:
        version = stored["metadata"]["resourceVersion"]
        stored = await client.patch_placeholder(change.target, version, _letting_go(stored), keeps_label=False)
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


def _letting_go(stored: Mapping[str, Any]) -> Patch:
    """
    Return what makes a placeholder an ordinary Service of whoever took it over.

    An ExternalName with ports is what is left of a `kubectl apply` without a type: it was meant as a ClusterIP.
    """
    metadata, spec = stored["metadata"], stored["spec"]
    annotations = (names.PLACEHOLDER_ANNOTATION, names.SOURCE_ANNOTATION, names.POLICIES_ANNOTATION)
    patch = [
        {"op": "remove", "path": f"/metadata/{kind}/{pointer(name)}"}
        for kind, listed in (("labels", (names.MANAGED_BY_LABEL,)), ("annotations", annotations))
        for name in listed
        if name in (metadata.get(kind) or {}) and (kind != "labels" or metadata[kind][name] == names.OPERATOR)
    ]
    if spec.get("type") == "ExternalName" and spec.get("ports") and not _is_type_theirs(metadata):
        patch.append({"op": "replace", "path": "/spec/type", "value": "ClusterIP"})
        patch.append({"op": "remove", "path": "/spec/externalName"})
    return patch


def _is_type_theirs(metadata: Mapping[str, Any]) -> bool:
    """Tell whether somebody else has written the type, so that it is what they want."""
    return any(
        "f:type" in entry.get("fieldsV1", {}).get("f:spec", {})
        for entry in metadata.get("managedFields") or ()
        if entry["manager"] != names.FIELD_MANAGER
    )


def _document(change: PlaceholderChange) -> dict[str, Any]:
    if change.document is None:
        raise ValueError(f"{change.action} of {change.target} has no document")
    return change.document


def _observed(change: PlaceholderChange) -> Service:
    if change.observed is None:
        raise ValueError(f"{change.action} of {change.target} starts from nothing observed")
    return change.observed
