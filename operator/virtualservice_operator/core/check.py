"""
What is about to be written, checked once more: against a strict schema, and against the tenant rules.

The schema is an allow-list of what a generated VirtualService may say, narrower than Istio's own (a test holds it
inside Istio's). The CRD's schema would not do: it lets unknown fields such as `rout` pass.
"""

from collections.abc import Mapping
from typing import Any, Final

import jsonschema

from virtualservice_operator.api import names
from virtualservice_operator.api.conditions import Reason
from virtualservice_operator.core.objects import Finding, Key

QUOTED_LIMIT: Final = 200


def _object(properties: Mapping[str, Any], *required: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
        **more,
    }


_PORT: Final = {"type": "integer", "minimum": 1, "maximum": 65535}
_TEXT: Final = {"type": "string", "minLength": 1, "maxLength": 1024}
_STRING_MATCH: Final = _object(
    {"exact": _TEXT, "prefix": _TEXT, "regex": _TEXT},
    description="One way to compare a value.",
    maxProperties=1,
    minProperties=1,
)
_MATCH: Final = _object(
    {
        "port": {**_PORT, "description": "The port of the Service the client asked for."},
        "headers": {
            "type": "object",
            "description": "Header names in lower case; Istio ignores the parts of the request line here.",
            "propertyNames": {"pattern": "^(?!(uri|scheme|method|authority)$)[a-z0-9!#$%&'*+.^_|~-]+$"},
            "additionalProperties": _STRING_MATCH,
            "minProperties": 1,
        },
    },
    minProperties=1,
)
_DESTINATION: Final = _object(
    {
        "destination": _object(
            {
                "host": {"type": "string", "description": "A full host name."},
                "port": _object({"number": _PORT}, "number"),
            },
            "host",
        )
    },
    "destination",
)
VIRTUAL_SERVICE_SPEC: Final = _object(
    {
        "hosts": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 1},
        "http": {
            "type": "array",
            "minItems": 1,
            "items": _object(
                {
                    "name": {"type": "string", "description": "For people who read Istio's logs.", "minLength": 1},
                    "match": {"type": "array", "items": _MATCH, "minItems": 1},
                    "route": {"type": "array", "items": _DESTINATION, "minItems": 1, "maxItems": 1},
                },
                "name",
                "route",
            ),
        },
    },
    "hosts",
    "http",
)
_VALIDATOR: Final = jsonschema.Draft202012Validator(VIRTUAL_SERVICE_SPEC)


def check_virtual_service(document: Mapping[str, Any], key: Key, cluster_domain: str) -> tuple[Finding, ...]:
    """Return why a generated VirtualService must not be written; empty where it may."""
    spec = document["spec"]
    problems = [
        f"spec.{'.'.join(str(part) for part in error.absolute_path)}: {error.message[:QUOTED_LIMIT]}"
        for error in _VALIDATOR.iter_errors(spec)
    ]
    if not problems:
        problems = [*_tenant_problems(spec, key, cluster_domain), *_order_problems(spec)]
    return tuple(Finding(Reason.OUTPUT_NOT_ALLOWED, problem) for problem in problems)


def _tenant_problems(spec: Mapping[str, Any], key: Key, cluster_domain: str) -> list[str]:
    """Hosts are the Service's own; destinations are Services of this cluster."""
    own = names.service_fqdn(key.name, key.namespace, cluster_domain)
    problems = [f"spec.hosts: {host} is not {own}" for host in spec["hosts"] if host != own]
    suffix = f".svc.{cluster_domain}"
    problems.extend(
        f"spec.http[{index}].route: {route['destination']['host']} is not a Service of this cluster"
        for index, rule in enumerate(spec["http"])
        for route in rule["route"]
        if not route["destination"]["host"].endswith(suffix)
    )
    return problems


def _order_problems(spec: Mapping[str, Any]) -> list[str]:
    """Each port that has any rule ends with a catch-all, or Istio answers 404 there."""
    caught: set[int | None] = set()
    for rule in spec["http"]:
        for match in rule.get("match", [{}]):
            if "headers" not in match:
                caught.add(match.get("port"))
    problems = []
    last = spec["http"][-1]
    if any("headers" in match for match in last.get("match", [])):
        problems.append("spec.http: the last rule must be the catch-all")
    needed = {match.get("port") for rule in spec["http"] for match in rule.get("match", [{}])}
    if None not in caught:
        problems.extend(f"spec.http: port {port} has no catch-all" for port in needed - caught)
    return problems
