"""
Raw JSON of the API server to slim values of the core; this is the only place that knows both.

Objects that the API server stores are well formed, with one exception: a RoutingPolicy stored under another schema.
That one becomes a Policy with its problems in words, and without spec where it does not fit the models.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from virtualservice_operator.api import names
from virtualservice_operator.api.v1alpha1 import read_spec
from virtualservice_operator.core.objects import (
    ClusterObject,
    Key,
    Namespace,
    Placed,
    Policy,
    Service,
    ServicePort,
    VirtualService,
)
from virtualservice_operator.core.ownership import digest, is_extra

_HTTP_PROTOCOLS: Final = frozenset({"http", "http2", "grpc", "grpc-web", "http_proxy"})
_OTHER_PROTOCOLS: Final = frozenset({"tcp", "udp", "https", "tls", "mongo", "redis", "mysql"})
_STANDARD_APP_PROTOCOLS: Final = {
    "kubernetes.io/h2c": "http2",
    "kubernetes.io/ws": "http",
    "kubernetes.io/wss": "https",
}
# Ports that Istio takes for TCP unless the port says otherwise: their servers speak first.
_TCP_PORTS: Final = frozenset({25, 53, 3306, 27017})
# What kubectl apply keeps for itself: as long as the object.
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_GATEWAY_LABEL: Final = "gateway.networking.k8s.io/gateway-name"
_ISTIO_COMPONENT_LABEL: Final = "operator.istio.io/component"
_GATEWAY_COMPONENTS: Final = frozenset({"IngressGateways", "EgressGateways"})


def decode_service(raw: Mapping[str, Any]) -> Service:
    """Return a Service."""
    metadata, spec = raw["metadata"], raw.get("spec", {})
    annotations, labels = metadata.get("annotations") or {}, _labels(metadata)
    return Service(
        key=_key(metadata),
        version=_version(metadata),
        labels=labels,
        ports=tuple(_decode_port(port) for port in spec.get("ports") or ()),
        external_name=spec.get("type") == "ExternalName",
        headless=spec.get("clusterIP") == "None",
        gateway=_GATEWAY_LABEL in labels or labels.get(_ISTIO_COMPONENT_LABEL) in _GATEWAY_COMPONENTS,
        placeholder=annotations.get(names.PLACEHOLDER_ANNOTATION) == "true",
        placed=_decode_placed(metadata, spec),
        ignored=annotations.get(names.IGNORE_ANNOTATION) == "true",
        copy_of=annotations.get(names.COPY_OF_ANNOTATION),
        annotations={key: value for key, value in annotations.items() if key != _LAST_APPLIED},
    )


def _decode_placed(metadata: Mapping[str, Any], spec: Mapping[str, Any]) -> Placed | None:
    """
    Return what is known of a placeholder of ours, None for every other Service.

    It says for which Service and policies it was made, and has one of our two marks at least. It was taken over when a
    mark is gone, or anybody else has written a part of its spec: a plain `kubectl apply` onto it comes out as an
    ExternalName with selector and ports.
    """
    annotations, labels = metadata.get("annotations") or {}, metadata.get("labels") or {}
    marks = (
        labels.get(names.MANAGED_BY_LABEL) == names.OPERATOR,
        annotations.get(names.PLACEHOLDER_ANNOTATION) == "true",
    )
    policies = annotations.get(names.POLICIES_ANNOTATION)
    name, _, rest = annotations.get(names.SOURCE_ANNOTATION, "").partition(".")
    namespace = rest.partition(".")[0]
    # One for a Service of its own namespace was copied there by somebody: ours never stand there.
    if not any(marks) or policies is None or namespace in ("", metadata["namespace"]):
        return None
    return Placed(
        source=Key(sys.intern(namespace), sys.intern(name)),
        policies=tuple(Key.parse(policy) for policy in policies.split(",")),
        uid=metadata["uid"],
        created=datetime.fromisoformat(metadata["creationTimestamp"]).timestamp(),
        external_name=spec.get("externalName") if spec.get("type") == "ExternalName" else None,
        taken_over=not all(marks) or bool(spec.get("selector")) or bool(_other_managers(metadata)),
        unfinished=names.FIELD_MANAGER in _spec_managers(metadata),
    )


def is_http(number: int, name: str, transport: str, app_protocol: str | None) -> bool:
    """
    Tell whether Istio applies `http` rules to a port: declared as HTTP, or left to protocol sniffing.

    Source: istio/istio:pkg/config/kube/conversion.go, ConvertProtocol.
    """
    if transport != "TCP":
        return False
    declared = _STANDARD_APP_PROTOCOLS.get(app_protocol, app_protocol) if app_protocol else name
    declared = declared.lower()
    if declared.startswith("grpc-web"):
        return True
    protocol = declared.partition("-")[0]
    if protocol in _HTTP_PROTOCOLS:
        return True
    return protocol not in _OTHER_PROTOCOLS and number not in _TCP_PORTS


def decode_namespace(raw: Mapping[str, Any]) -> Namespace:
    """Return a Namespace; its key's namespace is empty."""
    metadata = raw["metadata"]
    consent = (metadata.get("annotations") or {}).get(names.CONSENT_ANNOTATION)
    return Namespace(
        key=_key(metadata),
        version=_version(metadata),
        labels=_labels(metadata),
        terminating="deletionTimestamp" in metadata,
        consents_to=tuple(part.strip() for part in consent.split(",") if part.strip()) if consent is not None else None,
    )


