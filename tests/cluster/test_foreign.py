"""VirtualServices that others wrote, and hand edits of ours."""

from typing import Any

from cluster.world import World, eventually, only, shop_with_alice, steadily

MARK = "app.kubernetes.io/managed-by"


def spec_for(host: str, **more: Any) -> dict[str, Any]:
    return {"hosts": [host], "http": [{"route": [{"destination": {"host": host}}]}], **more}


def test_a_foreign_one_on_our_host_takes_the_service_and_hands_it_back(world: World) -> None:
    shop_with_alice(world, "reviews", "ratings")
    world.virtual_service("by-hand", "shop", spec_for("reviews"))
    eventually("ours is withdrawn", lambda: world.written("reviews", "shop") is None)
    entry = eventually(
        "named",
        lambda: (found := world.entry("defaults", "shop", "reviews")).get("reason") == "HostTaken" and found,
    )
    assert entry["state"] == "Skipped"
    assert f"{world.ns('shop')}/by-hand" in entry["message"]
    assert world.condition("defaults", "shop", "Ready") == ("True", "Programmed")
    assert world.condition("defaults", "shop", "Conflicted") == ("True", "HostTaken")
    assert world.rules("ratings", "shop") == ["defaults.alice", "default"]
    world.delete_virtual_service("by-hand", "shop")
    eventually("handed back", lambda: world.rules("reviews", "shop") == ["defaults.alice", "default"])
    eventually("no conflict", lambda: world.condition("defaults", "shop", "Conflicted") is None)


def test_a_foreign_one_bound_to_a_gateway_only_takes_nothing(world: World) -> None:
    shop_with_alice(world, "reviews")
    world.virtual_service("edge", "shop", spec_for(world.host("reviews", "shop"), gateways=["istio-ingress/public"]))
    steadily("ours stays", lambda: world.written("reviews", "shop") is not None, 1)


def test_one_of_our_name_without_our_mark_is_untouched(world: World) -> None:
    world.namespace("shop")
    foreign = world.virtual_service(
        "reviews-virtual-service",
        "shop",
        {"hosts": ["elsewhere.example"], "tcp": [{"route": [{"destination": {"host": "x"}}]}]},
    )
    world.service("reviews", "shop")
    world.policy("p", "shop", developersFrom=only(world))
    eventually("said", lambda: world.condition("p", "shop", "Programmed") == ("False", "NameConflict"))
    assert world.condition("p", "shop", "Stalled") == ("True", "NameConflict")
    assert "virtualservice-operator.dev/adopt=true" in world.message("p", "shop", "Ready")
    stored = world.written("reviews", "shop")
    assert stored is not None
    assert stored["metadata"]["resourceVersion"] == foreign["metadata"]["resourceVersion"]


def test_its_owner_can_hand_it_over(world: World) -> None:
    world.namespace("shop")
    world.virtual_service(
        "reviews-virtual-service",
        "shop",
        {"hosts": ["old.example"], "tcp": [{"route": [{"destination": {"host": "x"}}]}]},
    )
    world.service("reviews", "shop")
    world.policy("p", "shop", developersFrom=only(world))
    eventually("said", lambda: world.condition("p", "shop", "Programmed") == ("False", "NameConflict"))
    world.edit_virtual_service(
        "reviews", "shop", {"metadata": {"annotations": {"virtualservice-operator.dev/adopt": "true"}}}
    )
    world.wait_ready("p", "shop")
    stored = world.written("reviews", "shop")
    assert stored is not None
    assert stored["spec"] == {
        "hosts": [world.host("reviews", "shop")],
        "http": [{"name": "default", "route": [{"destination": {"host": world.host("reviews", "shop")}}]}],
    }
    assert "virtualservice-operator.dev/adopt" not in stored["metadata"]["annotations"]
    world.edit_virtual_service("reviews", "shop", {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}})
    world.wait_condition("p", "shop", "Programmed", ("False", "NameConflict"))


