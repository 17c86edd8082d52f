"""
S04: one tenant sends hostile templates in a loop; what do the others notice of it?

The others' times from event to write, by the clock of the API server's audit log, are printed: in quiet, and beside a tenant
who edits a policy as fast as the API server takes it, in three ways. A dry run costs the API server as much and the operator
nothing, so that what is left of the difference is the operator's. The times are bounded only against disaster: machines that
run tests have other things to do. What no load changes is bounded: how often an edition ends the worker.
"""

import re
import statistics
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial

import pytest

from cluster.conftest import USER
from cluster.test_templates import HEALTH, template
from cluster.world import World, eventually
from controlplane.audit import read_events
from controlplane.errors import ApiError
from hostile.battery import ATTACKS
from operator_process import OperatorProcess
from virtualservice_operator.api.names import VIRTUAL_SERVICE_SUFFIX

TENANTS = [f"tenant{number}" for number in range(5)]
ROUNDS = 6
DEVELOPERS = 50
NOISE = [
    attack.text for attack in ATTACKS if attack.after in ("cpu", "output", "compile") and len(attack.text) < 30_000
]


def change_all(world: World, number: int) -> str:
    """Create a Service for each tenant, wait for its VirtualService, and return its name."""
    name = f"s{number}"
    for tenant in TENANTS:
        world.service(name, tenant)
        eventually(f"{name} in {tenant}", partial(is_written, world, name, tenant))
    return name


def is_written(world: World, name: str, tenant: str) -> bool:
    return world.rules(name, tenant) == ["health", "default"]


def latencies(world: World, names: Iterable[str]) -> list[float]:
    """Return the seconds from the creation of Services to the write of their VirtualServices."""
    created: dict[tuple[str, str], datetime] = {}
    written: dict[tuple[str, str], datetime] = {}
    for event in read_events(world.plane.audit_log):
        place = (event.namespace, event.name.removesuffix(VIRTUAL_SERVICE_SUFFIX))
        if event.resource == "services" and event.verb == "patch":
            created.setdefault(place, event.answered)
        elif event.resource == "virtualservices" and event.verb == "patch" and event.user == USER:
            written.setdefault(place, event.timestamp)
    places = [(world.ns(tenant), name) for name in names for tenant in TENANTS]
    return [(written[place] - created[place]).total_seconds() for place in places]


def edit_noisy(world: World, text: str, *, dry_run: bool) -> None:
    """Give the noisy tenant's policy a text that is rendered for each of many developers, who share one namespace."""
    edit = world.try_policy if dry_run else world.policy
    developers = [{"name": f"d{number}", "namespaces": [world.ns("noisy-dev")]} for number in range(DEVELOPERS)]
    template = {"virtualService": f"{text}{{# DeveloperName #}}", "renderPer": "Developer"}
    edit("noisy", "noisy", developers=developers, template=template)


def kills(operator: OperatorProcess) -> float:
    """Return how many renderings ended the worker so far."""
    found = re.search(r'template_renders_total\{result="killed"\} (\S+)', operator.get("/metrics"))
    return float(found[1]) if found is not None else 0.0


@contextmanager
def noise(world: World, texts: Sequence[str], edits: list[str], *, dry_run: bool = False) -> Iterator[None]:
    """Edit the noisy tenant's policy as fast as the API server takes it; what it took is added to `edits`."""
    over = threading.Event()

    def edit() -> None:
        while not over.is_set():
            text = f"{texts[len(edits) % len(texts)]}{{# {len(edits)} #}}"
            try:
                edit_noisy(world, text, dry_run=dry_run)
                edits.append(text)
            except ApiError:
                time.sleep(0.1)

    thread = threading.Thread(target=edit)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_noisy_tenant_costs_the_others_little(
    world: World, operator: OperatorProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    for namespace in ("noisy", "noisy-dev"):
        world.namespace(namespace)
        for service in range(10):
            world.service(f"s{service}", namespace)
    for tenant in TENANTS:
        world.namespace(tenant)
        world.policy("p", tenant, **template(world, HEALTH))
        world.wait_ready("p", tenant)
    change_all(world, 0)
    quiet, tried, harmless, hostile = ([] for _ in range(4))
    tries: list[str] = []
    edits: list[str] = []
    attacks: list[str] = []
    before = kills(operator)
    for number in range(1, 1 + 4 * ROUNDS, 4):
        quiet.append(change_all(world, number))
        with noise(world, NOISE, tries, dry_run=True):
            tried.append(change_all(world, number + 1))
        with noise(world, [HEALTH], edits):
            harmless.append(change_all(world, number + 2))
        with noise(world, NOISE, attacks):
            hostile.append(change_all(world, number + 3))
    stopped = kills(operator) - before
    median = [statistics.median(latencies(world, names)) for names in (quiet, tried, harmless, hostile)]
    with capsys.disabled():
        print(
            f"\nevent to write of {len(TENANTS)} tenants: {median[0] * 1000:.1f} ms in quiet, {median[1] * 1000:.1f} ms beside "
            f"{len(tries)} dry runs, {median[2] * 1000:.1f} ms beside {len(edits)} harmless edits, {median[3] * 1000:.1f} ms "
            f"beside {len(attacks)} hostile ones, of which {stopped:.0f} renderings were stopped; ratio "
            f"{median[3] / median[0]:.2f} to quiet, {median[3] / median[1]:.2f} to dry runs, {median[3] / median[2]:.2f} to "
            "harmless edits"
        )
    assert tries
    assert edits
    assert attacks
    assert median[3] < 10 * median[0]
    assert stopped <= 3 * len(attacks)
    eventually(
        "the noisy one is told",
        lambda: world.condition("noisy", "noisy", "Accepted") == ("False", "InvalidTemplate"),
    )
