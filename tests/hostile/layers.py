"""Each layer tried on a template by itself, and all together: what came of it, and what it cost."""

import gc
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from builders import SETTINGS, decode
from hostile.battery import Attack
from virtualservice_operator.api.v1alpha1 import PolicyTemplate
from virtualservice_operator.core.objects import Key
from virtualservice_operator.core.snapshot import Snapshot
from virtualservice_operator.templates import guard, process
from virtualservice_operator.templates.guard import Loaded, Unacceptable
from virtualservice_operator.templates.offline import check_templates, plan_offline
from virtualservice_operator.templates.process import Ended, Job, Told, Worker
from virtualservice_operator.templates.render import Renderer as EnvironmentRenderer
from virtualservice_operator.templates.renderer import Renderer

PLAIN: Final = (sys.executable, "-I", str(Path(__file__).with_name("plain_worker.py")))
_serial: Final = itertools.count()
SERVICE: Final = Key("shop", "reviews")


@dataclass(frozen=True, slots=True)
class Trial:
    """
    What came of one attack: `stopped` in words, '' where it came through.

    `own` is CPU time of the operator, `worker` that of the worker or of what runs in it otherwise; `memory`: by how many
    MiB this process grew at its peak.
    """

    stopped: str
    own: float = 0.0
    worker: float = 0.0
    memory: float = 0.0
    output: str = ""

    @property
    def seconds(self) -> float:
        """Return all CPU time."""
        return self.own + self.worker


def values(attack: Attack) -> dict[str, Any]:
    """Return the variables of a rendering."""
    return {
        "ServiceName": "reviews",
        "ServiceNamespace": "shop",
        "ServiceFQDN": "reviews.shop.svc.cluster.local",
        "ClusterDomain": "cluster.local",
        "ServiceLabels": {"app": "reviews"},
        "ServiceAnnotations": {"note": attack.annotation},
        "ServicePorts": [{"name": "http", "port": 80, "http": True}],
        **{name: [] for name in ("DeveloperRules", "SourceRules", "UnknownRules", "DefaultRules", "Developers")},
    }


def sources(attack: Attack) -> dict[str, str]:
    """Return the texts of a policy."""
    return {"virtualService": attack.text, **attack.includes}


def peak() -> float:
    """Return the most memory this process has had since `forget_peak`, in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def forget_peak() -> float:
    """Begin to measure anew, and return what the process has now."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak()


@contextmanager
def untraced() -> Iterator[None]:
    """Take coverage's tracer away for a while: it is several times as slow (with sys.monitoring there is none)."""
    tracer = sys.gettrace()
    sys.settrace(None)
    try:
        yield
    finally:
        sys.settrace(tracer)


def measured(trial: Callable[[], tuple[str, str]]) -> Trial:
    """Return what came of a trial in this process, and its cost."""
    gc.collect()
    with untraced():
        before, used = forget_peak(), time.thread_time()
        stopped, output = trial()
        own = time.thread_time() - used
    return Trial(stopped, own, 0.0, peak() - before, output)


def cheapest(trial: Callable[[], Trial], is_cheap: Callable[[Trial], bool]) -> Trial:
    """Return what came of a trial; one that costs too much is tried twice again: the machine may have been busy."""
    best = trial()
    for _ in range(2):
        if is_cheap(best):
            break
        other = trial()
        best = replace(
            other if other.worker < best.worker else best,
            own=min(best.own, other.own),
            worker=min(best.worker, other.worker),
            memory=min(best.memory, other.memory),
        )
    return best


# ---- layer 1: the limits of the CRD


def by_limits(attack: Attack) -> Trial:
    """Try the schema of the policy."""
    includes = [{"name": name, "content": text} for name, text in attack.includes.items()]
    try:
        PolicyTemplate.model_validate({"virtualService": attack.text, "includes": includes})
    except ValidationError as error:
        return Trial(str(error.errors()[0]["msg"]))
    return Trial("")


# ---- layer 2: the environment, in this process, without guard and worker


class _TextOnly(EnvironmentRenderer):
    """The environment whose output is not parsed, but by `fragment`, where it has to be."""

    def _load_yaml(self, text: str, rendering: Any) -> Loaded:  # noqa: ARG002 - of the original
        return Loaded(text)


def by_environment(attack: Attack) -> Trial:
    """Try the hardened environment alone."""
    renderer = _TextOnly()

    def trial() -> tuple[str, str]:
        answer = renderer.load("x", sources(attack))
        if answer["ok"]:
            answer = renderer.render("x", "virtualService", values(attack))
        return (answer["message"], "") if not answer["ok"] else ("", str(answer["value"]))

    found = measured(trial)
    return replace(found, own=0.0, worker=found.own)


# ---- layer 3: the worker, with plain Jinja in it


