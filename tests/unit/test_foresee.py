from typing import Any

import pytest

from builders import key
from virtualservice_operator.core.foresee import Prospect, foresee

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
    assert foresee(Prospect(without), Prospect(with_it)) == expected


def test_another_policy_in_the_annotation_alone_is_no_change() -> None:
    other = {**document(DEFAULT), "metadata": {"annotations": {"virtualservice-operator.dev/policies": "a,b"}}}
    assert foresee(Prospect(document(DEFAULT)), Prospect(other))[0] == "none"


def test_more_than_three_rules_are_counted() -> None:
    rules = [{**ALICE, "name": f"p.d{number}"} for number in range(5)]
    before, after = Prospect(document(DEFAULT)), Prospect(document(*rules, DEFAULT))
    assert foresee(before, after)[1] == "would add p.d0, p.d1, p.d2 and 2 more"


# ---- placeholders


def prospect(document_: dict[str, Any] | None, **placeholders: str | None) -> Prospect:
    """Return what is wanted, with placeholders of `reviews` by namespace and where they lead."""
    found = {key(f"{namespace}/reviews"): leads_to for namespace, leads_to in placeholders.items()}
    return Prospect(document_, found)


@pytest.mark.parametrize(
    ("without", "with_it", "expected"),
    [
        pytest.param(
            prospect(document(DEFAULT)),
            prospect(document(DEFAULT), alice="x"),
            ("update", "would create placeholder alice/reviews"),
            id="created",
        ),
        pytest.param(
            prospect(document(DEFAULT), alice="x"),
            prospect(document(DEFAULT)),
            ("update", "would remove placeholder alice/reviews"),
            id="removed",
        ),
        pytest.param(
            prospect(document(DEFAULT), alice="x"),
            prospect(document(DEFAULT), alice=None),
            ("update", "would change placeholder alice/reviews"),
            id="changed",
        ),
        pytest.param(
            prospect(document(DEFAULT), alice="x"),
            prospect(document(DEFAULT), alice="x"),
            ("none", "would change nothing"),
            id="as it is",
        ),
        pytest.param(
            prospect(document(ALICE, DEFAULT)),
            prospect(document(DEFAULT), alice="x", bob="x"),
            ("update", "would remove defaults.alice; create placeholder alice/reviews, bob/reviews"),
            id="beside rules",
        ),
        pytest.param(
            prospect(None),
            prospect(document(DEFAULT), alice="x"),
            ("create", "would create a VirtualService with default; create placeholder alice/reviews"),
            id="beside a new one",
        ),
        pytest.param(
            prospect(document(DEFAULT), alice="x"),
            prospect(None),
            ("delete", "would take the VirtualService away; remove placeholder alice/reviews"),
            id="beside one that goes",
        ),
        pytest.param(
            prospect(document(DEFAULT)),
            prospect(document(DEFAULT), a="x", b="x", c="x", d="x", e="x"),
            ("update", "would create placeholder a/reviews, b/reviews, c/reviews and 2 more"),
            id="many",
        ),
    ],
)
def test_placeholders_that_would_come_and_go_are_said(
    without: Prospect, with_it: Prospect, expected: tuple[str, str]
) -> None:
    assert foresee(without, with_it) == expected
