"""Which Services a policy governs, and which of those can be routed at all."""

from collections.abc import Callable
from typing import Final

from virtualservice_operator.api import names
from virtualservice_operator.api.conditions import Reason
from virtualservice_operator.api.v1alpha1 import RoutingPolicySpec
from virtualservice_operator.core import labels
from virtualservice_operator.core.objects import Finding, Service


def governs(spec: RoutingPolicySpec, service: Service) -> bool:
    """Tell whether a policy governs a Service of its namespace: named, not excluded, labels as selected."""
    selection = spec.services
    if selection is None:
        return True
    name = service.key.name
    return (
        (selection.names is None or name in selection.names)
        and name not in (selection.excluded_names or ())
        and (selection.selector is None or labels.matches(selection.selector, service.labels))
    )


def skip_finding(service: Service) -> Finding | None:
    """Return why a governed Service gets no VirtualService, or None where it can be routed."""
    return next((finding for applies, finding in _SKIPS if applies(service)), None)


_SKIPS: Final[tuple[tuple[Callable[[Service], bool], Finding], ...]] = (
    (
        lambda service: service.key == ("default", "kubernetes"),
        Finding(Reason.SYSTEM, "the API server's own Service is never routed"),
    ),
    (
        lambda service: service.ignored,
        Finding(Reason.IGNORED, f"annotated {names.IGNORE_ANNOTATION}: true; remove it to route the Service again"),
    ),
    (
        lambda service: service.placeholder,
        Finding(Reason.PLACEHOLDER, "a placeholder stands here; deploy the Service itself"),
    ),
    (
        lambda service: service.external_name,
        Finding(Reason.EXTERNAL_NAME, "an ExternalName Service has no endpoints to route to"),
    ),
    (
        lambda service: service.gateway,
        Finding(Reason.GATEWAY, "the Service of a gateway itself is never routed"),
    ),
    (
        lambda service: service.headless,
        Finding(Reason.HEADLESS, "add a ClusterIP Service to route it: sidecars pass a headless one through"),
    ),
    (
        lambda service: not service.http_ports,
        Finding(
            Reason.NO_HTTP_PORT, "no port is HTTP to Istio; set appProtocol: http, or name the port http or http-…"
        ),
    ),
)