class PlainWorker:
    """The worker process around an environment that forbids nothing."""

    def __init__(self) -> None:
        self.worker = Worker(PLAIN)

    def __call__(self, attack: Attack) -> Trial:
        """Try the worker alone."""
        self.worker.run([self._job("'warm'", {}, {})])
        job, cpu = self._job(attack.text, attack.includes, values(attack)), self._cpu()

        def trial() -> tuple[str, str]:
            (told,) = self.worker.run([job])
            if told.ended is Ended.KILLED:
                return "killed", ""
            return ("", str(told.answer["value"])) if told.answer["ok"] else (told.answer["message"], "")

        found = measured(trial)
        is_killed = found.stopped == "killed"
        return replace(found, worker=process.COMPILE_DEADLINE if is_killed else max(0.0, self._cpu() - cpu))

    def _job(self, text: str, includes: dict[str, str], variables: dict[str, Any]) -> Job:
        given = {"virtualService": text, **includes}
        return {"digest": str(next(_serial)), "sources": given, "entry": "x", "variables": json.dumps(variables)}

    def _cpu(self) -> float:
        child = self.worker._child
        return child.cpu_seconds() if child is not None else 0.0


# ---- layer 4: the guard, on text


def by_guard(text: str) -> Trial:
    """Try the guard on what a template came to."""

    def trial() -> tuple[str, str]:
        try:
            guard.load(text)
        except Unacceptable as refused:
            return refused.message, ""
        return "", text

    return measured(trial)


# ---- layer 5: schema and tenant rules, on data


class _Scripted(Worker):
    """A worker that answers with what it is given."""

    def __init__(self, data: Any) -> None:
        super().__init__(())
        self._data = data

    def run_some(self, jobs: Sequence[Job]) -> list[Told]:
        return [Told({"ok": True, "value": self._data, "lines": {}}) for _ in jobs]


def by_rules(data: Any) -> Trial:
    """Try the schema and the tenant rules on data that some worker gave."""
    renderer = Renderer(_Scripted(data))
    return measured(lambda: (_planned(_cluster(Attack("", "", "x")), renderer), ""))


def load_as_others_do(text: str) -> Any:
    """Return YAML as PyYAML reads it, so that the rules are tried on what the guard would have refused."""
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError):
        return None


# ---- all layers


def by_all(attack: Attack, worker: Worker) -> Trial:
    """Try a policy with the template, from the resource to the plan; nothing is known of it from before."""
    if refused := by_limits(attack).stopped:
        return Trial(refused)
    renderer = Renderer(worker)
    return measured(lambda: (_planned(_cluster(attack), renderer), ""))


def by_all_for_many(text: str, developer_count: int, worker: Worker) -> Trial:
    """Try a template that is rendered for each of many developers, who share one copy."""
    renderer = Renderer(worker)
    return measured(lambda: (_planned(_crowd(text, developer_count), renderer), ""))


def by_all_of_many(text: str, policy_count: int, worker: Worker) -> Trial:
    """Try many policies in mode Observe for one Service, each with a template of its own for 40 developers."""
    renderer, cluster = Renderer(worker), _crowd(text, 40, policy_count)

    def trial() -> tuple[str, str]:
        check_templates(cluster, renderer)
        entries = plan_offline(cluster, SERVICE, renderer).entries
        return "; ".join(dict.fromkeys(entry.rejection.message for entry in entries.values() if entry.rejection)), ""

    return measured(trial)


def _crowd(text: str, developer_count: int, observer_count: int = 0) -> Snapshot:
    objects: list[dict[str, Any]] = [
        {
            "kind": "Service",
            "metadata": {"name": "reviews", "namespace": name},
            "spec": {"ports": [{"name": "http", "port": 80}]},
        }
        for name in ("shop", "team")
    ]
    objects.extend({"kind": "Namespace", "metadata": {"name": name}} for name in ("shop", "team"))
    developers = [{"name": f"d{number}", "namespaces": ["team"]} for number in range(developer_count)]
    spec = {"developers": developers, "mode": "Observe" if observer_count else "Enforce"}
    policies = [
        {
            "kind": "RoutingPolicy",
            "metadata": {"namespace": "shop", "name": f"hostile-{number}"},
            "spec": {**spec, "template": {"renderPer": "Developer", "virtualService": f"{text}# {number}"}},
        }
        for number in range(observer_count or 1)
    ]
    return Snapshot(SETTINGS, [decode(item) for item in (*objects, *policies)])


def _cluster(attack: Attack) -> Snapshot:
    service = {
        "kind": "Service",
        "metadata": {**SERVICE._asdict(), "labels": {"app": "reviews"}, "annotations": {"note": attack.annotation}},
        "spec": {"ports": [{"name": "http", "port": 80}]},
    }
    includes = [{"name": name, "content": text} for name, text in attack.includes.items()]
    policy = {
        "kind": "RoutingPolicy",
        "metadata": {"namespace": "shop", "name": "hostile"},
        "spec": {"template": {"virtualService": attack.text, "includes": includes}},
    }
    return Snapshot(SETTINGS, [decode(service), decode(policy)])


def _planned(cluster: Snapshot, renderer: Renderer) -> str:
    """Return why nothing is written; '' where something is."""
    check_templates(cluster, renderer)
    plan = plan_offline(cluster, SERVICE, renderer)
    (policy,) = cluster.policies("shop")
    if policy.rejection is not None:
        return policy.rejection.message
    if plan.changes:
        return ""
    (entry,) = plan.entries.values()
    return entry.message
