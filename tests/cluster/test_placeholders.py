"""Placeholders on a real API server: made, taken over in every way, let go of, removed; nothing of a user's is harmed."""

import json
import random
import threading
import time
from typing import Any

import pytest

from cluster.test_consent import CONSENT, consent
from cluster.world import Json, World, eventually, only, shop_with_alice, steadily
from controlplane.errors import ApiError

LABEL = "app.kubernetes.io/managed-by"
MARK = "virtualservice-operator/placeholder-service"
OURS = "virtualservice-operator"
pytestmark = pytest.mark.usefixtures("placeholder_rights")


def path(world: World, name: str = "reviews", namespace: str = "alice") -> str:
    return f"/api/v1/namespaces/{world.ns(namespace)}/services/{name}"


def placeholder(world: World, name: str = "reviews", namespace: str = "alice") -> Json | None:
    """Return the Service if it is a placeholder of ours."""
    found = world.get(path(world, name, namespace))
    return found if found is not None and found["metadata"].get("labels", {}).get(LABEL) == OURS else None


def shop_with_placeholders(world: World, *services: str, **placeholder_block: Any) -> None:
    """Make the shop; alice's namespace permits placeholders, and the policy asks for them."""
    shop_with_alice(world, *services)
    consent(world, "alice", world.ns("shop"))
    world.policy("defaults", "shop", developersFrom=only(world, "alice"), placeholder=placeholder_block)
    world.wait_ready("defaults", "shop")