def test_a_foreign_one_in_another_namespace_that_is_older_is_named_and_untouched(world: World) -> None:
    world.namespace("shop")
    world.namespace("elsewhere")
    world.virtual_service("grab", "elsewhere", spec_for(world.host("reviews", "shop")))
    world.service("reviews", "shop")
    world.policy("p", "shop", developersFrom=only(world))
    eventually("said", lambda: world.condition("p", "shop", "Programmed") == ("False", "HostConflict"))
    assert f"{world.ns('elsewhere')}/grab" in world.message("p", "shop", "Programmed")
    assert world.written("reviews", "shop") is None
    world.delete_virtual_service("grab", "elsewhere")
    world.wait_ready("p", "shop")


def test_a_younger_or_private_one_in_another_namespace_changes_nothing(world: World) -> None:
    shop_with_alice(world, "reviews")
    world.namespace("elsewhere")
    world.virtual_service("private", "elsewhere", spec_for(world.host("reviews", "shop"), exportTo=["."]))
    steadily("ours stays", lambda: world.rules("reviews", "shop") == ["defaults.alice", "default"], 1)
    assert world.condition("defaults", "shop", "Ready") == ("True", "Programmed")


def test_a_hand_edit_is_repaired_even_where_it_added_a_field(world: World) -> None:
    shop_with_alice(world, "reviews")
    before = world.written("reviews", "shop")
    assert before is not None
    world.edit_virtual_service("reviews", "shop", {"spec": {"exportTo": ["."], "http": []}})
    eventually("repaired", lambda: (world.written("reviews", "shop") or {})["spec"] == before["spec"])
    after = world.written("reviews", "shop")
    assert after is not None
    assert after["metadata"]["uid"] == before["metadata"]["uid"]

    def reasons() -> set[str]:
        events = world.plane.request("GET", f"/api/v1/namespaces/{world.ns('shop')}/events")
        return {event["reason"] for event in events["items"]}

    eventually("and an Event says so", lambda: "DriftRepaired" in reasons())


def test_a_deleted_one_is_written_again(world: World) -> None:
    shop_with_alice(world, "reviews")
    world.delete_virtual_service("reviews-virtual-service", "shop")
    eventually("it is back", lambda: world.rules("reviews", "shop") == ["defaults.alice", "default"])


def test_labels_and_annotations_of_others_stay(world: World) -> None:
    shop_with_alice(world, "reviews")
    world.edit_virtual_service(
        "reviews", "shop", {"metadata": {"labels": {"team": "x", "virtualservice-operator.dev/service": "wrong"}}}
    )
    eventually(
        "our label is repaired",
        lambda: (
            (world.written("reviews", "shop") or {})["metadata"]["labels"].get("virtualservice-operator.dev/service")
            == "reviews"
        ),
    )
    assert (world.written("reviews", "shop") or {})["metadata"]["labels"]["team"] == "x"


def test_who_takes_our_mark_off_takes_the_object_over(world: World) -> None:
    shop_with_alice(world, "reviews")
    world.edit_virtual_service("reviews", "shop", {"metadata": {"labels": {MARK: None}}})
    eventually("said", lambda: world.condition("defaults", "shop", "Programmed") == ("False", "NameConflict"))
    version = (world.written("reviews", "shop") or {})["metadata"]["resourceVersion"]
    world.delete_service("reviews", "alice")
    steadily(
        "untouched",
        lambda: (world.written("reviews", "shop") or {})["metadata"]["resourceVersion"] == version,
        1,
    )


def test_an_orphan_with_our_mark_is_deleted(world: World) -> None:
    shop_with_alice(world, "reviews")
    world.virtual_service("stray", "shop", spec_for("nobody"), labels={MARK: "virtualservice-operator"})
    path = f"/apis/networking.istio.io/v1/namespaces/{world.ns('shop')}/virtualservices/stray"
    eventually("it is gone", lambda: world.get(path) is None)


def test_a_released_one_keeps_its_place(world: World) -> None:
    shop_with_alice(world, "reviews")
    world.edit_virtual_service(
        "reviews", "shop", {"metadata": {"annotations": {"virtualservice-operator.dev/managed": "false"}}}
    )
    eventually(
        "our mark and owners are off",
        lambda: (
            MARK not in (found := (world.written("reviews", "shop") or {})["metadata"]).get("labels", {})
            and not found.get("ownerReferences")
        ),
    )
    world.delete_policy("defaults", "shop")
    steadily("it stays", lambda: world.written("reviews", "shop") is not None, 1)
