"""
RoutingPolicy v1alpha1: spec and status as pydantic models.

The CRD is made from these models (crd.py), so each limit stands once. Blocks that policies merge have no schema
default: a default written into every object could no longer be told from a choice.
"""

import re
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

DNS_LABEL: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DEVELOPER_NAME: Final = r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"
DNS_NAME: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
LABEL_KEY: Final = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"
LABEL_VALUE: Final = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"
HEADER_NAME: Final = r"^[A-Za-z0-9!#$%&'*+.^_|~-]+$"
LOWER_HEADER_NAME: Final = r"^[a-z0-9!#$%&'*+.^_|~-]+$"
# Istio ignores keys of these names: it takes them for parts of the request line (api.md 3.2, rule 11).
RESERVED_HEADERS: Final = ("uri", "scheme", "method", "authority", "host")
# Istio's webhook refuses every other. Source: istio/istio:pkg/config/validation/agent/validation.go, ValidateDuration.
WHOLE_MILLISECONDS: Final = r"^([0-9]+([.][0-9]{1,3})?(h|m|s)|[0-9]+ms)+$"
# And these are all that it takes in retryOn. Source: istio/istio:pkg/config/validation/validation.go, validateHTTPRetry.
RETRY_CONDITIONS: Final = (
    *("5xx", "gateway-error", "reset", "reset-before-request", "connect-failure", "retriable-4xx", "refused-stream"),
    *("retriable-status-codes", "retriable-headers", "envoy-ratelimited", "http3-post-connect-failure"),
    *("cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable"),
)
# The statuses of HTTP that Go's net/http has a text for.
RETRY_STATUS: Final = "^(10[0-3]|20[0-8]|226|30[0-578]|40[0-9]|41[0-8]|42[1-689]|431|451|50[0-8]|51[01])$"
_NOT_WHOLE: Final = (
    "must be in whole milliseconds, with three decimals at the most, such as 1.5s: Istio knows no finer one"
)
_NOT_RETRIED: Final = (
    "retryOn takes statuses of HTTP and these conditions, parted by commas without spaces: "
    + ", ".join(RETRY_CONDITIONS)
)
_NOT_SET: Final = "host cannot be set in a response: choose another header, such as x-routed-to"


def _check_duration(value: str) -> str:
    """Say what the CRD's rule says, for those who come without an API server; so do the two below."""
    if not re.fullmatch(WHOLE_MILLISECONDS, value):
        raise ValueError(f"a duration {_NOT_WHOLE}")
    return value


def _check_retry_on(value: str) -> str:
    if not all(item in RETRY_CONDITIONS or re.fullmatch(RETRY_STATUS, item) for item in value.split(",")):
        raise ValueError(_NOT_RETRIED)
    return value


def _check_routed_to_header(value: str) -> str:
    if value == "host":
        raise ValueError(_NOT_SET)
    return value


DnsLabel = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=DNS_LABEL)]
DeveloperName = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=DEVELOPER_NAME)]
LabelKey = Annotated[str, StringConstraints(min_length=1, max_length=317, pattern=LABEL_KEY)]
# As Istio reads durations: a number and a unit, repeated.
Duration = Annotated[
    str,
    StringConstraints(min_length=2, max_length=32, pattern=r"^([0-9]+(\.[0-9]+)?(h|m|s|ms))+$"),
    AfterValidator(_check_duration),
]
ExportScope = Annotated[
    str, StringConstraints(min_length=1, max_length=63, pattern=r"^([*.]|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$")
]
LabelValue = Annotated[str, StringConstraints(max_length=63, pattern=LABEL_VALUE)]
RoutedToHeader = Annotated[
    str,
    StringConstraints(min_length=1, max_length=128, pattern=LOWER_HEADER_NAME),
    AfterValidator(_check_routed_to_header),
]


def _rule(rule: str, message: str, **more: str) -> dict[str, str]:
    return {"rule": rule, "message": message, **more}


