"""
S04: one tenant sends hostile templates in a loop; what do the others notice of it?

The others' times from event to write are printed: in quiet, beside a tenant who edits harmless templates as fast as it can,
and beside one whose templates are hostile. They are bounded only against disaster: machines that run tests have other
things to do. What no load changes is bounded: how often an edition ends the worker.
"""

import re
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from cluster.test_templates import HEALTH, template
from cluster.world import World, eventually
from controlplane.errors import ApiError
from hostile.battery import ATTACKS
from operator_process import OperatorProcess

TENANTS = 5
ROUNDS = 5
DEVELOPERS = 50
NOISE = [
    attack.text for attack in ATTACKS if attack.after in ("cpu", "output", "compile") and len(attack.text) < 30_000
]


def latency(world: World, tenant: str, name: str) -> float:
    """Return the seconds from the creation of a Service to its VirtualService."""
    started = time.monotonic()
    world.service(name, tenant)
    eventually(f"{name} in {tenant}", lambda: world.rules(name, tenant) == ["health", "default"])
    return time.monotonic() - started


def round_of_all(world: World, number: int) -> list[float]:
    return [latency(world, f"tenant{tenant}", f"s{number}") for tenant in range(TENANTS)]


def edit_noisy(world: World, text: str) -> None:
    """Give the noisy tenant's policy a text that is rendered for each of many developers, who share one namespace."""
    developers = [{"name": f"d{number}", "namespaces": [world.ns("noisy-dev")]} for number in range(DEVELOPERS)]
    template = {"virtualService": f"{text}{{# DeveloperName #}}", "renderPer": "Developer"}
    world.policy("noisy", "noisy", developers=developers, template=template)


def kills(operator: OperatorProcess) -> float:
    """Return how many renderings ended the worker so far."""
    found = re.search(r'template_renders_total\{result="killed"\} (\S+)', operator.get("/metrics"))
    return float(found[1]) if found is not None else 0.0


@contextmanager
def noise(world: World, texts: Sequence[str]) -> Iterator[list[int]]:
    """Edit the noisy tenant's policy as fast as the API server takes it."""
    over, edits = threading.Event(), [0]

    def edit() -> None:
        while not over.is_set():
            try:
                edit_noisy(world, f"{texts[edits[0] % len(texts)]}{{# {edits[0]} #}}")
                edits[0] += 1
            except ApiError:
                time.sleep(0.1)

    thread = threading.Thread(target=edit)
    thread.start()
    try:
        yield edits
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
    for tenant in range(TENANTS):
        world.namespace(f"tenant{tenant}")
        world.policy("p", f"tenant{tenant}", **template(world, HEALTH))
        world.wait_ready("p", f"tenant{tenant}")
    round_of_all(world, 0)
    quiet, busy, loud, edits, before = [], [], [], [0, 0], kills(operator)
    for number in range(1, 1 + 3 * ROUNDS, 3):
        quiet += round_of_all(world, number)
        with noise(world, [HEALTH]) as made:
            busy += round_of_all(world, number + 1)
        edits[0] += made[0]
        with noise(world, NOISE) as made:
            loud += round_of_all(world, number + 2)
        edits[1] += made[0]
    without, harmless, hostile = (statistics.median(found) for found in (quiet, busy, loud))
    with capsys.disabled():
        print(
            f"\nevent to write of {TENANTS} tenants: {without * 1000:.0f} ms in quiet, {harmless * 1000:.0f} ms beside "
            f"{edits[0]} harmless edits, {hostile * 1000:.0f} ms beside {edits[1]} hostile ones; "
            f"ratio {hostile / without:.2f} to quiet, {hostile / harmless:.2f} to harmless edits; "
            f"{kills(operator) - before:.0f} renderings were stopped"
        )
    assert min(edits) > 0
    assert hostile < 10 * without
    assert kills(operator) - before <= 3 * edits[1]
    eventually(
        "the noisy one is told",
        lambda: world.condition("noisy", "noisy", "Accepted") == ("False", "InvalidTemplate"),
    )
