"""What the models refuse by themselves, as the CRD's rules do: `vso render` has no API server."""

from typing import Any

import pytest
from pydantic import ValidationError

from virtualservice_operator.api.v1alpha1 import RETRY_CONDITIONS, RoutingPolicySpec


def refusal(spec: dict[str, Any]) -> str:
    with pytest.raises(ValidationError) as error:
        RoutingPolicySpec.model_validate(spec)
    return str(error.value)


@pytest.mark.parametrize("duration", ["1ms", "1500ms", "1.5s", "1.005s", "90s", "1m30s", "1h", "1.5h", "0.001s"])
def test_a_duration_of_whole_milliseconds_is_taken(duration: str) -> None:
    assert RoutingPolicySpec.model_validate({"defaultRoute": {"timeout": duration}})


@pytest.mark.parametrize("duration", ["1.5ms", "1.0005s", "1s1.5ms", "0.0001h", "1.0ms"])
@pytest.mark.parametrize("field", ["timeout", "perTryTimeout"])
def test_a_finer_duration_is_refused(field: str, duration: str) -> None:
    settings = {"timeout": duration} if field == "timeout" else {"retries": {"attempts": 1, "perTryTimeout": duration}}
    assert "must be in whole milliseconds" in refusal({"developerRoute": settings})


@pytest.mark.parametrize(
    "conditions", ["5xx", "5xx,connect-failure", "503", "reset,404,511", ",".join(RETRY_CONDITIONS)]
)
def test_what_istio_tries_again_on_is_taken(conditions: str) -> None:
    assert RoutingPolicySpec.model_validate({"defaultRoute": {"retries": {"attempts": 1, "retryOn": conditions}}})


@pytest.mark.parametrize(
    "conditions", ["sometimes", "5xx, reset", "5xx,", "5XX", "499", "600", "306", "5xx;reset", "0503"]
)
def test_what_istio_does_not_know_is_refused(conditions: str) -> None:
    spec = {"defaultRoute": {"retries": {"attempts": 1, "retryOn": conditions}}}
    assert "takes statuses of HTTP and these conditions" in refusal(spec)


def test_the_receipt_is_not_in_the_header_host() -> None:
    assert "host cannot be set in a response" in refusal({"routedToHeader": "host"})


@pytest.mark.parametrize("duration", ["99999h", "0099999h", "5999940m", "359996400s", "359996400000ms", "99998h60m"])
def test_the_longest_duration_is_taken(duration: str) -> None:
    assert RoutingPolicySpec.model_validate({"defaultRoute": {"timeout": duration}})


@pytest.mark.parametrize(
    "duration", ["99999h1ms", "100000h", "99999h59m", "9" * 31 + "h", "2562047h48m", "9" * 31 + "s"]
)
def test_a_longer_one_is_refused_before_anybody_converts_it(duration: str) -> None:
    said = refusal({"defaultRoute": {"timeout": duration}})
    assert "must be 99999h or less; for no limit leave the field out" in said


def test_what_is_no_duration_is_told_so_and_no_more() -> None:
    assert refusal({"defaultRoute": {"timeout": "soon"}}).startswith("1 validation error")


def test_a_header_in_upper_case_is_told_how_to_write_it() -> None:
    said = refusal({"routedToHeader": "X-Routed-To", "matches": [{"type": "Header", "name": "X-Dev"}]})
    assert "header names are lower case: write x-routed-to" in said
    assert "header names are lower case: write x-dev" in said
