"""
What templates cost, without a cluster: `python -m bench.templates`. Times are CPU time, so that other work matters little.

    one document    rendered, parsed and judged, in a batch; the worker's share and the operator's
    YAML            the guard against PyYAML's loaders, on the same text
    compiling       a policy's texts, once
    vso render      from start to end, by the clock
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import yaml

from builders import SETTINGS, decode
from virtualservice_operator.core.objects import Key
from virtualservice_operator.core.plan import plan_service
from virtualservice_operator.core.snapshot import Snapshot
from virtualservice_operator.core.template import Render
from virtualservice_operator.templates import guard
from virtualservice_operator.templates.offline import check_templates
from virtualservice_operator.templates.process import Worker
from virtualservice_operator.templates.render import Renderer as EnvironmentRenderer
from virtualservice_operator.templates.renderer import Renderer

CASE: Final = Path(__file__).parents[1] / "golden/s5-templates/cluster.yaml"
_COUNT: Final = 1000
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def renders() -> list[Render]:
    """Return a thousand renderings of S5, each with another Service's name."""
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
            first.variables.replace("ratings", f"ratings-{number}"),
        )
        for number in range(_COUNT)
    ]


def seconds_of(what: Callable[[], Any]) -> float:
    """Return the CPU time of a call in this process."""
    before = time.process_time()
    what()
    return time.process_time() - before


def measure_batch() -> None:
    """Print what a document costs when many are asked for at once."""
    worker = Worker()
    renderer = Renderer(worker)
    wanted = renders()
    renderer.render(wanted[:1])
    child = worker._child
    assert child is not None
    before, started = child.cpu_seconds(), time.perf_counter()
    own = seconds_of(lambda: renderer.render(wanted[1:]))
    elapsed = time.perf_counter() - started
    used, count = child.cpu_seconds() - before, len(wanted) - 1
    again = seconds_of(lambda: renderer.render(wanted))
    worker.close()
    print(f"one document: worker {used / count * 1000:.3f} ms, operator {own / count * 1000:.3f} ms (of CPU time)")
    print(f"  by the clock {elapsed / count * 1000:.3f} ms; rendered before {again / count * 1000:.3f} ms")


def measure_yaml() -> None:
    """Print what reading YAML costs."""
    text = (CASE.parent / "virtualservices.yaml").read_text().partition("---")[0]
    shares = {
        "guard": lambda: [guard.load(text) for _ in range(_COUNT)],
        "CSafeLoader": lambda: [yaml.load(text, Loader=_LOADER) for _ in range(_COUNT)],
        "SafeLoader": lambda: [yaml.load(text, Loader=yaml.SafeLoader) for _ in range(_COUNT // 10)] * 10,
    }
    for name, call in shares.items():
        factor = 10 if name == "SafeLoader" else 1
        print(f"YAML by {name}: {seconds_of(call) * factor / _COUNT * 1000:.3f} ms")


def measure_compiling() -> None:
    """Print what compiling a policy's texts costs."""
    template = renders()[0].template
    renderer = EnvironmentRenderer()
    spent = seconds_of(lambda: [renderer.load(str(number), dict(template.sources)) for number in range(100)])
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
