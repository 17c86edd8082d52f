"""The battery against each layer alone and against all together; a line per layer is printed."""

from collections.abc import Iterator
from typing import Final

import pytest

from hostile import layers
from hostile.battery import ATTACKS, Attack
from hostile.layers import PlainWorker, Trial
from rendered import RENDERER
from virtualservice_operator.templates.process import COMPILE_DEADLINE

# Each takes less than 0.3 s on a quiet machine, as is printed. A test judges no speed: this one has a coverage tracer in it.
MOST_SECONDS: Final = 3.0
MOST_MEMORY: Final = 50.0
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


def check_cost(attack: Attack, trial: Trial) -> None:
    assert trial.seconds < MOST_SECONDS, f"{attack.name}: {trial.seconds * 1000:.0f} ms"
    assert trial.memory < MOST_MEMORY, f"{attack.name}: {trial.memory:.0f} MiB"


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
    trial = layers.by_all(attack, RENDERER)
    told.setdefault("all", []).append((attack, trial))
    assert trial.stopped
    check_cost(attack, trial)


@pytest.mark.parametrize("attack", ATTACKS, ids=name_of)
def test_the_environment_alone_stops_it(attack: Attack, told: dict[str, list[tuple[Attack, Trial]]]) -> None:
    """What is wrong with the result only, it cannot see."""
    trial = layers.by_environment(attack)
    told.setdefault("environment", []).append((attack, trial))
    check_cost(attack, trial)
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
    trial = plain(attack)
    told.setdefault("worker", []).append((attack, trial))
    assert CANARY not in trial.output
    assert "uid=" not in trial.output
    assert trial.seconds < COMPILE_DEADLINE + MOST_SECONDS
    assert trial.memory < MOST_MEMORY


@pytest.mark.parametrize("attack", [item for item in ATTACKS if item.after == "yaml"], ids=name_of)
def test_the_guard_alone_stops_it(
    attack: Attack, plain: PlainWorker, told: dict[str, list[tuple[Attack, Trial]]]
) -> None:
    """It sees the text only: an annotation that was spliced into it looks like the author's own."""
    output = plain(attack).output or attack.text  # plain Jinja may take too long for one of them
    trial = layers.by_guard(output)
    told.setdefault("guard", []).append((attack, trial))
    assert trial.stopped or "annotation" in attack.name
    assert trial.seconds < MOST_SECONDS


@pytest.mark.parametrize("attack", [item for item in ATTACKS if item.after in BY_DATA], ids=name_of)
def test_the_rules_alone_stop_what_reaches_too_far(
    attack: Attack, plain: PlainWorker, told: dict[str, list[tuple[Attack, Trial]]]
) -> None:
    output = plain(attack).output
    assert output or attack.after == "yaml"
    data = layers.load_as_others_do(output[:100_000])
    trial = layers.by_rules(data)
    told.setdefault("rules", []).append((attack, trial))
    assert trial.stopped or attack.after == "yaml"
    check_cost(attack, trial)
