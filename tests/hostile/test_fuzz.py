"""Templates by chance: those that were odd once, and some that were not. `make fuzz` looks for more."""

from collections.abc import Iterator

import pytest

from hostile.fuzz import Grammar, kept_seeds, try_seed
from virtualservice_operator.templates.process import Worker


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    found = Worker(log=print)
    found.run([{"digest": "warm", "sources": {"virtualService": "a: 1"}}])
    yield found
    found.close()


@pytest.mark.parametrize("seed", [*kept_seeds(), *range(300)])
def test_no_template_is_odd(worker: Worker, seed: int) -> None:
    """A kill counts when it comes three times in a row, as it does for a policy: the machine may have been busy."""
    tries = (try_seed(worker, seed) for _ in range(3))
    assert next((told for told in tries if told != "killed"), "killed") == ""


def test_a_seed_is_one_template() -> None:
    assert Grammar(7).attack() == Grammar(7).attack()
    assert Grammar(7).attack() != Grammar(8).attack()


def test_some_of_them_are_good_templates_and_some_are_not(worker: Worker) -> None:
    texts = [Grammar(seed).attack() for seed in range(300)]
    jobs = [
        {"digest": f"check-{number}", "sources": {"virtualService": item.text, **item.includes}}
        for number, item in enumerate(texts)
    ]
    compiled = [told.answer["ok"] for told in worker.run(jobs)]
    assert 15 < sum(compiled) < 285
