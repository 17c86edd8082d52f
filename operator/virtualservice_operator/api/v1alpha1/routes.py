"""Settings of the rules that lead somewhere: how long a request may take, how often it is tried again."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints

from virtualservice_operator.api.v1alpha1.fields import Model, extension, rule

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


def _check_duration(value: str) -> str:
    """Say what the CRD's rule says, for those who come without an API server; so do the others here."""
    if not re.fullmatch(WHOLE_MILLISECONDS, value):
        raise ValueError(f"a duration {_NOT_WHOLE}")
    return value


def _check_retry_on(value: str) -> str:
    if not all(item in RETRY_CONDITIONS or re.fullmatch(RETRY_STATUS, item) for item in value.split(",")):
        raise ValueError(_NOT_RETRIED)
    return value


# As Istio reads durations: a number and a unit, repeated.
Duration = Annotated[
    str,
    StringConstraints(min_length=2, max_length=32, pattern=r"^([0-9]+(\.[0-9]+)?(h|m|s|ms))+$"),
    AfterValidator(_check_duration),
]


def _whole_milliseconds(field: str) -> list[dict[str, str]]:
    return [
        rule(
            f"!has(self.{field}) || duration(self.{field}) >= duration('1ms')",
            f"{field} must be 1ms or more: Istio knows no shorter one",
            fieldPath=f".{field}",
        ),
        rule(
            f"!has(self.{field}) || self.{field}.matches('{WHOLE_MILLISECONDS}')",
            f"{field} {_NOT_WHOLE}",
            fieldPath=f".{field}",
        ),
    ]


class Retries(Model):
    """How often a request is tried again, as Istio's HTTPRetry."""

    model_config = ConfigDict(
        json_schema_extra=extension(
            validations=[
                rule(
                    "self.attempts > 0 || (!has(self.perTryTimeout) && !has(self.retryOn))",
                    "attempts: 0 stands alone: without retries there is nothing that perTryTimeout and retryOn could say",
                ),
                *_whole_milliseconds("perTryTimeout"),
                rule(
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

    model_config = ConfigDict(json_schema_extra=extension(validations=_whole_milliseconds("timeout")))

    timeout: Duration | None = Field(
        default=None, description="How long a request may take, such as 60s. When absent: as long as it wants."
    )
    retries: Retries | None = Field(
        default=None, description="How often a request is tried again. When absent: Istio's default, twice."
    )
