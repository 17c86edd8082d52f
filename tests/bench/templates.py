"""
What templates cost, without a cluster: `python -m bench.templates`.

Times are CPU time, the best and the middle of several rounds: other work on the machine takes caches and clock rate too.

    one document    rendered and parsed in a batch, and judged; the worker's share and the operator's
    YAML            the guard against PyYAML's loaders, on the texts of one document: S5's has a fragment, which makes two
    compiling       a policy's texts, once
    vso render      from start to end, by the clock
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final
from unittest import mock

import yaml

from builders import SETTINGS, decode, render_all
from virtualservice_operator.core.objects import Key
from virtualservice_operator.core.plan import plan_service
from virtualservice_operator.core.snapshot import Snapshot
from virtualservice_operator.core.template import Render
from virtualservice_operator.templates import guard
from virtualservice_operator.templates.guard import load as load_yaml
from virtualservice_operator.templates.marks import finish
from virtualservice_operator.templates.offline import check_templates
from virtualservice_operator.templates.process import Worker
from virtualservice_operator.templates.render import Renderer as EnvironmentRenderer
from virtualservice_operator.templates.renderer import Renderer

CASE: Final = Path(__file__).parents[1] / "golden/s5-templates/cluster.yaml"
_COUNT: Final = 1000
_ROUNDS: Final = 7
_SHARES: Final = ("worker", "worker, without YAML", "operator", "by the clock", "rendered before")
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def renders(part: int = 0) -> list[Render]:
    """Return a thousand renderings of S5, each with another Service's name; another part has other names."""
    text = CASE.read_text()
    cluster = Snapshot(SETTINGS, [decode(item) for item in yaml.safe_load_all(text) if item])
    worker = Worker()
    check_templates(cluster, Renderer(worker))
    worker.close()
    first = plan_service(cluster, Key("shop", "ratings")).needs[0]
    return [
        Render(
            first.policy,
            first.uid,
            1,
            first.template,
            first.entry,
            first.variables.replace("ratings", f"ratings-{part * _COUNT + number}"),
        )
        for number in range(_COUNT)
    ]


def seconds_of(what: Callable[..., Any], *arguments: Any) -> float:
    """Return the CPU time of a call in this process."""
    before = time.process_time()
    what(*arguments)
    return time.process_time() - before


def each(what: Callable[[Any], Any], items: Iterable[Any]) -> None:
    """Call something with one after the other."""
    for item in items:
        what(item)


def measure_batch() -> None:
    """Print what a document costs when many are asked for at once, and what of it reading YAML is."""
    worker = Worker()
    renderer = Renderer(worker)
    render_all(renderer, renders()[:1])
    child = worker._child
    assert child is not None
    texts = texts_of(renders()[0]) * _COUNT
    shares: dict[str, list[float]] = {name: [] for name in _SHARES}
    for part in range(_ROUNDS):
        wanted = renders(part + 1)
        before, started = child.cpu_seconds(), time.perf_counter()
        shares["operator"].append(seconds_of(render_all, renderer, wanted))
        shares["by the clock"].append(time.perf_counter() - started)
        shares["worker"].append(child.cpu_seconds() - before)
        shares["rendered before"].append(seconds_of(render_all, renderer, wanted))
        shares["worker, without YAML"].append(shares["worker"][-1] - seconds_of(each, guard.load, texts))
    worker.close()
    for name, found in shares.items():
        tell(f"one document, {name}", found)


def measure_yaml() -> None:
    """Print what of it is reading YAML, and what PyYAML's loaders take for the same texts."""
    texts = texts_of(renders()[0]) * _COUNT
    loaders: dict[str, Callable[[str], Any]] = {
        "the guard": guard.load,
        "CSafeLoader": lambda text: yaml.load(text, Loader=_LOADER),
        "SafeLoader": lambda text: yaml.load(text, Loader=yaml.SafeLoader),
    }
    for name, load in loaders.items():
        tell(f"YAML of one document, {name}", [seconds_of(each, load, texts) for _ in range(_ROUNDS)])


def texts_of(render: Render) -> list[str]:
    """Return the YAML that one rendering reads, without marks."""
    texts: list[str] = []

    def note(text: str, inspect: guard.Inspector) -> guard.Loaded:
        texts.append(str(finish(text)))
        return load_yaml(text, inspect)

    renderer = EnvironmentRenderer()
    renderer.load("", dict(render.template.sources))
    with mock.patch.object(guard, "load", note):
        renderer.render("", render.entry or "", json.loads(render.variables))
    return texts


def tell(what: str, rounds: list[float]) -> None:
    """Print what one of a thousand took."""
    found = sorted(seconds / _COUNT * 1000 for seconds in rounds)
    print(f"{what}: {found[0]:.3f} ms at best, {found[len(found) // 2]:.3f} ms in the middle of {len(found)}")


def measure_compiling() -> None:
    """Print what compiling a policy's texts costs."""
    template = renders()[0].template
    renderer = EnvironmentRenderer()
    sources = dict(template.sources)
    spent = seconds_of(each, lambda number: renderer.load(str(number), sources), range(100))
    print(f"compiling S5: {spent / 100 * 1000:.2f} ms")


def measure_command() -> None:
    """Print how long `vso render` takes."""
    command = [sys.executable, "-m", "virtualservice_operator", "render", "-f", str(CASE)]
    times = []
    for _ in range(5):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    print(f"vso render: {min(times):.2f} s at best, {sorted(times)[2]:.2f} s in the middle")


def main() -> None:
    """Measure everything."""
    measure_batch()
    measure_yaml()
    measure_compiling()
    measure_command()
    print(json.dumps({"load": Path("/proc/loadavg").read_text().split()[:3]}))


if __name__ == "__main__":
    main()
