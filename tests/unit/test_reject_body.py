"""The body of a rejection: what nobody would want callers to read is said of the policy."""

from typing import Any

import pytest

from virtualservice_operator.api.v1alpha1 import RoutingPolicySpec
from virtualservice_operator.core.reject_body import body_problems

FIELD = "spec.copies.reject.body"


def problems(body: str) -> list[str]:
    copies: dict[str, Any] = {"whenMissing": "Reject", "reject": {"body": body}}
    return list(body_problems(RoutingPolicySpec.model_validate({"copies": copies})))


@pytest.mark.parametrize("spec", [{}, {"copies": {}}, {"copies": {"whenMissing": "Reject", "reject": {"status": 404}}}])
def test_a_policy_without_a_body_has_no_problem(spec: dict[str, Any]) -> None:
    assert list(body_problems(RoutingPolicySpec.model_validate(spec))) == []


def test_a_body_that_long_names_make_too_long_is_refused_whatever_the_services_are_called() -> None:
    (found,) = problems("{{ ServiceName }}" * 230)
    assert found == (
        f"{FIELD}: '{'{{ ServiceName }}' * 3}{{{{ Servi…' has 14490 characters when each variable takes 63; an answer has 8192 "
        "at the most; shorten it, or use fewer variables"
    )


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("x" * 4096, id="without variables"),
        pytest.param("{{ DeveloperName }}" * 130 + "xx", id="8192 with the longest names"),
        pytest.param("\u00e9" * 4096, id="characters and not bytes"),
    ],
)
def test_a_body_that_fits_is_taken(body: str) -> None:
    assert problems(body) == []


def test_one_character_more_is_too_long() -> None:
    assert "has 8193 characters" in problems("{{ DeveloperName }}" * 130 + "xxx")[0]


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        pytest.param("no copy for {{DeveloperNmae}}", "DeveloperNmae", id="misspelt"),
        pytest.param("{{ developerName }}", "developerName", id="of another case"),
        pytest.param("{{ .ServiceName }}", ".ServiceName", id="as in Go's templates"),
        pytest.param("{{ DeveloperName | upper }}", "DeveloperName | upper", id="with a filter"),
        pytest.param("{{ ServiceName }}: {{ Developer.Name }}", "Developer.Name", id="beside one that is right"),
        pytest.param('{"a":{"b":{{ Service }}}}', "Service", id="in JSON"),
    ],
)
def test_a_variable_that_is_none_is_refused_and_not_served(body: str, shown: str) -> None:
    (found,) = problems(body)
    assert found == (
        f"{FIELD}: {{{{ {shown} }}}} is not a variable; use one of ServiceName, ServiceNamespace, DeveloperName, "
        "DeveloperNamespace"
    )


@pytest.mark.parametrize(
    "body",
    [
        pytest.param('{"a":{"b":{{ ServiceName }}}}', id="a variable before closing braces"),
        pytest.param('{"error":{"code":404,"of":{"service":"{{ ServiceName }}"}}}', id="objects in objects"),
        pytest.param('{{"a": 1}}', id="doubled braces"),
        pytest.param("{{}}", id="nothing between"),
        pytest.param("{{ 1 }} {{ - }} {{ '' }}", id="no word between"),
        pytest.param("{{ see the handbook }}", id="several words between"),
        pytest.param("{{ ServiceName", id="not closed"),
    ],
)
def test_braces_that_are_no_variable_are_left_as_they_are(body: str) -> None:
    assert problems(body) == []


def test_all_problems_of_a_body_are_said() -> None:
    assert len(problems("{{ Service }}" + "{{ ServiceName }}" * 200)) == 2


def test_no_body_takes_long() -> None:
    assert len(problems("{{A" + " " * 4000 + "!}}")) == 0
