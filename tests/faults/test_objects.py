"""Objects that are replaced, fought over, or changed by hand (F08, F10, F33)."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from cluster.world import ISTIO, World, eventually, only, shop_with_alice
from controlplane.errors import ApiError
from faults.invariants import i2_untouched, i6_alive
from faults.journal import writes_of
from faults.oracle import PLANNED
from faults.proxy import FaultProxy
from faults.rig import Measured, at_rest, settle
from faults.rules import EventRule, Treatment
from operator_process import OperatorProcess

LABEL = "app.kubernetes.io/managed-by"
NAME = "reviews-virtual-service"


@pytest.fixture
def shop(world: World, operator: OperatorProcess, proxy: FaultProxy) -> World:
    shop_with_alice(world, "reviews", "ratings")
    settle(operator, world)
    proxy.forget()
    return world


def path(world: World) -> str:
    return f"{ISTIO}/namespaces/{world.ns('shop')}/virtualservices/{NAME}"


def stored(world: World) -> tuple[str, str]:
    """Return uid and version of the VirtualService of reviews."""
    found = world.written("reviews", "shop")
    assert found is not None
    return found["metadata"]["uid"], found["metadata"]["resourceVersion"]


def edit(world: World, header: str) -> None:
    found = only(world, "alice")
    world.policy("defaults", "shop", developersFrom=found, matches=[{"type": "Header", "name": header}])


def replace_service(world: World) -> None:
    world.delete_service("reviews", "alice")
    world.service("reviews", "alice", ("http", 8080))


def replace_policy(world: World) -> None:
    world.delete_policy("defaults", "shop")
    edit(world, "x-dev")


def replace_ours(world: World) -> None:
    """Delete the operator's VirtualService and make one by hand in its place, without our mark."""
    world.delete_virtual_service(NAME, "shop")
    world.virtual_service(NAME, "shop", {"hosts": ["reviews"], "http": [{"route": [{"destination": {"host": "r"}}]}]})


@pytest.mark.fault("F08")
@pytest.mark.parametrize("coalesced", [False, True], ids=["both events at once", "the deletion unseen"])
@pytest.mark.parametrize(
    ("resource", "replace"),
    [("services", replace_service), ("routingpolicies", replace_policy), ("virtualservices", replace_ours)],
    ids=["Service", "RoutingPolicy", "VirtualService"],
)
def test_i1_i2_what_is_made_anew_under_its_name_is_another_object(
    resource: str,
    replace: Callable[[World], None],
    coalesced: bool,  # noqa: FBT001 - a parameter of the test
    shop: World,
    operator: OperatorProcess,
    proxy: FaultProxy,
    measured: Measured,
) -> None:
    if coalesced:
        proxy.treat(EventRule(Treatment.DROP, resource, frozenset({"DELETED"}), times=None))
    proxy.treat(EventRule(Treatment.HOLD, resource, times=None))
    replace(shop)
    made = stored(shop) if resource == "virtualservices" else None
    proxy.heal()
    assert proxy.release(resource)
    measured.recoveries.append(settle(operator, shop))
    at_rest(proxy, shop)
    assert made is None or stored(shop) == made, "I2: a VirtualService of somebody else was written"
    measured.check(i6_alive(operator))


@pytest.mark.fault("F10")
def test_i1_i2_i3_a_second_writer_keeps_its_fields_and_costs_no_write_but_conflicts(
    shop: World, operator: OperatorProcess, proxy: FaultProxy, measured: Measured
) -> None:
    stop, counts = threading.Event(), {"writes": 0}

    def annotate() -> None:
        while not stop.wait(0.02):
            counts["writes"] += 1
            patch = {"metadata": {"annotations": {"example.com/count": str(counts["writes"])}}}
            for name in ("reviews", "ratings"):
                with suppress(ApiError):  # one of them goes
                    shop.edit_virtual_service(name, "shop", patch)

    writer = threading.Thread(target=annotate)
    writer.start()
    try:
        for number in range(5):
            edit(shop, f"x-dev-{number}")
            time.sleep(0.3)
        settle(operator, shop)
        shop.delete_service("ratings", "shop")
        measured.recoveries.append(settle(operator, shop))
    finally:
        stop.set()
        writer.join(10)
    measured.recoveries.append(settle(operator, shop))
    outcome, writes = at_rest(proxy, shop)
    kept = shop.written("reviews", "shop")
    assert kept is not None
    assert kept["metadata"]["annotations"]["example.com/count"] == str(counts["writes"])
    planned = 5 + 5 + 1
    measured.extra = max(0, outcome.total - planned)
    conflicts = [write for write in writes if write.code in (409, 422)]
    found = (
        [] if outcome.total <= planned else [f"I3: {outcome.total} writes for {planned}, {len(conflicts)} conflicts"]
    )
    measured.check(found, i6_alive(operator))


EDITS = {
    "spec": {"spec": {"http": [{"route": [{"destination": {"host": "elsewhere"}}]}]}},
    "a field of their own": {"spec": {"exportTo": ["."]}},
    "our label": {"metadata": {"labels": {"virtualservice-operator.dev/service": None}}},
    "our annotation": {"metadata": {"annotations": {"virtualservice-operator.dev/policies": "other"}}},
    "owners": {"metadata": {"ownerReferences": None}},
}


@pytest.mark.fault("F33")
@pytest.mark.parametrize("patch", EDITS.values(), ids=EDITS.keys())
def test_i1_i3_what_is_changed_by_hand_is_repaired_once(
    patch: dict[str, object], shop: World, operator: OperatorProcess, proxy: FaultProxy, measured: Measured
) -> None:
    shop.edit_virtual_service("reviews", "shop", patch)
    measured.recoveries.append(settle(operator, shop))
    outcome, _ = at_rest(proxy, shop)
    # An apply leaves alone what others have added, so a second request replaces the spec.
    planned = 2 if "exportTo" in str(patch) else 1
    measured.extra = max(0, outcome.total - planned)
    found = [] if outcome.total == planned else [f"I3: {outcome.total} writes for one edit: {outcome.writes}"]
    measured.check(found, i6_alive(operator))


@pytest.mark.fault("F33")
def test_i2_without_our_mark_it_is_theirs_whatever_the_policy_says(
    shop: World, operator: OperatorProcess, proxy: FaultProxy, measured: Measured
) -> None:
    shop.edit_virtual_service("reviews", "shop", {"metadata": {"labels": {LABEL: None}}})
    theirs = {NAME: (stored(shop)[0], 0, stored(shop)[1])}
    measured.recoveries.append(settle(operator, shop))
    edit(shop, "x-dev")
    shop.delete_service("reviews", "alice")
    measured.recoveries.append(settle(operator, shop))
    at_rest(proxy, shop)
    touched = [
        write for write in writes_of(proxy.journal) if write.call.name == NAME and write.call.resource in PLANNED
    ]
    after = {NAME: (stored(shop)[0], 0, stored(shop)[1])}
    measured.check(i2_untouched(theirs, after), [f"I2: {write}" for write in touched], i6_alive(operator))
    assert eventually("it says so", lambda: shop.entry("defaults", "shop", "reviews").get("reason")) == "NameConflict"
