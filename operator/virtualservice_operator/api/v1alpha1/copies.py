"""What becomes of a developer's requests where there is no copy."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from virtualservice_operator.api.v1alpha1.fields import DNS_NAME, NUMBER, Model
from virtualservice_operator.api.v1alpha1.rules import Rule, shaped


class Reject(Model):
    """The answer to a request that is rejected."""

    status: Annotated[int, Field(ge=400, le=599), NUMBER] | None = Field(
        default=None, description="The HTTP status. When absent: 503.", json_schema_extra={"format": "int32"}
    )
    body: Annotated[str, StringConstraints(min_length=1, max_length=4096)] | None = Field(
        default=None,
        description="The body; may use {{ ServiceName }}, {{ ServiceNamespace }}, {{ DeveloperName }} and "
        "{{ DeveloperNamespace }}, and has 8192 characters at the most when each of them takes 63. When absent: a line of JSON that names the Service and the developer.",
    )


class Copies(Model):
    """What happens to a developer's requests where there is no copy."""

    RULES: ClassVar = (
        Rule(
            "!has(self.reject) || (has(self.whenMissing) && self.whenMissing == 'Reject') || "
            "(has(self.unknownDeveloper) && self.unknownDeveloper == 'Reject')",
            "reject says how to reject, so whenMissing or unknownDeveloper must be Reject",
            lambda copies: copies.reject is None or "Reject" in (copies.when_missing, copies.unknown_developer),
            field="reject",
        ),
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

    RULES: ClassVar = (
        Rule(
            "!has(self.externalName) || (has(self.mode) && self.mode == 'ExternalName')",
            "externalName is for mode ExternalName only",
            lambda placeholder: placeholder.external_name is None or placeholder.mode == "ExternalName",
            field="externalName",
        ),
        Rule(
            "!has(self.createFor) || self.createFor != 'AllServices' || (has(self.mode) && self.mode == 'Alias')",
            "createFor: AllServices is for mode Alias only: with the others every request would be answered 503",
            lambda placeholder: placeholder.create_for != "AllServices" or placeholder.mode == "Alias",
            field="createFor",
        ),
        Rule(
            "!has(self.ttlSeconds) || !has(self.createFor) || self.createFor != 'AllServices'",
            "ttlSeconds is for createFor: DeletedCopies; with AllServices they would be made anew at once",
            lambda placeholder: placeholder.ttl_seconds is None or placeholder.create_for != "AllServices",
            field="ttlSeconds",
        ),
    )

    mode: Literal["Disabled", "ExternalName", "NoEndpoints", "Alias"] | None = Field(
        default=None,
        description="Disabled: none. ExternalName: an ExternalName Service that leads to `externalName`. NoEndpoints: a "
        "Service with the same ports and nothing behind them. With these two, the developer's requests are answered "
        "with 503 until the copy is back. Alias: an ExternalName Service that leads to the default Service, so that its "
        "short name works in the developer's namespace; their requests go to the default. When absent: Disabled.",
    )
    external_name: (
        Annotated[
            str,
            StringConstraints(min_length=1, max_length=253),
            shaped(
                DNS_NAME,
                "must be a host's name in lower case: letters, digits and dashes, parted by dots, such as placeholder.local",
            ),
        ]
        | None
    ) = Field(
        default=None,
        description="Where an ExternalName placeholder leads, a host's name in lower case. When absent: placeholder.local.",
    )
    create_for: Literal["DeletedCopies", "AllServices"] | None = Field(
        default=None,
        description="DeletedCopies: where a developer had a copy that was routed and is gone. AllServices, for Alias "
        "only: for every Service of which they have no copy. When absent: DeletedCopies.",
    )
    ttl_seconds: Annotated[int, Field(ge=60, le=31536000), NUMBER] | None = Field(
        default=None,
        description="How long a placeholder stands, in seconds since it was made. When absent: until the copy is back, "
        "or nothing refers to it.",
        json_schema_extra={"format": "int32"},
    )
