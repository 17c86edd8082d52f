from typing import Any

import pytest

from virtualservice_operator.core.foresee import foresee

DEFAULT = {"name": "default", "route": [{"destination": {"host": "reviews.shop.svc.cluster.local"}}]}
ALICE = {"name": "defaults.alice", "route": [{"destination": {"host": "reviews.alice.svc.cluster.local"}}]}


def document(*rules: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "reviews-virtual-service"}, "spec": {"http": list(rules), **spec}}


@pytest.mark.parametrize(
    ("without", "with_it", "expected"),
    [
        (None, None, ("none", "would change nothing")),
        (document(DEFAULT), document(DEFAULT), ("none", "would change nothing")),
        (document(DEFAULT), None, ("delete", "would take the VirtualService away")),
        (None, document(ALICE, DEFAULT), ("create", "would create a VirtualService with defaults.alice, default")),
        (document(DEFAULT), document(ALICE, DEFAULT), ("update", "would add defaults.alice")),
        (document(ALICE, DEFAULT), document(DEFAULT), ("update", "would remove defaults.alice")),
        (document(DEFAULT), document({**DEFAULT, "timeout": "5s"}), ("update", "would change default")),
        (document(DEFAULT), document(DEFAULT, exportTo=["."]), ("update", "would change its settings")),
    ],
)
def test_what_would_change_is_said_in_a_word_and_a_sentence(
    without: dict[str, Any] | None, with_it: dict[str, Any] | None, expected: tuple[str, str]
) -> None:
    assert foresee(without, with_it) == expected


def test_another_policy_in_the_annotation_alone_is_no_change() -> None:
    other = {**document(DEFAULT), "metadata": {"annotations": {"virtualservice-operator.dev/policies": "a,b"}}}
    assert foresee(document(DEFAULT), other)[0] == "none"


def test_more_than_three_rules_are_counted() -> None:
    rules = [{**ALICE, "name": f"p.d{number}"} for number in range(5)]
    assert foresee(document(DEFAULT), document(*rules, DEFAULT))[1] == "would add p.d0, p.d1, p.d2 and 2 more"
