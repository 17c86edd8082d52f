"""Settings of the rules that lead somewhere: how long a request may take, how often it is tried again."""

import re
from decimal import Decimal
from typing import Annotated, ClassVar, Final

from pydantic import Field, StringConstraints

from virtualservice_operator.api.v1alpha1.fields import NUMBER, Model
from virtualservice_operator.api.v1alpha1.rules import Rule, Ruled, fits, quoted, shaped

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
_DURATION: Final = r"^([0-9]+(\.[0-9]+)?(h|m|s|ms))+$"
# CEL's duration() fails on what has more than 63 bits of nanoseconds, and the person reads of a conversion. Each of these
# is well below, even repeated, and none with more digits is within the limit.
_MEASURABLE: Final = (
    r"^(0*[0-9]{1,5}([.][0-9]+)?h|0*[0-9]{1,7}([.][0-9]+)?m|0*[0-9]{1,9}([.][0-9]+)?s|0*[0-9]{1,12}([.][0-9]+)?ms)+$"
)
_LONGEST: Final = "99999h"
_MILLISECONDS: Final = {"h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}


def _milliseconds(duration: str) -> Decimal:
    """Return how long a duration is; exact, as Go is for all in whole milliseconds."""
    parts = re.findall(r"([0-9.]+)(h|ms|m|s)", duration)
    return sum((Decimal(number) * _MILLISECONDS[unit] for number, unit in parts), Decimal(0))


def _is_within_limits(text: str) -> bool:
    return fits(_MEASURABLE, text) and _milliseconds(text) <= _milliseconds(_LONGEST)


# As Istio reads durations. What has no such shape breaks the first rule only, and CEL reads no duration from it.
Duration = Annotated[
    str,
    StringConstraints(min_length=2, max_length=32),
    shaped(
        _DURATION,
        "must be a number with a unit, h, m, s or ms, such as 1.5s, or several of them, such as 1m30s",
        Rule(
            f"!self.matches({quoted(_MEASURABLE)}) || duration(self) >= duration('1ms')",
            "must be 1ms or more: Istio knows no shorter one; for no limit leave the field out",
            lambda text: not fits(_MEASURABLE, text) or _milliseconds(text) >= 1,
        ),
        Rule(
            f"!self.matches({quoted(_DURATION)}) || "
            f"(self.matches({quoted(_MEASURABLE)}) && duration(self) <= duration('{_LONGEST}'))",
            f"must be {_LONGEST} or less; for no limit leave the field out",
            lambda text: not fits(_DURATION, text) or _is_within_limits(text),
        ),
        Rule(
            f"!self.matches({quoted(_DURATION)}) || self.matches({quoted(WHOLE_MILLISECONDS)})",
            "must be in whole milliseconds, with three decimals at the most, such as 1.5s: Istio knows no finer one",
            lambda text: not fits(_DURATION, text) or fits(WHOLE_MILLISECONDS, text),
        ),
    ),
]
RetryOn = Annotated[
    str,
    StringConstraints(min_length=1, max_length=256),
    Ruled(
        (
            Rule(
                f"self.split(',').all(item, item in {list(RETRY_CONDITIONS)} || item.matches({quoted(RETRY_STATUS)}))",
                "takes statuses of HTTP and these conditions, parted by commas without spaces: "
                + ", ".join(RETRY_CONDITIONS),
                lambda text: all(item in RETRY_CONDITIONS or fits(RETRY_STATUS, item) for item in text.split(",")),
            ),
        )
    ),
]


class Retries(Model):
    """How often a request is tried again, as Istio's HTTPRetry."""

    RULES: ClassVar = (
        Rule(
            "self.attempts > 0 || (!has(self.perTryTimeout) && !has(self.retryOn))",
            "attempts: 0 stands alone: without retries there is nothing that perTryTimeout and retryOn could say",
            lambda retries: retries.attempts > 0 or (retries.per_try_timeout is None and retries.retry_on is None),
        ),
    )

    attempts: Annotated[int, Field(ge=0, le=100), NUMBER] = Field(
        description="How often, at the most; 0 turns retries off.", json_schema_extra={"format": "int32"}
    )
    per_try_timeout: Duration | None = Field(
        default=None, description="How long each try may take, such as 500ms. When absent: as long as the request."
    )
    retry_on: RetryOn | None = Field(
        default=None,
        description="Envoy's conditions and statuses of HTTP, such as 5xx,connect-failure,409. When absent: Istio's default.",
    )


class RouteSettings(Model):
    """Settings of the rules that lead to one kind of destination."""

    timeout: Duration | None = Field(
        default=None, description="How long a request may take, such as 60s. When absent: as long as it wants."
    )
    retries: Retries | None = Field(
        default=None, description="How often a request is tried again. When absent: Istio's default, twice."
    )