def _whole_milliseconds(field: str) -> list[dict[str, str]]:
    return [
        _rule(
            f"!has(self.{field}) || duration(self.{field}) >= duration('1ms')",
            f"{field} must be 1ms or more: Istio knows no shorter one",
            fieldPath=f".{field}",
        ),
        _rule(
            f"!has(self.{field}) || self.{field}.matches('{WHOLE_MILLISECONDS}')",
            f"{field} {_NOT_WHOLE}",
            fieldPath=f".{field}",
        ),
    ]


def _schema(**extra: Any) -> dict[str, Any]:
    """Return schema extensions under their real names: list_type -> x-kubernetes-list-type."""
    return {"x-kubernetes-" + key.replace("_", "-"): value for key, value in extra.items()}


_SET = _schema(list_type="set")
_ATOMIC = _schema(list_type="atomic")


class Model(BaseModel):
    """Frozen, camelCase outside, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class LabelSelectorRequirement(Model):
    """One requirement of a label selector."""

    model_config = ConfigDict(
        json_schema_extra=_schema(
            validations=[
                _rule(
                    "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
                    "operators In and NotIn need values; Exists and DoesNotExist take none",
                )
            ]
        )
    )

    key: LabelKey = Field(description="The label's key.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(
        description="How the label relates to `values`: In, NotIn, Exists or DoesNotExist."
    )
    values: Annotated[tuple[LabelValue, ...], Field(max_length=32)] | None = Field(
        default=None, description="The values for In and NotIn; none for the others.", json_schema_extra=_ATOMIC
    )


class LabelSelector(Model):
    """A label selector as everywhere in Kubernetes: all of its requirements must hold."""

    model_config = ConfigDict(json_schema_extra=_schema(map_type="atomic"))

    match_labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=16)] | None = Field(
        default=None, description="Labels that must be there with exactly these values."
    )
    match_expressions: Annotated[tuple[LabelSelectorRequirement, ...], Field(max_length=16)] | None = Field(
        default=None, description="Further requirements.", json_schema_extra=_ATOMIC
    )


class ServiceSelection(Model):
    """Which Services of the policy's own namespace it governs."""

    names: Annotated[tuple[DnsLabel, ...], Field(min_length=1, max_length=128)] | None = Field(
        default=None,
        description="Exact names. When absent, every eligible Service of the namespace, as far as `selector` allows.",
        json_schema_extra=_SET,
    )
    excluded_names: Annotated[tuple[DnsLabel, ...], Field(max_length=128)] | None = Field(
        default=None,
        description="Exact names that are left out, whatever else selects them.",
        json_schema_extra=_SET,
    )
    selector: LabelSelector | None = Field(
        default=None, description="Labels of the Services; where `names` is set too, a Service must satisfy both."
    )


class Developer(Model):
    """A developer and the namespaces that may hold their copies."""

    name: DeveloperName = Field(description="How a request names this developer, for example as value of x-developer.")
    namespaces: Annotated[tuple[DnsLabel, ...], Field(min_length=1, max_length=8)] | None = Field(
        default=None,
        description="Namespaces in order: the first that holds a usable copy takes the request, so "
        "`[dev-alice, team-checkout]` means mine, else my team's, else the default. When absent: [name].",
        json_schema_extra=_ATOMIC,
    )


class DevelopersFrom(Model):
    """Developers that are found by the labels of namespaces."""

    namespace_selector: LabelSelector | None = Field(
        default=None, description="Which namespaces belong to developers. When absent: those that carry `nameLabel`."
    )
    name_label: LabelKey | None = Field(
        default=None,
        description="The namespace's label whose value is the developer's name. When absent: "
        "virtualservice-operator.dev/developer. Where a namespace has no such label, or an empty one, its own name "
        "counts, less `stripPrefix`.",
    )
    strip_prefix: Annotated[str, StringConstraints(min_length=1, max_length=62)] | None = Field(
        default=None, description="Taken off the front of a namespace's name to get the developer's, for example dev-."
    )


