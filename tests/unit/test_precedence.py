from typing import Any

import pytest

from builders import policy, resolved, snapshot, spec_of
from virtualservice_operator.core.precedence import (
    Specificity,
    explain_win,
    in_precedence,
    is_tie,
    specificity,
)
from virtualservice_operator.core.resolution import ResolvedPolicy

NAMED = {"services": {"names": ["reviews"]}}
SELECTED: dict[str, Any] = {"services": {"selector": {"matchLabels": {"tier": "api"}}}}


def given(name: str, spec: dict[str, Any] | None = None) -> ResolvedPolicy:
    return resolved(snapshot(policy(f"shop/{name}", spec or {})), f"shop/{name}")


def order(*policies: ResolvedPolicy) -> list[str]:
    return [found.policy.key.name for found in in_precedence(policies)]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param({}, Specificity.ALL, id="no services"),
        pytest.param({"services": {}}, Specificity.ALL, id="services empty"),
        pytest.param({"services": {"excludedNames": ["a"]}}, Specificity.ALL, id="excluded names only"),
        pytest.param(SELECTED, Specificity.SELECTED, id="selector"),
        pytest.param({"services": {"selector": {}}}, Specificity.SELECTED, id="selector empty"),
        pytest.param(NAMED, Specificity.NAMED, id="names"),
        pytest.param({"services": {"names": ["a"], "selector": {}}}, Specificity.NAMED, id="names and selector"),
    ],
)
def test_specificity_is_that_of_the_narrowest_field(spec: dict[str, Any], expected: Specificity) -> None:
    assert specificity(spec_of(policy("shop/defaults", spec))) is expected


def test_the_higher_priority_goes_first() -> None:
    assert order(given("a", {"priority": -1}), given("b"), given("c", {"priority": 1000})) == ["c", "b", "a"]


def test_priority_goes_before_specificity() -> None:
    assert order(given("a", NAMED), given("b", {"priority": 1})) == ["b", "a"]


def test_names_go_before_a_selector_and_that_before_all() -> None:
    assert order(given("a"), given("b", SELECTED), given("c", NAMED)) == ["c", "b", "a"]


def test_among_equals_the_name_decides() -> None:
    assert order(given("b"), given("c"), given("a")) == ["a", "b", "c"]


def test_age_does_not_count() -> None:
    old = resolved(snapshot(policy("shop/b", {}, creationTimestamp="2020-01-01T00:00:00Z")), "shop/b")
    new = resolved(snapshot(policy("shop/a", {}, creationTimestamp="2025-01-01T00:00:00Z")), "shop/a")
    assert order(old, new) == ["a", "b"]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        pytest.param({}, {}, True, id="equal"),
        pytest.param(NAMED, {"services": {"names": ["orders", "reviews"]}}, True, id="both by name"),
        pytest.param({"priority": 1}, {}, False, id="another priority"),
        pytest.param(NAMED, SELECTED, False, id="another specificity"),
        pytest.param({"priority": 1, **NAMED}, {"priority": 1}, False, id="one priority, another specificity"),
    ],
)
def test_a_tie_is_decided_by_names_only(first: dict[str, Any], second: dict[str, Any], *, expected: bool) -> None:
    assert is_tie(given("a", first), given("b", second)) is expected


@pytest.mark.parametrize(
    ("winner", "loser", "expected"),
    [
        pytest.param(
            given("a", {"priority": 10}), given("b", {"priority": -5}), "by priority 10 over -5", id="priority"
        ),
        pytest.param(given("a", NAMED), given("b", SELECTED), "by naming the Service", id="names over selector"),
        pytest.param(given("a", NAMED), given("b"), "by naming the Service", id="names over all"),
        pytest.param(given("a", SELECTED), given("b"), "by selecting by label", id="selector over all"),
        pytest.param(given("a"), given("b"), "by name only; give one of them a higher priority", id="name"),
        pytest.param(given("a"), given("a"), "by its place in the policy", id="the same policy"),
    ],
)
def test_a_win_is_explained(winner: ResolvedPolicy, loser: ResolvedPolicy, expected: str) -> None:
    assert explain_win(winner, loser) == expected
