from typing import Any

import pytest

from virtualservice_operator.api.v1alpha1 import LabelSelector
from virtualservice_operator.core.labels import matches

LABELS = {"tier": "api", "team": "checkout", "empty": ""}


def selector(**fields: Any) -> LabelSelector:
    return LabelSelector.model_validate(fields)


def expression(key: str, operator: str, *values: str) -> LabelSelector:
    found: dict[str, Any] = {"key": key, "operator": operator}
    return selector(matchExpressions=[{**found, "values": list(values)} if values else found])


@pytest.mark.parametrize(
    ("wanted", "holds"),
    [
        pytest.param(selector(), True, id="nothing is required"),
        pytest.param(selector(matchLabels={}), True, id="no label is required"),
        pytest.param(selector(matchLabels={"tier": "api"}), True, id="label equal"),
        pytest.param(selector(matchLabels={"tier": "web"}), False, id="label of another value"),
        pytest.param(selector(matchLabels={"zone": "a"}), False, id="label absent"),
        pytest.param(selector(matchLabels={"empty": ""}), True, id="empty value equal"),
        pytest.param(selector(matchLabels={"zone": ""}), False, id="absent is not empty"),
        pytest.param(selector(matchLabels={"tier": "api", "team": "checkout"}), True, id="both labels"),
        pytest.param(selector(matchLabels={"tier": "api", "team": "search"}), False, id="one of two labels"),
        pytest.param(expression("tier", "In", "web", "api"), True, id="In, with the value"),
        pytest.param(expression("tier", "In", "web"), False, id="In, without the value"),
        pytest.param(expression("zone", "In", "a"), False, id="In, label absent"),
        pytest.param(expression("tier", "NotIn", "web"), True, id="NotIn, without the value"),
        pytest.param(expression("tier", "NotIn", "web", "api"), False, id="NotIn, with the value"),
        pytest.param(expression("zone", "NotIn", "a"), True, id="NotIn, label absent"),
        pytest.param(expression("empty", "Exists"), True, id="Exists, value empty"),
        pytest.param(expression("zone", "Exists"), False, id="Exists, label absent"),
        pytest.param(expression("zone", "DoesNotExist"), True, id="DoesNotExist, label absent"),
        pytest.param(expression("empty", "DoesNotExist"), False, id="DoesNotExist, value empty"),
    ],
)
def test_a_selector_is_evaluated_as_kubernetes_does(wanted: LabelSelector, *, holds: bool) -> None:
    assert matches(wanted, LABELS) is holds


def test_labels_and_expressions_must_both_hold() -> None:
    wanted = selector(matchLabels={"tier": "api"}, matchExpressions=[{"key": "team", "operator": "DoesNotExist"}])
    assert not matches(wanted, LABELS)


def test_every_expression_must_hold() -> None:
    wanted = selector(
        matchExpressions=[{"key": "tier", "operator": "Exists"}, {"key": "zone", "operator": "Exists"}],
    )
    assert not matches(wanted, LABELS)