class Match(Model):
    """One way in which a request names its developer."""

    model_config = ConfigDict(
        json_schema_extra=_schema(
            validations=[
                _rule(
                    "self.type == 'SourceNamespace' ? !has(self.name) : has(self.name)",
                    "name is needed for Header, Baggage and Cookie; SourceNamespace takes none",
                    fieldPath=".name",
                ),
                _rule(
                    "self.type == 'Header' || (!has(self.value) && !has(self.matchType))",
                    "value and matchType are for Header only: Baggage, Cookie and SourceNamespace always compare "
                    "with the developer's name or namespace",
                ),
                _rule(
                    "self.type != 'Header' || !has(self.name) || self.name == self.name.lowerAscii()",
                    "header names are lower case",
                    messageExpression="'header names are lower case: write ' + self.name.lowerAscii()",
                    fieldPath=".name",
                ),
                _rule(
                    f"self.type != 'Header' || !has(self.name) || !(self.name.lowerAscii() in {list(RESERVED_HEADERS)})",
                    f"{', '.join(RESERVED_HEADERS)} are parts of the request line, not headers: "
                    "Istio would ignore this match; choose another header",
                    fieldPath=".name",
                ),
                _rule(
                    r"!has(self.value) || self.value.matches('\\{\\{ *(DeveloperName|DeveloperNamespace) *\\}\\}')",
                    "value must contain {{ DeveloperName }} or {{ DeveloperNamespace }}, "
                    "or all developers would share one match",
                    fieldPath=".value",
                ),
            ]
        )
    )

    type: Literal["Header", "Baggage", "Cookie", "SourceNamespace"] = Field(
        description="Where a request names its developer: Header, a request header; Baggage, a member of the W3C "
        "baggage header; Cookie, a cookie; SourceNamespace, the namespace of the caller, which must have a sidecar."
    )
    name: Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=HEADER_NAME)] | None = Field(
        default=None,
        description="The header's name in lower case, the baggage member's key, or the cookie's name. SourceNamespace "
        "takes none.",
    )
    match_type: Literal["Exact", "Prefix", "Regex"] | None = Field(
        default=None,
        description="How the header's value is compared: Exact, Prefix, or Regex (RE2, the whole value). When absent: "
        "Exact. Values are case-sensitive. For Header only.",
    )
    value: Annotated[str, StringConstraints(min_length=1, max_length=1024)] | None = Field(
        default=None,
        description="The value to compare with, for Header only. May use {{ ServiceName }}, {{ ServiceNamespace }}, "
        "{{ DeveloperName }} and {{ DeveloperNamespace }} (the developer's first namespace), and must use one of the "
        "last two. In a Regex they are escaped. When absent: {{ DeveloperName }}.",
    )


class Retries(Model):
    """How often a request is tried again, as Istio's HTTPRetry."""

    model_config = ConfigDict(
        json_schema_extra=_schema(
            validations=[
                _rule(
                    "self.attempts > 0 || (!has(self.perTryTimeout) && !has(self.retryOn))",
                    "attempts: 0 stands alone: without retries there is nothing that perTryTimeout and retryOn could say",
                ),
                *_whole_milliseconds("perTryTimeout"),
                _rule(
                    f"!has(self.retryOn) || self.retryOn.split(',').all(item, item in {list(RETRY_CONDITIONS)} || "
                    f"item.matches('{RETRY_STATUS}'))",
                    _NOT_RETRIED,
                    fieldPath=".retryOn",
                ),
            ]
        )
    )

    attempts: Annotated[int, Field(ge=0, le=100)] = Field(
        description="How often, at the most; 0 turns retries off.", json_schema_extra={"format": "int32"}
    )
    per_try_timeout: Duration | None = Field(
        default=None, description="How long each try may take, such as 500ms. When absent: as long as the request."
    )
    retry_on: (
        Annotated[str, StringConstraints(min_length=1, max_length=256), AfterValidator(_check_retry_on)] | None
    ) = Field(
        default=None,
        description="Envoy's conditions and statuses of HTTP, such as 5xx,connect-failure,409. When absent: Istio's default.",
    )


class RouteSettings(Model):
    """Settings of the rules that lead to one kind of destination."""

    model_config = ConfigDict(json_schema_extra=_schema(validations=_whole_milliseconds("timeout")))

    timeout: Duration | None = Field(
        default=None, description="How long a request may take, such as 60s. When absent: as long as it wants."
    )
    retries: Retries | None = Field(
        default=None, description="How often a request is tried again. When absent: Istio's default, twice."
    )


