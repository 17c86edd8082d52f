"""Which Services a policy governs, and who the developers are."""

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, StringConstraints

from virtualservice_operator.api.v1alpha1.fields import (
    ATOMIC,
    DISTINCT,
    SET,
    DeveloperName,
    DnsLabel,
    LabelKey,
    LabelValue,
    Model,
    extension,
)
from virtualservice_operator.api.v1alpha1.rules import Rule


class LabelSelectorRequirement(Model):
    """One requirement of a label selector."""

    RULES: ClassVar = (
        Rule(
            "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
            "operators In and NotIn need values; Exists and DoesNotExist take none",
            lambda requirement: (requirement.operator in ("In", "NotIn")) == bool(requirement.values),
        ),
    )

    key: LabelKey = Field(description="The label's key.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(
        description="How the label relates to `values`: In, NotIn, Exists or DoesNotExist."
    )
    values: Annotated[tuple[LabelValue, ...], Field(max_length=32)] | None = Field(
        default=None, description="The values for In and NotIn; none for the others.", json_schema_extra=ATOMIC
    )


class LabelSelector(Model):
    """A label selector as everywhere in Kubernetes: all of its requirements must hold."""

    model_config = ConfigDict(json_schema_extra=extension(map_type="atomic"))

    match_labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=16)] | None = Field(
        default=None, description="Labels that must be there with exactly these values."
    )
    match_expressions: Annotated[tuple[LabelSelectorRequirement, ...], Field(max_length=16)] | None = Field(
        default=None, description="Further requirements.", json_schema_extra=ATOMIC
    )


class ServiceSelection(Model):
    """Which Services of the policy's own namespace it governs."""

    names: Annotated[tuple[DnsLabel, ...], Field(min_length=1, max_length=128), DISTINCT] | None = Field(
        default=None,
        description="Exact names. When absent, every eligible Service of the namespace, as far as `selector` allows.",
        json_schema_extra=SET,
    )
    excluded_names: Annotated[tuple[DnsLabel, ...], Field(max_length=128), DISTINCT] | None = Field(
        default=None,
        description="Exact names that are left out, whatever else selects them.",
        json_schema_extra=SET,
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
        json_schema_extra=ATOMIC,
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
