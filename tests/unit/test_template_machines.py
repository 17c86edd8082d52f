"""Equal inputs come to equal bytes on every machine: the golden cases with a template, rendered by processes that differ."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from builders import SETTINGS, decode
from virtualservice_operator.core.objects import Service
from virtualservice_operator.core.snapshot import Snapshot
from virtualservice_operator.templates import worker
from virtualservice_operator.templates.offline import check_templates, plan_offline
from virtualservice_operator.templates.process import Job, Told, Worker
from virtualservice_operator.templates.render import Renderer as EnvironmentRenderer
from virtualservice_operator.templates.renderer import Renderer
from virtualservice_operator.templates.values import FUEL

TESTS: Final = Path(__file__).parents[1]
CASES: Final = [path for path in sorted(TESTS.glob("golden/*/cluster.yaml")) if "template:" in path.read_text()]
MACHINES: Final = (
    {"PYTHONHASHSEED": "1", "LANG": "C", "TZ": "UTC"},
    {"PYTHONHASHSEED": "2", "LANG": "C.UTF-8", "TZ": "Asia/Kathmandu", "PYTHONUTF8": "0"},
    {"PYTHONHASHSEED": "4294967295", "LC_ALL": "POSIX", "TZ": "America/St_Johns", "PYTHONOPTIMIZE": "1"},
)


class InProcess(Worker):
    """Renders here and not in a child, whose environment is always empty; `answers` has all that it said, as bytes."""

    def __init__(self) -> None:
        super().__init__(())
        self.answers: list[str] = []
        self.most = 0
        self._renderer = EnvironmentRenderer()

    def run_some(self, jobs: Sequence[Job]) -> list[Told]:
        return [Told(self._answer(job)) for job in jobs]

    def _answer(self, job: Job) -> Any:
        answer = worker.handle(self._renderer, job)
        self.most = max(self.most, FUEL - self._renderer._environment.rendering.budget.fuel)
        self.answers.append(json.dumps(answer))
        return json.loads(self.answers[-1])


def render_case(path: Path) -> InProcess:
    """Render all that a case needs."""
    rendering = InProcess()
    renderer = Renderer(rendering)
    documents = yaml.safe_load_all(path.read_text())
    snapshot = Snapshot(SETTINGS, [decode(document) for document in documents if document is not None])
    check_templates(snapshot, renderer)
    for service in sorted(snapshot.all_of(Service), key=lambda found: found.key):
        plan = plan_offline(snapshot, service.key, renderer)
        rendering.answers.extend(json.dumps(change.document) for change in plan.changes)
    return rendering


def print_all() -> None:
    """Print what each case comes to: what such a process is for."""
    for path in CASES:
        print(path.parent.name, *render_case(path).answers, sep="\n")


def printed_by(machine: dict[str, str]) -> bytes:
    path = os.pathsep.join([str(TESTS), str(TESTS / "unit")])
    command = [sys.executable, "-c", "import test_template_machines; test_template_machines.print_all()"]
    return subprocess.run(command, check=True, capture_output=True, env={**machine, "PYTHONPATH": path}).stdout


def test_equal_inputs_give_equal_bytes_on_every_machine() -> None:
    first, *others = map(printed_by, MACHINES)
    assert first.count(b'"kind": "VirtualService"') > len(CASES)
    assert first.count(b"\n") > 3 * len(CASES)
    for other in others:
        assert other == first


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.parent.name)
def test_an_ordinary_template_takes_a_hundredth_of_its_steps(path: Path) -> None:
    assert render_case(path).most < FUEL / 100
