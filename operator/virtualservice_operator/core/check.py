"""
What is about to be written, checked once more: against a strict schema, and against the tenant rules.

The schema is an allow-list of what a generated VirtualService may say, narrower than Istio's own (a test holds it
inside Istio's). The CRD's schema would not do: it lets unknown fields such as `rout` pass. It is a pydantic model,
because this runs before every write: the same check by jsonschema took 0.8 ms per VirtualService (docs/adr/0007).
"""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Discriminator, Field, StringConstraints, Tag, ValidationError

from virtualservice_operator.api import names
from virtualservice_operator.api.conditions import Reason
from virtualservice_operator.api.v1alpha1 import RESERVED_HEADERS
from virtualservice_operator.core.objects import Finding, Key
from virtualservice_operator.core.reject_body import BODY_LIMIT
from virtualservice_operator.core.template import BYTES
from virtualservice_operator.core.wording import stored_size

QUOTED_LIMIT: Final = 200

_Port = Annotated[int, Field(ge=1, le=65535, strict=True)]
_Value = Annotated[str, StringConstraints(min_length=1, max_length=1024, strict=True)]
_Text = Annotated[str, StringConstraints(min_length=1, max_length=1024, strict=True)]
_HeaderName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9!#$%&'*+.^_|~-]+$", strict=True)]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Exact(_Closed):
    """The whole value, case-sensitive."""

    exact: _Value


class Prefix(_Closed):
    """The beginning of the value."""

    prefix: _Value


class Regex(_Closed):
    """An RE2 regular expression for the whole value."""

    regex: _Value


class Present(_Closed):
    """Any value at all, an empty one too: written as `{}`."""


def _kind_of_comparison(value: Any) -> str:
    kinds = (kind for kind in ("exact", "prefix", "regex") if isinstance(value, Mapping) and kind in value)
    return f"<{next(kinds, 'present')}>"


_Comparison = Annotated[
    Annotated[Exact, Tag("<exact>")]
    | Annotated[Prefix, Tag("<prefix>")]
    | Annotated[Regex, Tag("<regex>")]
    | Annotated[Present, Tag("<present>")],
    Discriminator(_kind_of_comparison),
]


class Match(_Closed):
    """When a rule applies: all that is said must hold."""

    port: _Port | None = Field(default=None, description="The port of the Service that the client asked for.")
    source_namespace: _Text | None = Field(
        default=None, alias="sourceNamespace", description="The caller's namespace, for callers with a sidecar."
    )
    headers: Annotated[dict[_HeaderName, _Comparison], Field(min_length=1)] | None = Field(
        default=None, description="Header names in lower case; Istio ignores the parts of the request line here."
    )


class PortSelector(_Closed):
    """A port of the destination."""

    number: _Port


class Destination(_Closed):
    """A Service by its full host name."""

    host: _Text
    port: PortSelector | None = None


class RouteDestination(_Closed):
    """Where the requests of a rule go."""

    destination: Destination


class Retries(_Closed):
    """How often a request is tried again."""

    attempts: Annotated[int, Field(ge=0, le=100, strict=True)]
    per_try_timeout: _Text | None = Field(default=None, alias="perTryTimeout")
    retry_on: _Text | None = Field(default=None, alias="retryOn")


class HeaderOperations(_Closed):
    """What is done to headers."""

    set: Annotated[dict[_HeaderName, _Text], Field(min_length=1)]


class Headers(_Closed):
    """What is done to the headers of the response."""

    response: HeaderOperations


class Body(_Closed):
    """A body as text."""

    string: Annotated[str, StringConstraints(min_length=1, max_length=BODY_LIMIT, strict=True)]


class DirectResponse(_Closed):
    """An answer without a destination."""

    status: Annotated[int, Field(ge=200, le=599, strict=True)]
    body: Body | None = None


class _Named(_Closed):
    name: _Text = Field(description="For people who read Istio's logs.")
    match: Annotated[list[Match], Field(min_length=1)] | None = None


class RouteRule(_Named):
    """A rule that leads to a destination."""

    timeout: _Text | None = None
    retries: Retries | None = None
    headers: Headers | None = None
    route: Annotated[list[RouteDestination], Field(min_length=1, max_length=1)]


