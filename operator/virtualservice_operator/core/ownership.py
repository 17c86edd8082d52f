"""Whose a VirtualService is: recognise ours, tell which hosts a foreign one claims, stamp what we write."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from virtualservice_operator.api import names
from virtualservice_operator.core.objects import Key, Policy, VirtualService

_MESH: Final = "mesh"
_canonical: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


def assigned_key(item: VirtualService) -> Key:
    """
    Return the Service a VirtualService belongs to if it is ours: by its name, else by its label, else its own name.

    One that no policy wants under that key is an orphan.
    """
    name = item.key.name
    if name.endswith(names.VIRTUAL_SERVICE_SUFFIX) and name != names.VIRTUAL_SERVICE_SUFFIX:
        return Key(item.key.namespace, name.removesuffix(names.VIRTUAL_SERVICE_SUFFIX))
    return Key(item.key.namespace, item.service_label or name)


def claimed_keys(item: VirtualService, cluster_domain: str) -> frozenset[Key]:
    """
    Return the Services whose hosts a VirtualService claims for requests within the mesh.

    A name without any dot is expanded with the VirtualService's own namespace; `reviews.shop` is not expanded and
    matches nothing; a wildcard never wins over an exact host. Bound to gateways only, it claims nothing here.
    Source: istio/istio:pilot/pkg/model/config.go, ResolveShortnameToFQDN.
    """
    if item.gateways and _MESH not in item.gateways:
        return frozenset()
    suffix = f".svc.{cluster_domain}"
    claimed = set()
    for host in (host.lower() for host in item.hosts):
        if "." not in host:
            claimed.add(Key(item.key.namespace, host))
        elif host.endswith(suffix):
            name, _, namespace = host.removesuffix(suffix).partition(".")
            if name and namespace and "." not in namespace and "*" not in name:
                claimed.add(Key(namespace, name))
    return frozenset(claimed)


def clients(namespace: str, scopes: Sequence[str]) -> frozenset[str] | None:
    """
    Return the namespaces whose clients see what a namespace exports to these scopes; None for all.

    Without scopes the mesh's default holds, which is normally all; `~` is nobody.
    Source: istio/istio:pilot/pkg/model/push_context.go, initVirtualServices.
    """
    if not scopes or "*" in scopes:
        return None
    if "~" in scopes:
        return frozenset()
    return frozenset(namespace if scope == "." else scope for scope in scopes)


def clients_of(item: VirtualService) -> frozenset[str] | None:
    """Return the namespaces whose clients see a VirtualService; None for all."""
    return clients(item.key.namespace, item.export_to)


def share_clients(first: frozenset[str] | None, second: frozenset[str] | None) -> bool:
    """Tell whether some client may see both."""
    if first is None or second is None:
        return bool(first is None or first) and bool(second is None or second)
    return not first.isdisjoint(second)


def outranks(
    rival: VirtualService, namespace: str, seen: frozenset[str] | None, rank: tuple[str, str, str] | None
) -> bool:
    """
    Tell whether Istio takes a rival before ours for some client that sees both.

    For each client, what is private to its namespace goes first, then what is exported there by name, then what is
    public; among equals the older one wins. `seen`: who sees ours. `rank`: None where ours is yet to be written.
    Source: istio/istio:pilot/pkg/model/virtualservice.go, SelectVirtualServices.
    """
    theirs, older = clients_of(rival), rank is None or rival.rank < rank
    if theirs is None and seen is None:
        return older
    if theirs is None or seen is None:
        return seen is None  # what is exported by name goes first
    return any((client != rival.key.namespace, not older) < (client != namespace, older) for client in theirs & seen)


def is_private(item: VirtualService) -> bool:
    """Tell whether only clients of its own namespace see it."""
    seen = clients_of(item)
    return seen is not None and seen <= {item.key.namespace}


_OURS: Final = frozenset(
    {
        f"labels/{names.MANAGED_BY_LABEL}",
        f"labels/{names.SERVICE_LABEL}",
        *(f"annotations/{key}" for key in (names.POLICIES_ANNOTATION, names.DEVELOPERS_ANNOTATION)),
        *(f"annotations/{key}" for key in (names.MANAGED_ANNOTATION, names.ADOPT_ANNOTATION)),
        f"annotations/{names.DELETED_COPIES_ANNOTATION}",
    }
)


def is_extra(place: str) -> bool:
    """Tell whether a label or annotation, by `labels/KEY` or `annotations/KEY`, is not the operator's own."""
    return place not in _OURS