class Reject(Model):
    """The answer to a request that is rejected."""

    status: Annotated[int, Field(ge=400, le=599)] | None = Field(
        default=None, description="The HTTP status. When absent: 503.", json_schema_extra={"format": "int32"}
    )
    body: Annotated[str, StringConstraints(min_length=1, max_length=4096)] | None = Field(
        default=None,
        description="The body; may use {{ ServiceName }}, {{ ServiceNamespace }}, {{ DeveloperName }} and "
        "{{ DeveloperNamespace }}. When absent: a line of JSON that names the Service and the developer.",
    )


class Copies(Model):
    """What happens to a developer's requests where there is no copy."""

    model_config = ConfigDict(
        json_schema_extra=_schema(
            validations=[
                _rule(
                    "!has(self.reject) || (has(self.whenMissing) && self.whenMissing == 'Reject') || "
                    "(has(self.unknownDeveloper) && self.unknownDeveloper == 'Reject')",
                    "reject says how to reject, so whenMissing or unknownDeveloper must be Reject",
                    fieldPath=".reject",
                )
            ]
        )
    )

    when_missing: Literal["UseDefault", "Reject"] | None = Field(
        default=None,
        description="Where a developer has no copy: UseDefault, the request goes to the Service itself; Reject, it is "
        "answered at once. When absent: UseDefault.",
    )
    unknown_developer: Literal["UseDefault", "Reject"] | None = Field(
        default=None,
        description="Where a request names nobody that the policies of the Service know: UseDefault or Reject. Looks "
        "at exact headers, baggage and cookies. When absent: UseDefault.",
    )
    reject: Reject | None = Field(default=None, description="The answer to a request that is rejected.")


class PlaceholderPolicy(Model):
    """Services that stand in a developer's namespace where a copy is missing."""

    model_config = ConfigDict(
        json_schema_extra=_schema(
            validations=[
                _rule(
                    "!has(self.externalName) || (has(self.mode) && self.mode == 'ExternalName')",
                    "externalName is for mode ExternalName only",
                    fieldPath=".externalName",
                ),
                _rule(
                    "!has(self.createFor) || self.createFor != 'AllServices' || "
                    "(has(self.mode) && self.mode == 'Alias')",
                    "createFor: AllServices is for mode Alias only: with the others every request would be answered 503",
                    fieldPath=".createFor",
                ),
                _rule(
                    "!has(self.ttlSeconds) || !has(self.createFor) || self.createFor != 'AllServices'",
                    "ttlSeconds is for createFor: DeletedCopies; with AllServices they would be made anew at once",
                    fieldPath=".ttlSeconds",
                ),
            ]
        )
    )

    mode: Literal["Disabled", "ExternalName", "NoEndpoints", "Alias"] | None = Field(
        default=None,
        description="Disabled: none. ExternalName: an ExternalName Service that leads to `externalName`. NoEndpoints: a "
        "Service with the same ports and nothing behind them. With these two, the developer's requests are answered "
        "with 503 until the copy is back. Alias: an ExternalName Service that leads to the default Service, so that its "
        "short name works in the developer's namespace; their requests go to the default. When absent: Disabled.",
    )
    external_name: Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=DNS_NAME)] | None = Field(
        default=None, description="Where an ExternalName placeholder leads. When absent: placeholder.local."
    )
    create_for: Literal["DeletedCopies", "AllServices"] | None = Field(
        default=None,
        description="DeletedCopies: where a developer had a copy that was routed and is gone. AllServices, for Alias "
        "only: for every Service of which they have no copy. When absent: DeletedCopies.",
    )
    ttl_seconds: Annotated[int, Field(ge=60, le=31536000)] | None = Field(
        default=None,
        description="How long a placeholder stands, in seconds since it was made. When absent: until the copy is back, "
        "or nothing refers to it.",
        json_schema_extra={"format": "int32"},
    )


class TemplateInclude(Model):
    """A text that templates of the policy can name."""

    model_config = ConfigDict(
        json_schema_extra=_schema(
            validations=[
                _rule("self.name != 'base'", "base is the built-in template; choose another name", fieldPath=".name")
            ]
        )
    )

    name: DnsLabel = Field(description="By which extends, include and fragment name it; not base.")
    content: Annotated[str, StringConstraints(min_length=1, max_length=16384)] = Field(
        description="Jinja2 text, as in `virtualService`."
    )


