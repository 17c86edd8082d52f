"""Watches that break, lie or fall silent: what was missed is found (F06, F07, F09, F17)."""

import time
from collections.abc import Callable, Iterator

import pytest

from cluster.conftest import ACCOUNT
from cluster.world import World, eventually, shop_with_alice
from controlplane.server import ControlPlane
from faults.breakage import Emptied, Expired, Reset
from faults.call import READS
from faults.conftest import Start
from faults.invariants import i6_alive
from faults.oracle import PLANNED
from faults.proxy import FaultProxy
from faults.rig import Measured, Run, at_rest, compare, extra_writes, run_story, settle
from faults.rules import EventRule, Rule, Treatment
from operator_process import OperatorProcess

# What is missed, by the resource whose watch breaks; each changes what the operator has to write.
MISSED: dict[str, Callable[[World], None]] = {
    "services": lambda world: world.delete_service("reviews", "alice"),
    "namespaces": lambda world: world.label("alice", developer=None),
    "virtualservices": lambda world: world.delete_virtual_service("reviews-virtual-service", "shop"),
    "routingpolicies": lambda world: world.delete_policy("defaults", "shop"),
}
KINDS = [pytest.param(resource, miss, id=resource) for resource, miss in MISSED.items()]


@pytest.fixture
def shop(world: World, operator: OperatorProcess) -> World:
    """A shop that is settled: two Services, alice's copies, one policy."""
    shop_with_alice(world, "reviews", "ratings")
    settle(operator, world)
    return world


def blind(proxy: FaultProxy, resource: str) -> None:
    """Break the watches of a resource ("" for all) and let nothing be read anew."""
    proxy.add(Rule(Reset(), READS, frozenset({resource} - {""}), times=None))
    proxy.cut(resource)


@pytest.mark.fault("F06")
@pytest.mark.parametrize(("resource", "miss"), KINDS)
def test_i1_what_was_missed_before_a_410_leaves_no_ghosts(
    resource: str,
    miss: Callable[[World], None],
    shop: World,
    operator: OperatorProcess,
    proxy: FaultProxy,
    measured: Measured,
) -> None:
    blind(proxy, resource)
    miss(shop)
    proxy.heal()
    expired = proxy.add(Rule(Expired(), frozenset({"watch"}), frozenset({resource})))
    measured.recoveries.append(settle(operator, shop))
    eventually("the 410 was met", lambda: expired.hits)
    measured.check(i6_alive(operator))


@pytest.mark.fault("F06")
@pytest.mark.parametrize(("resource", "miss"), KINDS)
def test_i1_an_open_watch_that_expires_is_followed_by_a_list(
    resource: str,
    miss: Callable[[World], None],
    shop: World,
    operator: OperatorProcess,
    proxy: FaultProxy,
    measured: Measured,
) -> None:
    proxy.treat(EventRule(Treatment.DROP, resource, times=None))
    miss(shop)
    proxy.expire(resource)
    proxy.heal()
    measured.recoveries.append(settle(operator, shop))
    measured.check(i6_alive(operator))


@pytest.mark.parametrize("resource", ["services", "virtualservices"])
def test_i1_i3_i8_a_list_that_lacks_everything_takes_nothing_away(
    resource: str, world: World, plane: ControlPlane, operator: OperatorProcess, proxy: FaultProxy, measured: Measured
) -> None:
    shop_with_alice(world, *(f"s{number}" for number in range(8)))
    settle(operator, world)
    proxy.forget()
    version = plane.request("GET", "/api/v1/namespaces?limit=1")["metadata"]["resourceVersion"]
    emptied = proxy.add(Rule(Emptied(version), frozenset({"list"}), frozenset({resource})))
    proxy.expire(resource)
    eventually("the empty list is met", lambda: emptied.hits)
    eventually("it is asked for again", lambda: "they are kept until a second one" in operator.log.read_text())
    world.delete_service("s0", "alice")
    measured.recoveries.append(settle(operator, world))
    _, writes = at_rest(proxy, world)
    found = [write for write in writes if write.call.resource in PLANNED]
    measured.check([] if len(found) == 1 else [f"I8: {found}"], i6_alive(operator))


@pytest.mark.fault("F07")
@pytest.mark.parametrize(("resource", "miss"), KINDS)
def test_i1_a_lost_event_is_made_up_for_within_one_resync(
    resource: str,
    miss: Callable[[World], None],
    plane: ControlPlane,
    world: World,
    proxy: FaultProxy,
    start: Start,
    measured: Measured,
) -> None:
    kubeconfig = proxy.kubeconfig(plane, plane.kubeconfig_for_service_account(*ACCOUNT))
    operator = start(kubeconfig, "--resync", "5")
    shop_with_alice(world, "reviews", "ratings")
    settle(operator, world)
    dropped = proxy.treat(EventRule(Treatment.DROP, resource, times=None))
    miss(world)
    eventually("the event is lost", lambda: dropped.hits)
    proxy.heal()
    measured.recoveries.append(settle(operator, world))
    measured.check(i6_alive(operator))


