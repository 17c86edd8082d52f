"""Working on touched keys alone comes to the same as planning everything anew, whatever happens in whatever order."""

from typing import Any

from hypothesis import given

from builders import developers, policy
from properties.worlds import Step, beginning, plan_all, said, steps
from virtualservice_operator.core.changes import Action, Change, PlaceholderChange
from virtualservice_operator.core.objects import Service


@given(steps)
def test_after_each_step_all_is_as_if_it_were_planned_anew(taken: list[Step]) -> None:
    world = beginning()
    for step in taken:
        world.apply(step)
        told = world.told()
        for plan in plan_all(world):
            assert [change.why for change in plan.changes] == [], f"{plan.key} is left behind by {step}"
            if not plan.waiting:
                assert told.get(plan.key, {}) == said(plan), f"the policies of {plan.key} were not told of {step}"


def test_who_reaches_a_namespace_is_told_anew_to_services_that_have_no_namesake() -> None:
    """The command that grants placeholders names all that reach the namespace: too rare for random steps to meet."""
    world = beginning()
    world.apply(Step(policy("shop/p", {"placeholder": {"mode": "Alias", "createFor": "AllServices"}})))
    for listed in ([], ["alice"], ["bob"]):
        world.apply(Step(policy("pay/p", {"developers": developers(*listed)})))
        told = world.told()
        for plan in plan_all(world):
            assert told.get(plan.key, {}) == said(plan), f"the policies of {plan.key} were not told"


@given(steps)
def test_a_policy_whose_status_changes_is_reviewed(taken: list[Step]) -> None:
    world = beginning()
    for step in taken:
        before = world.statuses()
        world.reviewed.clear()
        world.apply(step)
        after = world.statuses()
        if not any(plan.waiting for plan in plan_all(world)):  # what waits for a policy to go is told when it is gone
            assert {key for key in after if after[key] != before.get(key)} <= world.reviewed, step


@given(steps)
def test_only_what_is_ours_or_offered_is_changed_and_every_status_adds_up(taken: list[Step]) -> None:
    world = beginning()
    for step in taken:
        world.apply(step)
    assert [change for change in world.changes if not may_be_made(change)] == []
    for status in world.statuses().values():
        check_sums(status)


def may_be_made(change: Change | PlaceholderChange) -> bool:
    """Tell whether a change touches only what nobody has, what is ours, or what is offered."""
    observed = change.observed
    if observed is None or change.action is Action.CREATE:
        return observed is None and change.action is Action.CREATE
    if isinstance(observed, Service):
        return observed.placed is not None and observed.placed.taken_over == (change.action is Action.RELEASE)
    match change.action:
        case Action.UPDATE:
            return (observed.marked or observed.adoptable) and not observed.released
        case Action.DELETE:
            return observed.marked and not observed.released
        case Action.RELEASE:
            return observed.marked and observed.released


def check_sums(status: dict[str, Any]) -> None:
    states = [item["state"] for item in status.get("services", ())]
    assert status["failedServices"] == states.count("Failed")
    assert status["skippedServices"] == states.count("Skipped")
    assert status["programmedServices"] == sum(
        states.count(state) for state in ("Programmed", "PartiallyProgrammed", "Overridden")
    )
    assert (
        status["servicesReady"]
        == f"{status['programmedServices']}/{status['matchedServices'] - status['skippedServices']}"
    )
    conditions = {item["type"]: item["status"] for item in status["conditions"]}
    assert (conditions["Ready"] == "True") == (conditions["Accepted"] == conditions["Programmed"] == "True")
    assert not {"Stalled", "Reconciling"} <= conditions.keys()