class PolicyTemplate(Model):
    """Jinja2 text that makes the VirtualService, or a developer's rules in it."""

    model_config = ConfigDict(
        json_schema_extra=_schema(
            validations=[
                _rule(
                    "has(self.virtualService) || has(self.developerRoutes)",
                    "a template says virtualService or developerRoutes; includes alone make nothing",
                ),
                _rule(
                    "!has(self.renderPer) || self.renderPer != 'Developer' || "
                    "(has(self.virtualService) && !has(self.developerRoutes))",
                    "renderPer: Developer needs virtualService, and no developerRoutes: it makes all rules of a developer",
                    fieldPath=".renderPer",
                ),
                _rule(
                    "!has(self.renderPer) || has(self.virtualService)",
                    "renderPer says how virtualService is rendered; developerRoutes is always rendered per developer",
                    fieldPath=".renderPer",
                ),
            ]
        )
    )

    virtual_service: Annotated[str, StringConstraints(min_length=1, max_length=32768)] | None = Field(
        default=None,
        description="Jinja2 text that comes to one VirtualService as YAML. docs/templates.md has its variables and limits.",
    )
    developer_routes: Annotated[str, StringConstraints(min_length=1, max_length=16384)] | None = Field(
        default=None,
        description="Jinja2 text that comes to a YAML list of http rules for one developer who has a copy; they stand in "
        "place of the rules that the operator would have written. The rest of the VirtualService is as without a template.",
    )
    render_per: Literal["Service", "Developer"] | None = Field(
        default=None,
        description="Service: `virtualService` is rendered once. Developer: once for each developer who has a copy, and "
        "the rules are put together. When absent: Service where the text mentions Developers or DeveloperRules or extends "
        "base, else Developer where it mentions DeveloperName, else Service.",
    )
    includes: Annotated[tuple[TemplateInclude, ...], Field(max_length=16)] | None = Field(
        default=None,
        description="Texts that the templates can extend, include, or read as data with fragment().",
        json_schema_extra=_schema(list_type="map", list_map_keys=["name"]),
    )

    @model_validator(mode="after")
    def _includes_are_unique(self) -> Self:
        names = [include.name for include in self.includes or ()]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"includes: {repeated[0]!r} is there twice; keep one entry")
        return self

    @model_validator(mode="after")
    def _makes_something(self) -> Self:
        """Say what the CRD's rules say, for those who come without an API server: `vso render`."""
        if self.virtual_service is None and self.developer_routes is None:
            raise ValueError("a template says virtualService or developerRoutes; includes alone make nothing")
        if self.render_per is not None and self.virtual_service is None:
            raise ValueError(
                "renderPer says how virtualService is rendered; developerRoutes is always rendered per developer"
            )
        if self.render_per == "Developer" and self.developer_routes is not None:
            raise ValueError("renderPer: Developer needs virtualService, and no developerRoutes")
        return self


