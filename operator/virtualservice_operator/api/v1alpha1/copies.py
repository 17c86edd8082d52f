"""What becomes of a developer's requests where there is no copy."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from virtualservice_operator.api.v1alpha1.fields import DNS_NAME, Model, extension, rule


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
        json_schema_extra=extension(
            validations=[
                rule(
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
        json_schema_extra=extension(
            validations=[
                rule(
                    "!has(self.externalName) || (has(self.mode) && self.mode == 'ExternalName')",
                    "externalName is for mode ExternalName only",
                    fieldPath=".externalName",
                ),
                rule(
                    "!has(self.createFor) || self.createFor != 'AllServices' || "
                    "(has(self.mode) && self.mode == 'Alias')",
                    "createFor: AllServices is for mode Alias only: with the others every request would be answered 503",
                    fieldPath=".createFor",
                ),
                rule(
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