def decode_policy(raw: Mapping[str, Any]) -> Policy:
    """Return a RoutingPolicy, with what is wrong with its spec; where that does not fit the schema, one without spec."""
    metadata = raw["metadata"]
    spec, problems = read_spec({} if raw.get("spec") is None else raw["spec"])
    status = raw.get("status") or {}
    return Policy(
        key=_key(metadata),
        version=_version(metadata),
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        spec=spec,
        problems=problems,
        observed_generation=status.get("observedGeneration"),
        conditions=tuple(status.get("conditions") or ()),
        status_digest=digest(status),
    )


def decode_virtual_service(raw: Mapping[str, Any]) -> VirtualService:
    """Return a VirtualService, ours or foreign."""
    metadata, spec = raw["metadata"], raw.get("spec") or {}
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    marked = labels.get(names.MANAGED_BY_LABEL) == names.OPERATOR
    return VirtualService(
        key=_key(metadata),
        version=_version(metadata),
        uid=metadata["uid"],
        created=metadata["creationTimestamp"],
        hosts=tuple(spec.get("hosts") or ()),
        spec_digest=digest(spec),
        gateways=tuple(spec.get("gateways") or ()),
        export_to=tuple(spec.get("exportTo") or ()),
        marked=marked,
        released=annotations.get(names.MANAGED_ANNOTATION) == "false",
        adoptable=annotations.get(names.ADOPT_ANNOTATION) == "true",
        service_label=labels.get(names.SERVICE_LABEL),
        policies=annotations.get(names.POLICIES_ANNOTATION),
        developers=annotations.get(names.DEVELOPERS_ANNOTATION),
        deleted_copies=annotations.get(names.DELETED_COPIES_ANNOTATION),
        owners=frozenset(
            (owner["name"], owner["uid"])
            for owner in metadata.get("ownerReferences") or ()
            if owner.get("kind") == names.KIND
        ),
        destinations=frozenset(_destinations(spec)) if marked else frozenset(),
        managers=tuple(sorted(_other_managers(metadata))),
        extras=_extras(labels, annotations) if marked else {},
        applied=frozenset(_applied(metadata)) if marked else frozenset(),
    )


DECODERS: Final[Mapping[type[ClusterObject], Callable[[Mapping[str, Any]], ClusterObject]]] = {
    Service: decode_service,
    Namespace: decode_namespace,
    Policy: decode_policy,
    VirtualService: decode_virtual_service,
}


def _decode_port(port: Mapping[str, Any]) -> ServicePort:
    name, number = port.get("name", ""), port["port"]
    protocol, app_protocol = port.get("protocol", "TCP"), port.get("appProtocol")
    http = is_http(number, name, protocol, app_protocol)
    return ServicePort(sys.intern(name), number, http, sys.intern(protocol), app_protocol)


def _destinations(spec: Mapping[str, Any]) -> set[str]:
    """Return the namespaces that requests are sent to, mirrored ones too, read from full host names."""
    hosts = (
        destination.get("host", "")
        for rule in spec.get("http") or ()
        for destination in (
            *(route.get("destination", {}) for route in (*(rule.get("route") or ()), *(rule.get("mirrors") or ()))),
            rule.get("mirror") or {},
        )
    )
    return {host.split(".")[1] for host in hosts if "." in host}


def _extras(labels: Mapping[str, str], annotations: Mapping[str, str]) -> dict[str, str]:
    """Return the labels and annotations that are not the operator's own."""
    found = {
        f"{kind}/{key}": value
        for kind, of in (("labels", labels), ("annotations", annotations))
        for key, value in of.items()
    }
    return {place: value for place, value in found.items() if is_extra(place)}


def _applied(metadata: Mapping[str, Any]) -> Iterator[str]:
    """Yield the labels and annotations beside the operator's own that it has applied: those are a template's."""
    for entry in metadata.get("managedFields") or ():
        if entry.get("manager") == names.FIELD_MANAGER and entry.get("operation") == "Apply":
            fields = entry.get("fieldsV1", {}).get("f:metadata", {})
            for kind in ("labels", "annotations"):
                places = (f"{kind}/{key[2:]}" for key in fields.get(f"f:{kind}", {}) if key.startswith("f:"))
                yield from (place for place in places if is_extra(place))


def _other_managers(metadata: Mapping[str, Any]) -> set[str]:
    return _spec_managers(metadata) - {names.FIELD_MANAGER}


def _spec_managers(metadata: Mapping[str, Any]) -> set[str]:
    return {
        entry.get("manager", "")
        for entry in metadata.get("managedFields") or ()
        if "f:spec" in entry.get("fieldsV1", {})
    }


def _key(metadata: Mapping[str, Any]) -> Key:
    return Key(sys.intern(metadata.get("namespace", "")), sys.intern(metadata["name"]))


def _version(metadata: Mapping[str, Any]) -> int:
    """Return the resourceVersion as a number. Source: KEP-5504, resource versions of one kind can be compared."""
    return int(metadata["resourceVersion"])


def _labels(metadata: Mapping[str, Any]) -> dict[str, str]:
    return {sys.intern(key): sys.intern(value) for key, value in (metadata.get("labels") or {}).items()}
