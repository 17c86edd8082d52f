"""
What a RoutingPolicy asks for.

Blocks that policies merge have no schema default: a default written into every object could no longer be told from a choice.
"""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from virtualservice_operator.api.v1alpha1.copies import Copies, PlaceholderPolicy
from virtualservice_operator.api.v1alpha1.fields import (
    ATOMIC,
    DISTINCT,
    HEADER_NAME,
    LOWER_HEADER_NAME,
    NUMBER,
    SET,
    Model,
    extension,
)
from virtualservice_operator.api.v1alpha1.matches import Match
from virtualservice_operator.api.v1alpha1.routes import RouteSettings
from virtualservice_operator.api.v1alpha1.rules import Rule, Ruled, fits, quoted, repeated, shaped
from virtualservice_operator.api.v1alpha1.selection import Developer, DevelopersFrom, ServiceSelection
from virtualservice_operator.api.v1alpha1.template import PolicyTemplate

ExportScope = Annotated[
    str,
    StringConstraints(min_length=1, max_length=63),
    shaped(
        r"^([*.]|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$",
        "must be a namespace's name, or . for the policy's own, or * for all",
    ),
]
RoutedToHeader = Annotated[
    str,
    StringConstraints(min_length=1, max_length=128),
    Ruled(
        (
            Rule(
                f"self.matches({quoted(HEADER_NAME)})",
                "must be lower-case letters, digits and !#$%&'*+.^_|~- only, without a space, such as x-routed-to",
                lambda text: fits(HEADER_NAME, text),
            ),
            Rule(
                f"!self.matches({quoted(HEADER_NAME)}) || self == self.lowerAscii()",
                "header names are lower case",
                lambda text: not fits(HEADER_NAME, text) or text == text.lower(),
                write=("self.lowerAscii()", lambda text: text.lower()),
            ),
            Rule(
                "self != 'host'",
                "host cannot be set in a response: choose another header, such as x-routed-to",
                lambda text: text != "host",
            ),
        ),
        LOWER_HEADER_NAME,
    ),
]


class RoutingPolicySpec(Model):
    """What a RoutingPolicy asks for. An empty spec routes x-developer to every namespace labelled for a developer."""

    RULES: ClassVar = (
        Rule(
            "self.mode != 'Observe' || oldSelf.mode == 'Observe'",
            "only a new policy can be in mode Observe, because this one's routes would go at once; to pause it "
            "set mode: Suspended, to take its routes away delete it",
            None,
            field="mode",
        ),
        Rule(
            "!has(self.copies) || !has(self.copies.whenMissing) || self.copies.whenMissing != 'Reject' || "
            "!has(self.placeholder) || !has(self.placeholder.mode) || "
            "!(self.placeholder.mode in ['ExternalName', 'NoEndpoints'])",
            "placeholder.mode ExternalName and NoEndpoints answer for a missing copy, and so does "
            "copies.whenMissing: Reject; choose one",
            lambda spec: (
                spec.copies is None
                or spec.copies.when_missing != "Reject"
                or spec.placeholder is None
                or spec.placeholder.mode not in ("ExternalName", "NoEndpoints")
            ),
            field="placeholder",
        ),
    )

    priority: Annotated[int, Field(ge=-1000, le=1000), NUMBER] = Field(
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
        json_schema_extra=extension(list_type="map", list_map_keys=["name"]),
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
        json_schema_extra=ATOMIC,
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
    export_to: (
        Annotated[
            tuple[ExportScope, ...],
            Field(min_length=1, max_length=64),
            DISTINCT,
            Ruled(
                (
                    Rule(
                        "!('*' in self) || size(self) == 1",
                        "'*' stands for all namespaces: write it alone",
                        lambda scopes: "*" not in scopes or len(scopes) == 1,
                    ),
                )
            ),
        ]
        | None
    ) = Field(
        default=None,
        description="Namespaces whose clients follow the VirtualService: names, or . for its own, or * alone for all. "
        "When absent: the mesh's default. Taken whole from the first policy that sets it.",
        json_schema_extra=SET,
    )
    routed_to_header: RoutedToHeader | None = Field(
        default=None,
        description="A response header, in lower case, that says who answered, as namespace/service; not host. When "
        "absent: none. Taken from the first policy that sets it.",
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
        for name in repeated([developer.name for developer in self.developers or ()]):
            raise ValueError(f"developers: {name!r} is listed twice; keep one entry")
        return self
