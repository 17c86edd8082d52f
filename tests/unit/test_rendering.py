"""Who waits for whom: renderings of one tenant that take long, and those of another."""

import asyncio
from collections.abc import Sequence

import pytest

from virtualservice_operator.api.v1alpha1 import PolicyTemplate
from virtualservice_operator.controller import rendering
from virtualservice_operator.controller.metrics import Metrics
from virtualservice_operator.controller.rendering import Templates
from virtualservice_operator.controller.store import Store
from virtualservice_operator.controller.tracing import OFF
from virtualservice_operator.core.objects import Key
from virtualservice_operator.core.resolution import PlanSettings
from virtualservice_operator.core.template import Failed, Render, template_of
from virtualservice_operator.templates.process import Ended, Job, Told, Worker

LIGHT = Told({"ok": False, "message": "nothing"})
HEAVY = Told({"ok": False, "message": "nothing"}, cpu=0.2)
KILLED = Told(None, Ended.KILLED)


class Scripted(Worker):
    """A worker without a process; what comes of a job is its template's own words."""

    jobs: list[tuple[int, str]]

    def run_some(self, jobs: Sequence[Job]) -> list[Told]:
        found = []
        for job in jobs:
            text = job["sources"]["virtualService"]
            self.jobs.append((self._nice, text))
            found.append({"killed": KILLED, "heavy": HEAVY}.get(text, LIGHT))
            if found[-1] is KILLED:
                break
        return found


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    """Return the jobs of both workers: how nice the worker is, and the template."""
    done: list[tuple[int, str]] = []
    monkeypatch.setattr(Scripted, "jobs", done, raising=False)
    monkeypatch.setattr(rendering, "Worker", Scripted)
    return done


@pytest.fixture
def templates(jobs: list[tuple[int, str]]) -> Templates:
    found = Templates(Store(PlanSettings(), lambda _: None, lambda _: None), Metrics(), OFF)
    found._looked.set()
    return found


def renders(namespace: str, text: str, count: int) -> list[Render]:
    template = template_of(PolicyTemplate(virtual_service=text))
    policy = Key(namespace, "p")
    return [Render(policy, "uid", 1, template, "virtualService", str(number)) for number in range(count)]


async def provide(templates: Templates, wanted: list[Render]) -> None:
    """Have each rendered, also after one that failed."""
    for render in wanted:
        await templates.provide([render], templates.held())


async def test_an_edition_ends_the_worker_three_times_and_once_that_of_the_others(
    templates: Templates, jobs: list[tuple[int, str]]
) -> None:
    held, left = templates.held(), renders("noisy", "killed", 256)
    while left:
        before = len(held)
        await templates.provide(left, held)
        left = left[len(held) - before :]
    assert jobs == [(0, "killed"), (10, "killed"), (10, "killed")]
    assert held.was_killed
    assert all(isinstance(held[render], Failed) for render in renders("noisy", "killed", 256))


async def test_what_takes_long_goes_on_in_the_other_line(templates: Templates, jobs: list[tuple[int, str]]) -> None:
    await provide(templates, renders("noisy", "heavy", 20))
    assert jobs == [(0, "heavy"), *[(10, "heavy")] * 19]


async def test_who_waits_for_the_quick_worker_goes_to_the_other_line_too(
    templates: Templates, jobs: list[tuple[int, str]]
) -> None:
    """All of them have chosen the line before the first one is seen to take long."""
    wanted = renders("noisy", "heavy", 8)
    await asyncio.gather(*(provide(templates, [render]) for render in wanted))
    assert sorted(jobs) == [(0, "heavy"), *[(10, "heavy")] * 7]


async def test_others_stay_in_the_quick_line(templates: Templates, jobs: list[tuple[int, str]]) -> None:
    await provide(templates, renders("noisy", "heavy", 2))
    await provide(templates, renders("quiet", "light", 2))
    assert jobs[2:] == [(0, "light")] * 2
