"""
What the operator says of a RoutingPolicy.

Nothing computed may miss a limit here: the API server would refuse the status, and the policy would be Pending for good.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from virtualservice_operator.api.v1alpha1.fields import ATOMIC, Model, extension


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
        description="What a policy in mode Observe would do: create or delete the VirtualService, update it or its "
        "placeholders, none, or conflict where it could not, or where only the names of policies would decide.",
        max_length=16,
    )
    message: str | None = Field(default=None, description="Why, for a person, with the remedy.", max_length=256)
    virtual_service_name: str | None = Field(
        default=None, description="The VirtualService that was written for it.", max_length=253
    )
    developers: Annotated[tuple[Annotated[str, StringConstraints(max_length=63)], ...], Field(max_length=8)] | None = (
        Field(
            default=None,
            description="Developers for whom this policy has a rule; the first eight.",
            json_schema_extra=ATOMIC,
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
        json_schema_extra=extension(list_type="map", list_map_keys=["type"]),
    )
    services: Annotated[tuple[ServiceStatus, ...], Field(max_length=64)] | None = Field(
        default=None,
        description="The governed Services, problems first; 64 of them, or as many as 30 KiB hold.",
        json_schema_extra=extension(list_type="map", list_map_keys=["name"]),
    )
    omitted_services: int | None = _count("How many more governed Services there are.")
