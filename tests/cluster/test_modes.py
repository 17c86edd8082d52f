"""Observe shows and changes nothing; Suspended keeps what is there."""

import pytest

from cluster.world import World, eventually, only, shop_with_alice, steadily
from controlplane.errors import ApiError


def test_a_policy_in_mode_observe_says_what_it_would_change_and_changes_nothing(world: World) -> None:
    shop_with_alice(world, "reviews", "ratings")
    before = {name: world.written(name, "shop") for name in ("reviews", "ratings")}
    world.policy(
        "trial", "shop", mode="Observe", services={"names": ["reviews"]}, developersFrom=only(world), exportTo=["."]
    )
    world.wait_condition("trial", "shop", "Ready", ("True", "Observed"))
    assert world.condition("trial", "shop", "Observed") == ("True", "Observed")
    assert world.condition("trial", "shop", "Programmed") == ("Unknown", "Observed")
    assert world.message("trial", "shop", "Ready") == "The policy only observes; it would: update 1"
    assert world.entry("trial", "shop", "reviews") == {
        "name": "reviews",
        "state": "Observed",
        "reason": "Observed",
        "plannedChange": "update",
        "message": "would change its settings",
    }
    assert {name: world.written(name, "shop") for name in before} == before
    world.delete_service("reviews", "shop")
    eventually("it is told of what happens", lambda: world.entry("trial", "shop", "reviews") == {})
    world.policy("trial", "shop", services={"names": ["ratings"]}, developersFrom=only(world), exportTo=["."])
    eventually("now it is in force", lambda: (world.written("ratings", "shop") or {})["spec"].get("exportTo") == ["."])
    world.wait_condition("trial", "shop", "Ready", ("True", "Programmed"))
    assert world.condition("trial", "shop", "Observed") is None


@pytest.mark.parametrize("mode", ["Enforce", "Suspended"])
def test_no_policy_goes_back_to_observe(world: World, mode: str) -> None:
    world.namespace("shop")
    world.policy("defaults", "shop", mode=mode, developersFrom=only(world))
    with pytest.raises(
        ApiError, match=r"spec.mode: Invalid value.*only a new policy can be in mode Observe"
    ) as refusal:
        world.policy("defaults", "shop", mode="Observe", developersFrom=only(world))
    assert "set mode: Suspended, to take its routes away delete it" in str(refusal.value)


def test_a_suspended_policy_keeps_what_it_contributed_to_and_goes_on_from_there(world: World) -> None:
    shop_with_alice(world, "reviews")
    found = only(world, "alice")
    world.policy("defaults", "shop", developersFrom=found, mode="Suspended")
    world.wait_condition("defaults", "shop", "Ready", ("False", "Suspended"))
    assert world.condition("defaults", "shop", "Programmed") == ("Unknown", "Suspended")
    assert world.condition("defaults", "shop", "Suspended") == ("True", "Suspended")
    assert world.condition("defaults", "shop", "Stalled") is None
    world.delete_service("reviews", "alice")
    world.service("ratings", "shop")
    steadily("what stood stays", lambda: world.rules("reviews", "shop") == ["defaults.alice", "default"], 1.5)
    eventually(
        "its entry says so", lambda: world.entry("defaults", "shop", "reviews").get("reason") == "PolicySuspended"
    )
    assert world.written("ratings", "shop") is None
    world.policy("defaults", "shop", developersFrom=found)
    eventually("it goes on", lambda: world.rules("reviews", "shop") == ["default"])
    world.wait_ready("defaults", "shop")
    assert world.rules("ratings", "shop") == ["default"]


def test_a_suspended_policy_freezes_for_other_policies_too(world: World) -> None:
    shop_with_alice(world, "reviews")
    world.policy("other", "shop", services={"names": ["reviews"]}, developersFrom=only(world))
    eventually("it contributes", lambda: world.status("other", "shop").get("programmedServices") == 1)
    world.policy("other", "shop", services={"names": ["reviews"]}, developersFrom=only(world), mode="Suspended")
    world.wait_condition("defaults", "shop", "Programmed", ("False", "Frozen"))
    assert "until policy other is in force again" in world.message("defaults", "shop", "Programmed")
    world.delete_policy("other", "shop")
    world.wait_condition("defaults", "shop", "Ready", ("True", "Programmed"))


def test_a_suspended_policy_has_a_status_whatever_is_frozen_with_it(world: World) -> None:
    """A copy of our VirtualService, made by hand, bears our mark, and may have a name that no Service can have."""
    shop_with_alice(world, "reviews")
    world.policy("defaults", "shop", developersFrom=only(world, "alice"), mode="Suspended")
    world.wait_condition("defaults", "shop", "Ready", ("False", "Suspended"))
    ours = world.written("reviews", "shop")
    assert ours is not None
    marks = {kind: ours["metadata"][kind] for kind in ("labels", "annotations")}
    name = "r" * 200
    world.virtual_service(f"{name}-virtual-service", "shop", ours["spec"], **marks)
    eventually("it has an entry", lambda: world.entry("defaults", "shop", name).get("state") == "Frozen")