class ResponseRule(_Named):
    """A rule that answers by itself."""

    direct_response: DirectResponse = Field(alias="directResponse")


def _kind_of_rule(rule: Any) -> str:
    return "<response>" if isinstance(rule, Mapping) and "directResponse" in rule else "<route>"


# The kind is told by what the rule does, so that a problem is said of that kind only.
_Rule = Annotated[
    Annotated[RouteRule, Tag("<route>")] | Annotated[ResponseRule, Tag("<response>")], Discriminator(_kind_of_rule)
]


class VirtualServiceSpec(_Closed):
    """All that a generated VirtualService may say; Istio takes the first rule that matches."""

    hosts: Annotated[list[_Text], Field(min_length=1, max_length=1)]
    export_to: Annotated[list[_Text], Field(min_length=1, max_length=64)] | None = Field(default=None, alias="exportTo")
    http: Annotated[list[_Rule], Field(min_length=1)]


def check_size(document: Mapping[str, Any]) -> Finding | None:
    """Return that a VirtualService is too large to be written; None where it is not."""
    size = stored_size(document)
    if size <= BYTES:
        return None
    message = (
        f"the VirtualService comes to {size / 1024:,.0f} KiB as JSON, more than {BYTES >> 10:,} KiB; select fewer developers, or "
        "write fewer rules and shorter bodies"
    )
    return Finding(Reason.OUTPUT_NOT_ALLOWED, message)


def check_virtual_service(
    document: Mapping[str, Any], key: Key, cluster_domain: str, permitted: Collection[str]
) -> tuple[Finding, ...]:
    """
    Return why a generated VirtualService must not be written; empty where it may.

    `permitted`: the namespaces beside the Service's own that requests may be sent to.
    """
    spec = document["spec"]
    try:
        VirtualServiceSpec.model_validate(spec)
    except ValidationError as error:
        problems = [_problem(item) for item in error.errors(include_url=False)]
    else:
        problems = [
            *_reserved_headers(spec),
            *_tenant_problems(spec, key, cluster_domain, {key.namespace, *permitted}),
            *_order_problems(spec),
        ]
    return tuple(Finding(Reason.OUTPUT_NOT_ALLOWED, problem[:QUOTED_LIMIT]) for problem in problems)


def _problem(item: Any) -> str:
    """Return what is wrong and where, by the names that the object has: tags and the marks of keys are pydantic's."""
    parts = [part for part in item["loc"] if isinstance(part, int) or not part.startswith(("<", "["))]
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return f"spec{path}: {item['msg']}"


def _reserved_headers(spec: Mapping[str, Any]) -> list[str]:
    return [
        f"spec.http[{index}].match: {header} is part of the request line, not a header"
        for index, rule in enumerate(spec["http"])
        for match in rule.get("match", ())
        for header in match.get("headers", ())
        if header in RESERVED_HEADERS
    ]


def _tenant_problems(spec: Mapping[str, Any], key: Key, cluster_domain: str, namespaces: set[str]) -> list[str]:
    """Return what reaches further than the policies may: hosts are the Service's own, destinations are permitted."""
    own = names.service_fqdn(key.name, key.namespace, cluster_domain)
    problems = [f"spec.hosts: {host} is not {own}" for host in spec["hosts"] if host != own]
    suffixes = tuple(f".{namespace}.svc.{cluster_domain}" for namespace in namespaces)
    problems.extend(
        f"spec.http[{index}].route: {route['destination']['host']} is not in a namespace that the policies may use"
        for index, rule in enumerate(spec["http"])
        for route in rule.get("route", ())
        if not route["destination"]["host"].endswith(suffixes)
    )
    return problems


def _order_problems(spec: Mapping[str, Any]) -> list[str]:
    """Return which port that has any rule lacks a catch-all, and whether it is last: Istio would answer 404."""
    matches = [match for rule in spec["http"] for match in rule.get("match", [{}])]
    caught = {match.get("port") for match in matches if match.keys() <= {"port"}}
    problems = []
    if any(match.keys() - {"port"} for match in spec["http"][-1].get("match", ())):
        problems.append("spec.http: the last rule must be the catch-all")
    if None not in caught:
        missing = {match.get("port") for match in matches} - caught
        problems.extend(f"spec.http: port {port} has no catch-all" for port in sorted(missing, key=str))
    return problems
