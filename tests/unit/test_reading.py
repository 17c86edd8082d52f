"""A spec and all that is wrong with it, also where a mistake in a part hides one about the whole."""

from typing import Any

import pytest

from virtualservice_operator.api.v1alpha1 import read_spec

TWICE = [{"name": "a", "namespaces": ["x"]}] * 2
INCLUDES = [{"name": "rules", "text": "a: b"}] * 2


@pytest.mark.parametrize(
    ("spec", "about"),
    [
        pytest.param({"exportTo": ["Bad", "Bad"]}, "spec.exportTo: 'Bad' is listed twice", id="a set"),
        pytest.param({"services": {"names": ["Foo", "Foo"]}}, "spec.services.names: 'Foo' is listed twice", id="names"),
        pytest.param({"exportTo": ["*", "a"], "developers": TWICE}, "developers: 'a' is listed twice", id="developers"),
        pytest.param({"routedToHeader": "host", "template": {"includes": INCLUDES}}, "includes", id="includes"),
    ],
)
def test_a_broken_rule_hides_nothing_that_is_wrong_with_the_whole(spec: dict[str, Any], about: str) -> None:
    found, problems = read_spec(spec)
    assert found is None
    assert any(about in problem for problem in problems[1:]), problems


def test_a_spec_that_breaks_rules_only_is_read() -> None:
    found, problems = read_spec({"exportTo": ["*", "a"], "foreignVirtualServices": "Keep"})
    assert found is not None
    assert found.foreign_virtual_services == "Keep"
    assert problems == ("spec.exportTo: '*' stands for all namespaces: write it alone",)
