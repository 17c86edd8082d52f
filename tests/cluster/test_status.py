"""The status a user reads: complete, never ahead of the truth, and written only with news."""

import subprocess

from cluster.conftest import USER
from cluster.world import World, eventually, only, shop_with_alice, steadily
from controlplane.audit import AuditEvent, read_events, read_writes


def test_a_new_policy_is_pending_until_the_operator_has_seen_it(world: World) -> None:
    world.namespace("shop")
    created = world.policy("p", "shop", developersFrom=only(world))
    assert {(item["type"], item["status"], item["reason"]) for item in created["status"]["conditions"]} == {
        (kind, "Unknown", "Pending") for kind in ("Accepted", "ResolvedRefs", "Programmed", "Ready")
    }
    world.wait_ready("p", "shop")


def test_the_status_of_a_good_policy_is_complete(world: World) -> None:
    shop_with_alice(world, "reviews", "ratings")
    world.service("cache", "shop", ("tcp", 6379))
    eventually("three are counted", lambda: world.status("defaults", "shop")["matchedServices"] == 3)
    status = world.status("defaults", "shop")
    conditions = [(item["type"], item["status"], item["reason"], item["message"]) for item in status.pop("conditions")]
    assert conditions == [
        ("Ready", "True", "Programmed", "2 of 2 Services programmed; 1 skipped"),
        ("Accepted", "True", "Accepted", ""),
        ("ResolvedRefs", "True", "ResolvedRefs", ""),
        ("Programmed", "True", "Programmed", ""),
    ]
    assert status == {
        "observedGeneration": 1,
        "servicesReady": "2/2",
        "matchedServices": 3,
        "programmedServices": 2,
        "skippedServices": 1,
        "failedServices": 0,
        "developers": 1,
        "developerRoutes": 2,
        "placeholders": 0,
        "omittedServices": 0,
        "services": [
            {
                "name": "cache",
                "state": "Skipped",
                "reason": "NoHTTPPort",
                "message": "no port is HTTP to Istio; set appProtocol: http, or name the port http or http-…",
            },
            {
                "name": "ratings",
                "state": "Programmed",
                "reason": "Programmed",
                "virtualServiceName": "ratings-virtual-service",
                "developers": ["alice"],
            },
            {
                "name": "reviews",
                "state": "Programmed",
                "reason": "Programmed",
                "virtualServiceName": "reviews-virtual-service",
                "developers": ["alice"],
            },
        ],
    }


def test_apply_and_wait_are_free_of_races(world: World) -> None:
    """After each edit, `kubectl wait` returns only when the VirtualService is what the edit asks for."""
    shop_with_alice(world, "reviews")
    for number in range(10):
        header = f"x-round-{number}"
        world.policy(
            "defaults", "shop", developersFrom=only(world, "alice"), matches=[{"type": "Header", "name": header}]
        )
        wait = ("wait", "rpol/defaults", "-n", world.ns("shop"), "--for=condition=Ready", "--timeout=30s")
        done: subprocess.CompletedProcess[str] = world.plane.kubectl(*wait)
        assert "condition met" in done.stdout
        assert header in world.http("reviews", "shop")[0]["match"][0]["headers"]


def test_nothing_is_written_without_news(world: World) -> None:
    shop_with_alice(world, "reviews")
    version = world.stored_policy("defaults", "shop")["metadata"]["resourceVersion"]
    namespace = world.ns("shop")

    def writes() -> int:
        events = read_events(world.plane.audit_log, user=USER)
        return sum(1 for event in events if event.namespace == namespace and event.verb in {"patch", "create"})

    before = writes()
    # Changes of no consequence: a label on a Service, an annotation on a namespace, an endpoint-less edit.
    world.service("reviews", "shop", labels={"team": "x"})
    world.service("reviews", "alice", labels={"team": "x"})
    world.label("alice", team="x")
    world.namespace("late")
    world.service("late", "late")
    world.service("second", "shop")
    eventually("the operator has seen what came last", lambda: world.written("second", "shop"))
    eventually("and said so", lambda: world.status("defaults", "shop")["matchedServices"] == 2)
    eventually("one VirtualService, one status, one Event", lambda: writes() == before + 3)
    assert world.stored_policy("defaults", "shop")["metadata"]["resourceVersion"] != version


def test_a_policy_whose_last_service_is_gone_is_written_once(world: World) -> None:
    """An apply that empties a list takes the field away; what is stored must be what was meant all the same."""
    shop_with_alice(world, "reviews")
    world.delete_service("reviews", "shop")
    world.wait_condition("defaults", "shop", "Ready", ("True", "NoMatchingServices"))
    assert "services" not in world.status("defaults", "shop")
    before = len(status_writes(world))
    world.label("alice", team="x")  # the policy depends on this namespace, so it is looked at again
    steadily("no status is written", lambda: len(status_writes(world)) == before, seconds=3)


def status_writes(world: World) -> list[AuditEvent]:
    writes = read_writes(world.plane.audit_log, USER)
    return [event for event in writes if event.subresource == "status" and world.holds(event.namespace)]


def test_last_transition_time_moves_only_with_the_status(world: World) -> None:
    shop_with_alice(world, "reviews")

    def since() -> dict[str, str]:
        return {item["type"]: item["lastTransitionTime"] for item in world.status("defaults", "shop")["conditions"]}

    before = since()
    world.service("ratings", "shop")
    eventually("counted", lambda: world.status("defaults", "shop")["matchedServices"] == 2)
    assert since() == before


def test_kubectl_shows_the_columns(world: World) -> None:
    shop_with_alice(world, "reviews")
    lines = world.plane.kubectl("get", "rpol", "-n", world.ns("shop")).stdout.splitlines()
    assert lines[0].split() == ["NAME", "READY", "REASON", "SERVICES", "ROUTES", "DEVELOPERS", "AGE"]
    assert lines[1].split()[:6] == ["defaults", "True", "Programmed", "1/1", "1", "1"]
    assert world.plane.kubectl("get", "vso", "-n", world.ns("shop")).stdout


def test_events_tell_of_what_was_created(world: World) -> None:
    shop_with_alice(world, "reviews")

    def messages() -> list[str]:
        events = world.plane.request("GET", f"/api/v1/namespaces/{world.ns('shop')}/events")
        return [event["message"] for event in events["items"] if event["reason"] == "VirtualServiceCreated"]

    assert eventually("there is one", messages) == ["1 VirtualService created: reviews-virtual-service"]


def test_events_tell_of_what_was_deleted(world: World) -> None:
    shop_with_alice(world, "reviews")
    world.delete_service("reviews", "shop")
    world.wait_event("VirtualServiceDeleted", "defaults", "shop")