def deployed(world: World, **spec: Any) -> Json:
    """Return the manifest of alice's copy as she keeps it: without a type."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "reviews", "namespace": world.ns("alice")},
        "spec": {"selector": {"app": "reviews"}, "ports": [{"name": "http", "port": 80}], **spec},
    }


def is_a_copy(world: World) -> bool:
    found = world.get(path(world))
    if found is None:
        return False
    metadata, spec = found["metadata"], found["spec"]
    unmarked = LABEL not in metadata.get("labels", {}) and MARK not in metadata.get("annotations", {})
    return unmarked and spec["type"] == "ClusterIP" and "externalName" not in spec and bool(spec["selector"])


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ({"mode": "ExternalName"}, ("ExternalName", "placeholder.local", ["defaults.alice", "default"])),
        (
            {"mode": "ExternalName", "externalName": "gone.example.com"},
            ("ExternalName", "gone.example.com", ["defaults.alice", "default"]),
        ),
        ({"mode": "NoEndpoints"}, ("ClusterIP", None, ["defaults.alice", "default"])),
        ({"mode": "Alias"}, ("ExternalName", "reviews.{shop}.svc.cluster.local", ["default"])),
    ],
    ids=["ExternalName", "another name", "NoEndpoints", "Alias"],
)
def test_the_life_cycle_of_a_placeholder(
    world: World, block: Json, expected: tuple[str, str | None, list[str]]
) -> None:
    shop_with_placeholders(world, **block)
    world.delete_service("reviews", "alice")
    found = eventually("a placeholder", lambda: placeholder(world))
    kind, name, rules = expected
    assert found["spec"]["type"] == kind
    assert found["spec"].get("externalName") == (name.format(shop=world.ns("shop")) if name else None)
    assert found["metadata"]["annotations"] == {
        MARK: "true",
        "virtualservice-operator/source-service": world.host("reviews", "shop"),
        "virtualservice-operator.dev/policies": f"{world.ns('shop')}/defaults",
    }
    eventually("the rules", lambda: world.rules("reviews", "shop") == rules)
    eventually("counted", lambda: world.status("defaults", "shop").get("placeholders") == 1)
    assert world.status("defaults", "shop")["developerRoutes"] == 0
    assert world.condition("defaults", "shop", "Ready") == ("True", "Programmed")
    world.plane.kubectl("apply", "-f", "-", input=json.dumps(deployed(world)))
    eventually("alice's again", lambda: is_a_copy(world))
    eventually("routed again", lambda: world.status("defaults", "shop").get("developerRoutes") == 1)
    assert world.status("defaults", "shop")["placeholders"] == 0
    assert world.rules("reviews", "shop") == ["defaults.alice", "default"]


@pytest.mark.parametrize("mode", ["ExternalName", "NoEndpoints", "Alias"])
@pytest.mark.parametrize("command", ["apply", "apply --server-side", "replace", "delete and create"])
def test_whoever_deploys_the_service_takes_the_placeholder_over(world: World, mode: str, command: str) -> None:
    shop_with_placeholders(world, mode=mode)
    world.delete_service("reviews", "alice")
    eventually("a placeholder", lambda: placeholder(world))
    if command == "delete and create":
        world.delete_service("reviews", "alice")
        world.plane.kubectl("create", "--save-config", "-f", "-", input=json.dumps(deployed(world)))
        command = "apply"
    else:
        world.plane.kubectl(*command.split(), "-f", "-", input=json.dumps(deployed(world)))
    eventually("alice's own", lambda: is_a_copy(world))
    eventually("routed", lambda: world.rules("reviews", "shop") == ["defaults.alice", "default"])
    # Whatever she changes later, nobody else owns it.
    eventually("nothing of it is ours", lambda: OURS not in managers(world))
    edited = deployed(world, type="NodePort", ports=[{"name": "http", "port": 80, "targetPort": 8080}])
    world.plane.kubectl(*command.split(), "-f", "-", input=json.dumps(edited))
    assert (world.get(path(world)) or {})["spec"]["type"] == "NodePort"


def managers(world: World) -> set[str]:
    found = world.get(path(world)) or {"metadata": {}}
    return {entry["manager"] for entry in found["metadata"].get("managedFields", ())}


def test_a_placeholder_owns_its_label_only(world: World) -> None:
    shop_with_placeholders(world, mode="NoEndpoints")
    world.delete_service("reviews", "alice")
    eventually("a placeholder", lambda: placeholder(world))

    def owned() -> list[Json]:
        return [entry["fieldsV1"] for entry in (world.get(path(world)) or {})["metadata"]["managedFields"]]

    eventually("its label only", lambda: owned() == [{"f:metadata": {"f:labels": {f"f:{LABEL}": {}}}}])
    world.service("reviews", "shop", ("http", 80), ("grpc", 9090))
    eventually("the new port", lambda: len((placeholder(world) or {"spec": {"ports": ()}})["spec"]["ports"]) == 2)
    eventually("still", lambda: owned() == [{"f:metadata": {"f:labels": {f"f:{LABEL}": {}}}}])


def test_a_copy_that_is_deleted_and_made_anew_meets_no_placeholder(world: World) -> None:
    shop_with_placeholders(world, mode="ExternalName")
    for _ in range(5):
        world.plane.kubectl("replace", "--force", "-f", "-", input=json.dumps(deployed(world)))
    assert is_a_copy(world)
    steadily("its route stays", lambda: world.rules("reviews", "shop") == ["defaults.alice", "default"], 1.5)


def test_kubectl_create_refuses_where_a_placeholder_stands(world: World) -> None:
    shop_with_placeholders(world, mode="ExternalName")
    world.delete_service("reviews", "alice")
    eventually("a placeholder", lambda: placeholder(world))
    done = world.plane.kubectl("create", "-f", "-", input=json.dumps(deployed(world)), check=False)
    assert "already exists" in done.stderr


@pytest.mark.parametrize("what", ["the policy", "the developer", "the service", "the consent", "the mode"])
def test_a_placeholder_goes_when_nothing_refers_to_it(world: World, what: str) -> None:
    shop_with_placeholders(world, mode="ExternalName")
    world.delete_service("reviews", "alice")
    eventually("a placeholder", lambda: placeholder(world))
    match what:
        case "the policy":
            world.delete_policy("defaults", "shop")
        case "the developer":
            world.label("alice", developer=None)
            world.policy("defaults", "shop", developersFrom=only(world), placeholder={"mode": "ExternalName"})
        case "the service":
            world.delete_service("reviews", "shop")
        case "the consent":
            consent(world, "alice", None)
        case "the mode":
            world.policy("defaults", "shop", developersFrom=only(world, "alice"))
    eventually("it is gone", lambda: world.get(path(world)) is None)


def test_a_placeholder_waits_for_consent_and_the_message_grants_it(world: World) -> None:
    """The namespace has no label, or policies of other tests would reach it; those that do keep their routes."""
    shop_with_alice(world, "reviews")
    world.label("alice", developer=None)
    alice = [{"name": "alice", "namespaces": [world.ns("alice")]}]
    world.namespace("pay")
    for namespace in ("pay", "alice"):
        world.service("orders", namespace)
    world.policy("p", "pay", developers=alice)
    world.wait_ready("p", "pay")
    world.policy("defaults", "shop", developers=alice, placeholder={"mode": "ExternalName"})
    world.wait_ready("defaults", "shop")
    world.delete_service("reviews", "alice")
    world.wait_condition("defaults", "shop", "ResolvedRefs", ("False", "RefNotPermitted"))
    assert world.condition("defaults", "shop", "Ready") == ("True", "PartiallyProgrammed")
    assert world.rules("reviews", "shop") == ["default"]
    assert world.get(path(world)) is None
    command = world.message("defaults", "shop", "ResolvedRefs").partition("kubectl ")[2]
    listed = f"{world.ns('pay')},{world.ns('shop')}"
    assert command == f"annotate namespace {world.ns('alice')} --overwrite {CONSENT}={listed}"
    world.plane.kubectl(*command.split())
    eventually("a placeholder", lambda: placeholder(world))
    eventually("and its route", lambda: world.rules("reviews", "shop") == ["defaults.alice", "default"])
    world.wait_condition("defaults", "shop", "ResolvedRefs", ("True", "ResolvedRefs"))
    assert world.rules("orders", "pay") == ["p.alice", "default"]


def test_a_service_in_the_way_of_a_placeholder_is_named(world: World) -> None:
    shop_with_placeholders(world, mode="ExternalName")
    world.delete_service("reviews", "alice")
    world.service("reviews", "alice", clusterIP="None")
    world.wait_condition("defaults", "shop", "ResolvedRefs", ("False", "RefNotPermitted"))
    said = world.message("defaults", "shop", "ResolvedRefs")
    assert f"Service {world.ns('alice')}/reviews has the placeholder's name and is headless" in said
    assert world.rules("reviews", "shop") == ["default"]
    assert world.condition("defaults", "shop", "Ready") == ("True", "PartiallyProgrammed")
    world.delete_service("reviews", "alice")
    eventually("a placeholder", lambda: placeholder(world))
    eventually("and its route", lambda: world.rules("reviews", "shop") == ["defaults.alice", "default"])
    world.wait_condition("defaults", "shop", "ResolvedRefs", ("True", "ResolvedRefs"))


def test_a_developer_who_is_given_another_namespace_gets_no_placeholder_there(world: World) -> None:
    shop_with_placeholders(world, mode="ExternalName")
    world.namespace("team")
    consent(world, "team", world.ns("shop"))
    alice = {"name": "alice", "namespaces": [world.ns("team")]}
    world.policy("defaults", "shop", developers=[alice], placeholder={"mode": "ExternalName"})
    eventually("the default", lambda: world.rules("reviews", "shop") == ["default"])
    steadily("no placeholder", lambda: world.get(path(world, namespace="team")) is None, 2)
    assert world.condition("defaults", "shop", "Ready") == ("True", "Programmed")


def test_an_alias_for_all_services_stands_beside_copies(world: World) -> None:
    shop_with_placeholders(world, "reviews", "ratings", mode="Alias", createFor="AllServices")
    world.service("orders", "shop")
    eventually("an alias", lambda: placeholder(world, "orders"))
    assert placeholder(world, "reviews") is None
    world.service("orders", "alice")
    eventually("a copy of her own", lambda: world.rules("orders", "shop") == ["defaults.alice", "default"])


def test_a_placeholder_that_is_deleted_by_hand_comes_back(world: World) -> None:
    shop_with_placeholders(world, mode="ExternalName")
    world.delete_service("reviews", "alice")
    first = eventually("a placeholder", lambda: placeholder(world))
    world.delete_service("reviews", "alice")
    eventually("another", lambda: (placeholder(world) or first)["metadata"]["uid"] != first["metadata"]["uid"])


def test_a_placeholder_changes_with_its_mode(world: World) -> None:
    shop_with_placeholders(world, mode="ExternalName")
    world.delete_service("reviews", "alice")
    eventually("a placeholder", lambda: placeholder(world))
    for mode, kind in (("NoEndpoints", "ClusterIP"), ("ExternalName", "ExternalName"), ("Alias", "ExternalName")):
        world.policy("defaults", "shop", developersFrom=only(world, "alice"), placeholder={"mode": mode})
        wait_for_type(world, kind)
    alias = world.host("reviews", "shop")
    eventually("the alias", lambda: (placeholder(world) or {"spec": {}})["spec"].get("externalName") == alias)


def wait_for_type(world: World, expected: str) -> None:
    eventually(expected, lambda: (placeholder(world) or {"spec": {"type": ""}})["spec"]["type"] == expected)


def test_a_suspended_policy_keeps_its_placeholders(world: World) -> None:
    shop_with_placeholders(world, mode="Alias")
    world.delete_service("reviews", "alice")
    eventually("a placeholder", lambda: placeholder(world))
    eventually("no route", lambda: world.rules("reviews", "shop") == ["default"])
    world.policy("defaults", "shop", mode="Suspended", developersFrom=only(world, "alice"))
    world.wait_condition("defaults", "shop", "Ready", ("False", "Suspended"))
    steadily("it stays", lambda: placeholder(world) is not None, 1)
    consent(world, "alice", None)
    eventually("but not against the namespace's will", lambda: world.get(path(world)) is None)


def test_events_tell_of_placeholders(world: World) -> None:
    shop_with_placeholders(world, mode="ExternalName")
    world.delete_service("reviews", "alice")
    eventually("a placeholder", lambda: placeholder(world))
    world.plane.kubectl("apply", "-f", "-", input=json.dumps(deployed(world)))
    eventually("alice's own", lambda: is_a_copy(world))
    for reason in ("PlaceholderCreated", "PlaceholderPromoted"):
        world.wait_event(reason, "defaults", "shop")
    world.delete_service("reviews", "alice")
    eventually("another placeholder", lambda: placeholder(world))
    consent(world, "alice", None)
    world.wait_event("PlaceholderRemoved", "defaults", "shop")


@pytest.mark.parametrize(
    ("mode", "rules"),
    [
        ("ExternalName", ["defaults.alice", "default"]),
        ("NoEndpoints", ["defaults.alice", "default"]),
        ("Alias", ["default"]),
    ],
)
def test_a_quota_costs_the_placeholder_only(world: World, mode: str, rules: list[str]) -> None:
    shop_with_placeholders(world, "reviews", mode=mode)
    quotas = f"/api/v1/namespaces/{world.ns('alice')}/resourcequotas"
    world.plane.request("POST", quotas, {"metadata": {"name": "none"}, "spec": {"hard": {"services": "0"}}})
    # Without its controller a quota has no usage and refuses everything that it counts.
    world.plane.request(
        "PATCH",
        f"{quotas}/none/status",
        {"status": {"hard": {"services": "0"}, "used": {"services": "0"}}},
        "application/merge-patch+json",
    )
    world.delete_service("reviews", "alice")
    world.wait_condition("defaults", "shop", "ResolvedRefs", ("False", "RefNotPermitted"))
    assert "exceeded quota" in world.message("defaults", "shop", "ResolvedRefs")
    assert world.condition("defaults", "shop", "Ready") == ("True", "PartiallyProgrammed")
    eventually("the rules", lambda: world.rules("reviews", "shop") == rules)
    refused = ("False", "RefNotPermitted")
    steadily("still said", lambda: world.condition("defaults", "shop", "ResolvedRefs") == refused, 7)
    world.plane.request("DELETE", f"{quotas}/none")
    eventually("a placeholder", lambda: placeholder(world), seconds=60)
    world.wait_condition("defaults", "shop", "ResolvedRefs", ("True", "ResolvedRefs"))
    assert world.rules("reviews", "shop") == rules


RACES = 200


def test_two_hundred_races_of_user_and_operator_harm_nobody(world: World) -> None:
    """The user creates the Service in the moment in which the operator makes the placeholder, in each of four ways."""
    shop_with_placeholders(world, mode="ExternalName")
    names = [f"svc{number}" for number in range(RACES)]
    for name in names:
        world.service(name, "shop")
        world.service(name, "alice")
    eventually(
        "all are routed", lambda: world.status("defaults", "shop").get("developerRoutes") == RACES + 1, seconds=120
    )
    threads = [threading.Thread(target=_race, args=(world, names[start::4], start)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    eventually(
        "every Service is alice's, whole, and routed",
        lambda: not [name for name in names if not _is_whole(world, name)],
        seconds=120,
    )
    eventually("counted", lambda: world.status("defaults", "shop").get("developerRoutes") == RACES + 1, seconds=60)
    assert world.status("defaults", "shop")["placeholders"] == 0


def _race(world: World, names: list[str], way: int) -> None:
    for turn, name in enumerate(names):
        document = deployed(world)
        document["metadata"]["name"] = name
        world.delete_service(name, "alice")
        if turn % 2:
            _wait_for_placeholder(world, name)
        else:  # the delay that FLAGS say is over about now
            time.sleep(random.uniform(0.9, 1.1))
        _deploy(world, name, document, way)


def _wait_for_placeholder(world: World, name: str) -> None:
    eventually(f"a placeholder for {name}", lambda: placeholder(world, name))


def _deploy(world: World, name: str, document: Json, way: int) -> None:
    """Deploy by create, server-side apply without a type, client-side apply, or replace."""
    target = path(world, name)
    if way == 0:
        try:
            world.plane.request("POST", path(world, "")[:-1] + "?fieldManager=user", document)
        except ApiError as error:
            if error.status != 409:
                raise
            way = 1
    if way == 1:
        world.plane.request("PATCH", f"{target}?fieldManager=user&force=true", document, "application/apply-patch+yaml")
    elif way > 1:
        command = "apply" if way == 2 else "replace"
        done = world.plane.kubectl(command, "-f", "-", input=json.dumps(document), check=False)
        if done.returncode != 0:  # there was nothing yet, or not any more, between its own read and its write
            assert "xists" in done.stderr or "modified" in done.stderr or "NotFound" in done.stderr, done.stderr
            world.plane.kubectl("apply", "-f", "-", input=json.dumps(document))


def _is_whole(world: World, name: str) -> bool:
    found = world.get(path(world, name))
    if found is None:
        return False
    metadata, spec = found["metadata"], found["spec"]
    return (
        LABEL not in metadata.get("labels", {})
        and MARK not in metadata.get("annotations", {})
        and spec["type"] == "ClusterIP"
        and spec.get("clusterIP", "").startswith("10.")
        and spec["selector"] == {"app": "reviews"}
        and [port["port"] for port in spec["ports"]] == [80]
        and world.rules(name, "shop") == ["defaults.alice", "default"]
    )