def stamp(
    key: Key,
    spec: dict[str, Any],
    contributing: Sequence[Policy],
    developers: Sequence[str],
    metadata: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """
    Return the whole VirtualService as it is sent: our name, mark, annotations and owners around a spec.

    `metadata`: labels and annotations that a template adds.
    """
    added = metadata or {}
    annotations = {names.POLICIES_ANNOTATION: ",".join(policy.key.name for policy in contributing)}
    if developers:
        annotations[names.DEVELOPERS_ANNOTATION] = ",".join(sorted(developers))
    return {
        "apiVersion": names.ISTIO_API_VERSION,
        "kind": "VirtualService",
        "metadata": {
            "name": names.virtual_service_name(key.name),
            "namespace": key.namespace,
            "labels": {
                **(added.get("labels") or {}),
                names.MANAGED_BY_LABEL: names.OPERATOR,
                names.SERVICE_LABEL: key.name,
            },
            "annotations": {**(added.get("annotations") or {}), **annotations},
            "ownerReferences": [
                {
                    "apiVersion": names.API_VERSION,
                    "kind": names.KIND,
                    "name": policy.key.name,
                    "uid": policy.uid,
                    "controller": False,
                    "blockOwnerDeletion": False,
                }
                for policy in contributing
            ],
        },
        "spec": spec,
    }


def differs(document: Mapping[str, Any], spec_digest: str, observed: VirtualService) -> str | None:
    """
    Return what of an observed VirtualService is not as wanted, for a log line, or None.

    `spec_digest` is that of the document's spec. Labels, annotations and owners that others added are none of our
    business.
    """
    metadata = document["metadata"]
    annotations = metadata["annotations"]
    owners = {(owner["name"], owner["uid"]) for owner in metadata["ownerReferences"]}
    labelled = observed.service_label == metadata["labels"][names.SERVICE_LABEL] and owners <= observed.owners
    differences = (
        (not observed.marked, "adopted: its owner asked for it"),
        (observed.adoptable, "it is adopted, so the annotation that asked for it goes"),
        (observed.spec_digest != spec_digest, "the routes differ"),
        (observed.policies != annotations[names.POLICIES_ANNOTATION], "other policies contribute"),
        (observed.developers != annotations.get(names.DEVELOPERS_ANNOTATION), "other developers are routed"),
        (observed.deleted_copies != annotations.get(names.DELETED_COPIES_ANNOTATION), "other copies are remembered"),
        (not labelled, "our labels or owners were changed"),
    )
    found = next((why for is_different, why in differences if is_different), None)
    return found or _differing_extras(metadata, observed)


def _differing_extras(metadata: Mapping[str, Any], observed: VirtualService) -> str | None:
    """Return whether the labels and annotations of a template are not as wanted; others' are none of our business."""
    wanted = {
        place: value
        for kind in ("labels", "annotations")
        for key, value in metadata[kind].items()
        if is_extra(place := f"{kind}/{key}")
    }
    if any(observed.extras.get(place) != value for place, value in wanted.items()) or observed.applied - wanted.keys():
        return "the template's labels or annotations differ"
    return None


def digest(spec: Any) -> str:
    """Return a short text that is equal for equal specs, whatever the order of their keys."""
    return hashlib.blake2b(_canonical(spec).encode(), digest_size=16).hexdigest()