@pytest.mark.fault("F07")
def test_i1_i2_i3_i4_events_that_come_twice_change_nothing(
    clean: Run, operator: OperatorProcess, proxy: FaultProxy, plane: ControlPlane, measured: Measured
) -> None:
    rules = [proxy.treat(EventRule(Treatment.DUPLICATE, resource, times=None)) for resource in MISSED]
    run = run_story(operator, proxy, World.new(plane))
    assert all(rule.hits for rule in rules)
    measured.extra = extra_writes(clean, run)
    measured.check(compare(clean, run))


@pytest.fixture(params=[2, pytest.param(60, marks=pytest.mark.slow("an event comes 60 s late"))])
def late(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.mark.fault("F07")
def test_i1_i3_an_old_event_that_comes_after_newer_ones_is_not_believed(
    late: int, shop: World, operator: OperatorProcess, proxy: FaultProxy, measured: Measured
) -> None:
    """The copy goes and comes back; the news of its going comes last."""
    held = proxy.treat(
        EventRule(Treatment.HOLD, "services", frozenset({"DELETED"}), shop.ns("alice"), "reviews", times=1)
    )
    before = shop.written("reviews", "shop")
    shop.delete_service("reviews", "alice")
    eventually("the event is held", lambda: held.hits)
    shop.service("reviews", "alice")
    shop.service("ratings", "alice", ("http", 8080))
    settle(operator, shop)
    time.sleep(late)
    assert proxy.release("services") == 1
    shop.service("late", "alice")  # an event after it, so that it was taken
    measured.recoveries.append(settle(operator, shop))
    after = shop.written("reviews", "shop")
    assert before is not None
    assert after is not None
    assert before["metadata"]["generation"] == after["metadata"]["generation"], "I3: written for nothing"
    measured.check(i6_alive(operator))


@pytest.mark.fault("F09")
@pytest.mark.parametrize(("resource", "miss"), KINDS)
def test_i1_i6_a_watch_cut_in_the_middle_of_a_line_goes_on(
    resource: str,
    miss: Callable[[World], None],
    shop: World,
    operator: OperatorProcess,
    proxy: FaultProxy,
    measured: Measured,
) -> None:
    assert proxy.cut_line(resource)
    miss(shop)
    measured.recoveries.append(settle(operator, shop))
    measured.check(i6_alive(operator))


@pytest.mark.fault("F09")
@pytest.mark.slow("silence counts as a broken connection after 75 s")
@pytest.mark.parametrize(("resource", "miss"), KINDS)
def test_i1_i6_a_silent_watch_is_given_up_within_75_s(
    resource: str,
    miss: Callable[[World], None],
    shop: World,
    operator: OperatorProcess,
    proxy: FaultProxy,
    measured: Measured,
) -> None:
    assert proxy.silence(resource)
    miss(shop)
    measured.recoveries.append(settle(operator, shop, seconds=100))
    measured.check(i6_alive(operator))


@pytest.fixture
def own_shop(own_plane: ControlPlane, start: Start) -> Iterator[tuple[World, OperatorProcess, FaultProxy]]:
    """A settled shop on an API server that may be killed, its operator behind a proxy."""
    with FaultProxy.before(own_plane) as proxy:
        operator = start(proxy.kubeconfig(own_plane, own_plane.kubeconfig_for_service_account(*ACCOUNT)))
        world = World.new(own_plane)
        shop_with_alice(world, "reviews", "ratings")
        settle(operator, world)
        yield world, operator, proxy


@pytest.mark.fault("F17")
def test_i1_what_is_compacted_while_watches_are_broken_is_found(
    own_plane: ControlPlane, own_shop: tuple[World, OperatorProcess, FaultProxy], measured: Measured
) -> None:
    world, operator, proxy = own_shop
    blind(proxy, "")
    world.delete_service("reviews", "alice")
    world.delete_service("ratings", "shop")
    # A running API server answers from its own memory; a new one has to ask etcd, which has forgotten.
    own_plane.kill_api_server()
    own_plane.compact()
    own_plane.start_api_server()
    proxy.heal()
    measured.recoveries.append(settle(operator, world))
    measured.check(i6_alive(operator))
