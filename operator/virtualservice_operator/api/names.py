"""Names that are part of the contract: group, kind, labels, annotations, field manager."""

from typing import Final

GROUP: Final = "virtualservice-operator.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "RoutingPolicy"
PLURAL: Final = "routingpolicies"

OPERATOR: Final = "virtualservice-operator"
FIELD_MANAGER: Final = OPERATOR
# The admission policy of kustomize/components/fence.
FENCE: Final = f"{OPERATOR}-fence"

ISTIO_GROUP: Final = "networking.istio.io"
ISTIO_API_VERSION: Final = f"{ISTIO_GROUP}/v1"

# The mark. A VirtualService that carries it is the operator's; who takes it off takes the object over.
MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
SERVICE_LABEL: Final = f"{GROUP}/service"

POLICIES_ANNOTATION: Final = f"{GROUP}/policies"
DEVELOPERS_ANNOTATION: Final = f"{GROUP}/developers"
DELETED_COPIES_ANNOTATION: Final = f"{GROUP}/deleted-copies"
MANAGED_ANNOTATION: Final = f"{GROUP}/managed"
ADOPT_ANNOTATION: Final = f"{GROUP}/adopt"

# On a Namespace and on a Service, written by their owners.
DEVELOPER_LABEL: Final = f"{GROUP}/developer"
CONSENT_ANNOTATION: Final = f"{GROUP}/allow-policies-from"
COPY_OF_ANNOTATION: Final = f"{GROUP}/copy-of"
IGNORE_ANNOTATION: Final = f"{GROUP}/ignore"
# The annotation of the design this operator follows; a Service that carries it never counts as a copy.
PLACEHOLDER_ANNOTATION: Final = "virtualservice-operator/placeholder-service"
SOURCE_ANNOTATION: Final = "virtualservice-operator/source-service"

VIRTUAL_SERVICE_SUFFIX: Final = "-virtual-service"
DEFAULT_HEADER: Final = "x-developer"
DEVELOPER_NAME_VARIABLE: Final = "{{ DeveloperName }}"


def virtual_service_name(service: str) -> str:
    """Return the name of the VirtualService that is made for a Service."""
    return service + VIRTUAL_SERVICE_SUFFIX


def service_fqdn(service: str, namespace: str, cluster_domain: str) -> str:
    """
    Return the full host name of a Service.

    Source: Istio expands only names without any dot, so every host we write is full (api.md 3.1, rule 3).
    """
    return f"{service}.{namespace}.svc.{cluster_domain}"
