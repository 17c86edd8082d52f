from typing import Any

import pytest

from virtualservice_operator.api.conditions import (
    Condition,
    ConditionType,
    Reason,
    ServiceState,
    merge_conditions,
    pending_conditions,
)

OLD = "2026-01-01T00:00:00Z"
NOW = "2026-02-02T00:00:00Z"
READY = Condition(ConditionType.READY, "True", Reason.PROGRAMMED, "all is well")


def known(**changes: Any) -> dict[str, Any]:
    found = {"type": "Ready", "status": "True", "reason": "Programmed", "message": "", "lastTransitionTime": OLD}
    return {**found, **changes}


def merged(*before: dict[str, Any], now_true: Condition = READY, generation: int = 3) -> list[dict[str, Any]]:
    return merge_conditions(before, [now_true], generation=generation, now=NOW)


def test_a_new_condition_is_stored_whole() -> None:
    assert merged() == [
        {
            "type": "Ready",
            "status": "True",
            "reason": "Programmed",
            "message": "all is well",
            "observedGeneration": 3,
            "lastTransitionTime": NOW,
        }
    ]


@pytest.mark.parametrize(
    "before",
    [
        pytest.param(known(), id="nothing"),
        pytest.param(known(reason="PartiallyProgrammed"), id="reason"),
        pytest.param(known(message="x"), id="message"),
        pytest.param(known(observedGeneration=1), id="generation"),
    ],
)
def test_the_time_stays_while_the_status_stays_whatever_else_changed(before: dict[str, Any]) -> None:
    assert merged(before)[0]["lastTransitionTime"] == OLD


@pytest.mark.parametrize("status", ["False", "Unknown"])
def test_the_time_moves_with_the_status(status: str) -> None:
    assert merged(known(status=status))[0]["lastTransitionTime"] == NOW


def test_the_time_of_another_condition_does_not_count() -> None:
    assert merged(known(type="Accepted"))[0]["lastTransitionTime"] == NOW


def test_a_condition_that_is_not_named_is_dropped() -> None:
    assert [item["type"] for item in merged(known(), known(type="Conflicted"))] == ["Ready"]


def test_conditions_keep_the_order_in_which_they_are_given() -> None:
    given = [READY, Condition(ConditionType.ACCEPTED, "True", Reason.ACCEPTED)]
    found = merge_conditions([known(type="Accepted"), known()], given, generation=1, now=NOW)
    assert [item["type"] for item in found] == ["Ready", "Accepted"]


def test_what_is_stored_is_plain_text() -> None:
    assert {type(item[field]) for item in merged() for field in ("type", "reason", "status")} == {str}


def test_an_unseen_policy_has_four_conditions_that_nobody_takes_for_finished() -> None:
    assert [(item["type"], item["status"], item["reason"]) for item in pending_conditions()] == [
        ("Ready", "Unknown", "Pending"),
        ("Accepted", "Unknown", "Pending"),
        ("ResolvedRefs", "Unknown", "Pending"),
        ("Programmed", "Unknown", "Pending"),
    ]


def test_an_unseen_policys_conditions_are_those_of_the_contract() -> None:
    assert pending_conditions()[0] == {
        "type": "Ready",
        "status": "Unknown",
        "reason": "Pending",
        "message": "Waiting for the operator",
        "lastTransitionTime": "1970-01-01T00:00:00Z",
    }


@pytest.mark.parametrize("reason", list(Reason))
def test_a_reason_is_one_camel_case_word(reason: Reason) -> None:
    assert reason.isalnum()
    assert reason[0].isupper()


def test_states_are_listed_problems_first() -> None:
    assert [str(state) for state in ServiceState][:3] == ["Failed", "Frozen", "Pending"]
    assert list(ServiceState)[-1] == "Programmed"
