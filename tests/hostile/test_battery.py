"""The battery against each layer alone and against all together; a line per layer is printed."""

import gc
from collections.abc import Callable, Iterator
from typing import Final

import pytest

from hostile import layers
from hostile.battery import ATTACKS, MANY, Attack
from hostile.layers import PlainWorker, Trial
from rendered import WORKER
from virtualservice_operator.templates.process import COMPILE_DEADLINE

# Of the operator's own CPU time; and of the worker's, whose deadline is looked at now and then.
MOST_OWN: Final = 0.3
MOST_WORKER: Final = COMPILE_DEADLINE + 0.25
MOST_MEMORY: Final = 50.0
MANY_DEVELOPERS: Final = 200
MANY_POLICIES: Final = 50
# In many short pieces; the longest plan is a part of it.
MOST_OWN_OF_ALL: Final = 60.0
CANARY: Final = "canary-6f1d"
BY_DATA: Final = ("yaml", "reach")


@pytest.fixture(scope="module")
def told() -> Iterator[dict[str, list[tuple[Attack, Trial]]]]:
    found: dict[str, list[tuple[Attack, Trial]]] = {}
    yield found
    print()
    for layer, trials in found.items():
        stopped = sum(bool(trial.stopped) for _, trial in trials)
        worst = max(trials, key=lambda item: item[1].seconds)
        print(
            f"{layer}: {stopped} of {len(trials)} stopped; at most {worst[1].seconds * 1000:.0f} ms of CPU time "
            f"({worst[0].name}) and {max(trial.memory for _, trial in trials):.0f} MiB"
        )


@pytest.fixture(scope="module")
def plain() -> Iterator[PlainWorker]:
    found = PlainWorker()
    yield found
    found.worker.close()


@pytest.fixture(scope="module", autouse=True)
def only_new_garbage() -> Iterator[None]:
    """Let what was there before be: it is collected before each trial, which would take long."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def is_cheap(trial: Trial) -> bool:
    return trial.own < MOST_OWN and trial.worker < MOST_WORKER and trial.memory < MOST_MEMORY


def was_in_time(trial: Trial) -> bool:
    """Tell whether a verdict was counted, and not timed."""
    return "was stopped" not in trial.stopped


def try_cheaply(trial: Callable[[], Trial]) -> Trial:
    """Return what came of a trial whose cost is within the limits."""
    found = layers.cheapest(trial, lambda found: is_cheap(found) and was_in_time(found))
    assert is_cheap(found), (
        f"{found.own * 1000:.0f} ms, {found.worker * 1000:.0f} ms of the worker, {found.memory:.0f} MiB"
    )
    return found


def name_of(attack: Attack) -> str:
    return f"{attack.after}: {attack.name}"


def test_there_are_enough_of_them_and_of_every_kind() -> None:
    assert len(ATTACKS) >= 60
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS)
    kinds = {attack.after for attack in ATTACKS}
    assert kinds == {"cpu", "memory", "output", "compile", "escape", "mutate", "leak", "yaml", "reach"}


def test_the_limits_alone_keep_what_is_too_long_away(told: dict[str, list[tuple[Attack, Trial]]]) -> None:
    told["limits"] = [(attack, layers.by_limits(attack)) for attack in ATTACKS]
    assert any(trial.stopped for _, trial in told["limits"])


@pytest.mark.parametrize("attack", ATTACKS, ids=name_of)
def test_all_layers_together_stop_it(attack: Attack, told: dict[str, list[tuple[Attack, Trial]]]) -> None:
    trial = try_cheaply(lambda: layers.by_all(attack, WORKER))
    told.setdefault("all", []).append((attack, trial))
    assert trial.stopped
    assert was_in_time(trial), "the clock decided, which is another verdict on another machine"


@pytest.mark.parametrize("attack", MANY, ids=name_of)
def test_many_developers_take_no_more_than_one(attack: Attack, told: dict[str, list[tuple[Attack, Trial]]]) -> None:
    """What one rendering may come to, two hundred may not: all of them are for one VirtualService."""
    found = layers.cheapest(
        lambda: layers.by_all_for_many(attack.text, MANY_DEVELOPERS, WORKER), lambda trial: trial.memory < MOST_MEMORY
    )
    told.setdefault("all, for many developers", []).append((attack, found))
    assert found.memory < MOST_MEMORY
    assert "its rules for all 200 developers" in found.stopped


@pytest.mark.parametrize("attack", MANY, ids=name_of)
def test_many_policies_take_no_more_than_a_few(attack: Attack, told: dict[str, list[tuple[Attack, Trial]]]) -> None:
    found = layers.cheapest(
        lambda: layers.by_all_of_many(attack.text, MANY_POLICIES, WORKER), lambda trial: trial.memory < MOST_MEMORY
    )
    told.setdefault("all, for many policies", []).append((attack, found))
    assert found.memory < MOST_MEMORY
    assert found.own < MOST_OWN_OF_ALL
    assert "the templates of all policies of the Service come to more than 8192 rules, or 4 MiB" in found.stopped


@pytest.mark.parametrize("attack", ATTACKS, ids=name_of)
def test_the_environment_alone_stops_it(attack: Attack, told: dict[str, list[tuple[Attack, Trial]]]) -> None:
    """What is wrong with the result only, it cannot see."""
    trial = try_cheaply(lambda: layers.by_environment(attack))
    told.setdefault("environment", []).append((attack, trial))
    assert trial.stopped or attack.after in BY_DATA or is_harmless(trial.output), trial.output[:200]


def is_harmless(output: str) -> bool:
    """Tell whether an output is small, and shows nothing of Python."""
    return len(output) <= 256 * 1024 and not any(word in output for word in (" at 0x", "<class", "<built-in", "<bound"))


@pytest.mark.parametrize("attack", ATTACKS, ids=name_of)
def test_the_worker_alone_contains_it(
    attack: Attack,
    plain: PlainWorker,
    told: dict[str, list[tuple[Attack, Trial]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With plain Jinja in it, whoever breaks out finds nothing to take and nobody to harm."""
    monkeypatch.setenv("SECRET", CANARY)
    trial = try_cheaply(lambda: plain(attack))
    told.setdefault("worker", []).append((attack, trial))
    assert CANARY not in trial.output
    assert "uid=" not in trial.output


@pytest.mark.parametrize("attack", [item for item in ATTACKS if item.after == "yaml"], ids=name_of)
def test_the_guard_alone_stops_it(
    attack: Attack, plain: PlainWorker, told: dict[str, list[tuple[Attack, Trial]]]
) -> None:
    """It sees the text only: an annotation that was spliced into it looks like the author's own."""
    output = plain(attack).output or attack.text  # plain Jinja may take too long for one of them
    trial = try_cheaply(lambda: layers.by_guard(output))
    told.setdefault("guard", []).append((attack, trial))
    assert trial.stopped or "annotation" in attack.name


@pytest.mark.parametrize("attack", [item for item in ATTACKS if item.after in BY_DATA], ids=name_of)
def test_the_rules_alone_stop_what_reaches_too_far(
    attack: Attack, plain: PlainWorker, told: dict[str, list[tuple[Attack, Trial]]]
) -> None:
    output = plain(attack).output
    assert output or attack.after == "yaml"
    data = layers.load_as_others_do(output[:100_000])
    trial = try_cheaply(lambda: layers.by_rules(data))
    told.setdefault("rules", []).append((attack, trial))
    assert trial.stopped or attack.after == "yaml"