class RoutingPolicySpec(Model):
    """What a RoutingPolicy asks for. An empty spec routes x-developer to every namespace labelled for a developer."""

    model_config = ConfigDict(
        json_schema_extra=_schema(
            validations=[
                _rule(
                    "self.mode != 'Observe' || oldSelf.mode == 'Observe'",
                    "only a new policy can be in mode Observe, because this one's routes would go at once; to pause it "
                    "set mode: Suspended, to take its routes away delete it",
                    fieldPath=".mode",
                ),
                _rule(
                    "!has(self.copies) || !has(self.copies.whenMissing) || self.copies.whenMissing != 'Reject' || "
                    "!has(self.placeholder) || !has(self.placeholder.mode) || "
                    "!(self.placeholder.mode in ['ExternalName', 'NoEndpoints'])",
                    "placeholder.mode ExternalName and NoEndpoints answer for a missing copy, and so does "
                    "copies.whenMissing: Reject; choose one",
                    fieldPath=".placeholder",
                ),
            ]
        )
    )

    priority: Annotated[int, Field(ge=-1000, le=1000)] = Field(
        default=0,
        description="Where several policies govern a Service, the higher number goes first. Among equals, a policy that "
        "names the Service goes before one that selects it by label, that before one that takes all; then the policy's "
        "name decides.",
        json_schema_extra={"format": "int32"},
    )
    mode: Literal["Enforce", "Observe", "Suspended"] = Field(
        default="Enforce",
        description="Enforce: the policy is in force. Observe, for a new policy only: it changes nothing, and "
        "status.services says what it would change. Suspended: every VirtualService it contributed to stays as it is, "
        "for all policies, until the mode is Enforce again.",
    )
    services: ServiceSelection | None = Field(
        default=None, description="Which Services of this namespace the policy governs. When absent: all eligible ones."
    )
    developers: Annotated[tuple[Developer, ...], Field(max_length=256)] | None = Field(
        default=None,
        description="The developers, by name.",
        json_schema_extra=_schema(list_type="map", list_map_keys=["name"]),
    )
    developers_from: DevelopersFrom | None = Field(
        default=None,
        description="Developers found by the labels of namespaces, united with `developers`. When neither is set: "
        "namespaces that carry the label virtualservice-operator.dev/developer.",
    )
    matches: Annotated[tuple[Match, ...], Field(min_length=1, max_length=8)] | None = Field(
        default=None,
        description="How a request names its developer; any one of these is enough. When absent: the header "
        "x-developer equals the developer's name.",
        json_schema_extra=_ATOMIC,
    )

    copies: Copies | None = Field(
        default=None, description="What happens where there is no copy. Taken whole from the first policy that sets it."
    )
    placeholder: PlaceholderPolicy | None = Field(
        default=None,
        description="Services that stand in for missing copies, in namespaces that permit it with the annotation "
        "virtualservice-operator.dev/allow-policies-from. Taken whole from the first policy that sets it.",
    )
    default_route: RouteSettings | None = Field(
        default=None,
        description="Settings of the rules that lead to the Service itself. Taken whole from the first policy that "
        "sets it.",
    )
    developer_route: RouteSettings | None = Field(
        default=None,
        description="Settings of the rules that lead to copies. Taken whole from the first policy that sets it.",
    )
    export_to: Annotated[tuple[ExportScope, ...], Field(min_length=1, max_length=64)] | None = Field(
        default=None,
        description="Namespaces whose clients follow the VirtualService: names, or . for its own, or * alone for all. "
        "When absent: the mesh's default. Taken whole from the first policy that sets it.",
        json_schema_extra=_SET
        | _schema(
            validations=[_rule("!('*' in self) || size(self) == 1", "'*' stands for all namespaces: write it alone")]
        ),
    )
    routed_to_header: RoutedToHeader | None = Field(
        default=None,
        description="A response header, in lower case, that says who answered, as namespace/service; not host. When "
        "absent: none. Taken from the first policy that sets it.",
        json_schema_extra=_schema(validations=[_rule("self != 'host'", _NOT_SET)]),
    )
    virtual_service_for: Literal["EveryService", "RoutedServices"] | None = Field(
        default=None,
        description="EveryService: each governed Service has a VirtualService; RoutedServices: only those with a rule "
        "beside the default. When absent: EveryService. Taken from the first policy that sets it.",
    )
    foreign_virtual_services: Literal["Yield", "Keep"] | None = Field(
        default=None,
        description="Where somebody else's VirtualService in this namespace claims a Service's host: Yield leaves the "
        "Service to it; Keep writes ours all the same, and Istio takes the older one. When absent: Yield. Taken from the "
        "first policy that sets it.",
    )
    template: PolicyTemplate | None = Field(
        default=None,
        description="Jinja2 text that makes the VirtualService, or a developer's rules in it. Taken whole from the first "
        "policy that sets it.",
    )

    @model_validator(mode="after")
    def _developers_are_unique(self) -> Self:
        names = [developer.name for developer in self.developers or ()]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"developers: {repeated[0]!r} is listed twice; keep one entry")
        return self


