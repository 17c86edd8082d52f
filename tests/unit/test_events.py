"""Which Event is told of a change that went through."""

import pytest

from builders import key, managed, policy
from virtualservice_operator.controller.events import Notice, event_document, name_of, policies_of, say_told, told_of
from virtualservice_operator.core.changes import Action, Change, PlaceholderChange

VIRTUAL_SERVICE = key("shop/reviews-virtual-service")
PLACEHOLDER = key("alice/reviews")


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (Action.CREATE, ("VirtualServiceCreated", "Normal", "1 VirtualService created: reviews-virtual-service")),
        (Action.UPDATE, None),
        (Action.DELETE, ("VirtualServiceDeleted", "Normal", "1 VirtualService deleted: reviews-virtual-service")),
        (Action.RELEASE, None),
    ],
)
def test_a_virtual_service_that_comes_or_goes_is_told(action: Action, expected: Notice | None) -> None:
    change = Change(action, VIRTUAL_SERVICE, "why")
    told = told_of(change, drifted=False)
    assert (say_told(told, [name_of(change)]) if told is not None else None) == expected


@pytest.mark.parametrize("action", [Action.CREATE, Action.UPDATE])
def test_a_repair_is_told_whatever_it_took(action: Action) -> None:
    told = told_of(Change(action, VIRTUAL_SERVICE, "why"), drifted=True)
    assert told is not None
    assert say_told(told, ["reviews-virtual-service"]) == (
        "DriftRepaired",
        "Warning",
        "1 VirtualService changed or deleted by somebody else and repaired: reviews-virtual-service",
    )


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (Action.CREATE, ("PlaceholderCreated", "Normal", "1 placeholder created: alice/reviews")),
        (Action.UPDATE, None),
        (Action.DELETE, ("PlaceholderRemoved", "Normal", "1 placeholder removed: alice/reviews")),
        (
            Action.RELEASE,
            (
                "PlaceholderPromoted",
                "Normal",
                "1 placeholder left to whoever has deployed the Service: alice/reviews",
            ),
        ),
    ],
)
def test_a_placeholder_that_comes_or_goes_is_told(action: Action, expected: Notice | None) -> None:
    change = PlaceholderChange(action, PLACEHOLDER, "why", policies=(key("shop/defaults"),))
    told = told_of(change, drifted=False)
    assert (say_told(told, [name_of(change)]) if told is not None else None) == expected


def test_three_objects_are_named_and_the_others_counted() -> None:
    told = told_of(Change(Action.DELETE, VIRTUAL_SERVICE, "why"), drifted=False)
    assert told is not None
    assert say_told(told, ["a", "b", "c", "d"]).message == "4 VirtualServices deleted: a, b, c and 1 more"


def test_a_deletion_is_told_to_the_policies_that_had_contributed() -> None:
    observed = managed("shop/reviews-virtual-service", policies="strict,defaults")
    found = policies_of(Change(Action.DELETE, VIRTUAL_SERVICE, "why", observed=observed))
    assert found == [key("shop/strict"), key("shop/defaults")]


def test_an_event_is_about_the_policy_and_its_message_is_bounded() -> None:
    found = event_document(policy("shop/defaults", uid="u1"), Notice("RouteTie", "Warning", "x" * 1500))
    assert found["involvedObject"] == {
        "apiVersion": "virtualservice-operator.dev/v1alpha1",
        "kind": "RoutingPolicy",
        "name": "defaults",
        "namespace": "shop",
        "uid": "u1",
    }
    assert (found["reason"], found["type"], found["message"]) == ("RouteTie", "Warning", "x" * 999 + "…")


def test_a_command_in_an_event_is_never_cut_within_a_word() -> None:
    command = "kubectl annotate namespace alice allow-policies-from=" + "pay,shop," * 100
    found = event_document(policy("shop/defaults"), Notice("ConsentMissing", "Warning", f"{'x' * 500} {command}"))
    assert found["message"].endswith(" kubectl annotate namespace alice…")