class ConditionStatus(Model):
    """One condition, as metav1.Condition."""

    type: Annotated[str, StringConstraints(min_length=1, max_length=316)] = Field(
        description="What the condition speaks of."
    )
    status: Literal["True", "False", "Unknown"] = Field(description="True, False or Unknown.")
    observed_generation: Annotated[int, Field(ge=0)] | None = Field(
        default=None,
        description="The generation of the spec this was said of.",
        json_schema_extra={"format": "int64"},
    )
    last_transition_time: str = Field(
        description="When `status` last changed.", json_schema_extra={"format": "date-time"}
    )
    reason: Annotated[str, StringConstraints(min_length=1, max_length=256)] = Field(
        description="Why, in one CamelCase word from the list in docs/status.md."
    )
    message: Annotated[str, StringConstraints(max_length=4096)] = Field(
        description="Why, for a person, with the remedy."
    )


class ServiceStatus(Model):
    """How one governed Service stands."""

    # A Service's has 63 at the most, but that of a VirtualService made by hand, with our mark, is frozen just as well.
    name: str = Field(description="The Service's name.", max_length=253)
    state: str = Field(
        description="Programmed, PartiallyProgrammed, Overridden, Skipped, Observed, Frozen, Failed or Pending.",
        max_length=32,
    )
    reason: str = Field(description="Why, in one CamelCase word from the list in docs/status.md.", max_length=64)
    planned_change: str | None = Field(
        default=None,
        description="What a policy in mode Observe would do to the VirtualService: create, update, delete, none, or "
        "conflict where it could not.",
        max_length=16,
    )
    message: str | None = Field(default=None, description="Why, for a person, with the remedy.", max_length=256)
    virtual_service_name: str | None = Field(
        default=None, description="The VirtualService that was written for it.", max_length=253
    )
    # No pattern here: a status that the API server refuses would leave the policy Pending for good.
    developers: Annotated[tuple[Annotated[str, StringConstraints(max_length=63)], ...], Field(max_length=8)] | None = (
        Field(
            default=None,
            description="Developers for whom this policy has a rule; the first eight.",
            json_schema_extra=_ATOMIC,
        )
    )
    omitted_developers: int | None = Field(
        default=None, description="How many more there are.", json_schema_extra={"format": "int32"}
    )


def _count(description: str) -> Any:
    return Field(default=None, description=description, json_schema_extra={"format": "int32"})


class RoutingPolicyStatus(Model):
    """What the operator has done about the policy."""

    observed_generation: int | None = Field(
        default=None,
        description="The generation that is carried out in full; while it is behind, Reconciling is True.",
        json_schema_extra={"format": "int64"},
    )
    services_ready: str | None = Field(
        default=None, description="Programmed Services of those that can be, such as 11/12.", max_length=32
    )
    matched_services: int | None = _count("Services the policy governs, skipped ones included.")
    programmed_services: int | None = _count("Services whose routing is as the policies want it.")
    skipped_services: int | None = _count("Services that cannot or should not be routed; `services` says why.")
    failed_services: int | None = _count("Services whose VirtualService could not be written; `services` says why.")
    developers: int | None = _count("Developers the policy knows.")
    developer_routes: int | None = _count("Pairs of Service and developer that are routed to a copy.")
    placeholders: int | None = _count("Pairs of Service and developer for which a placeholder stands.")
    conditions: Annotated[tuple[ConditionStatus, ...], Field(max_length=16)] | None = Field(
        default=None,
        description="Ready sums up Accepted (the spec is valid and allowed) and Programmed (the VirtualServices are "
        "written). ResolvedRefs tells of namespaces and copies that could not be used. Conflicted, Suspended, "
        "Observed, Reconciling and Stalled are there only while they are True.",
        json_schema_extra=_schema(list_type="map", list_map_keys=["type"]),
    )
    services: Annotated[tuple[ServiceStatus, ...], Field(max_length=64)] | None = Field(
        default=None,
        description="The governed Services, problems first; the first 64.",
        json_schema_extra=_schema(list_type="map", list_map_keys=["name"]),
    )
    omitted_services: int | None = _count("How many more governed Services there are.")


class RoutingPolicy(Model):
    """Says which Services of its namespace are routed to developers' copies, and how a request names its developer."""

    spec: RoutingPolicySpec = Field(description="What is asked for. `{}` is a complete policy.")
    status: RoutingPolicyStatus | None = Field(default=None, description="What the operator has done about it.")
