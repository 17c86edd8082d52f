"""Each layer tried on a template by itself, and all together: what came of it, and what it cost."""

import itertools
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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

    `seconds` is CPU time, of this process or of the worker; `memory` by how many MiB this process grew at its peak.
    """

    stopped: str
    seconds: float = 0.0
    memory: float = 0.0
    output: str = ""


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


def measured(trial: Callable[[], tuple[str, str]]) -> Trial:
    """Return what came of a trial in this process, and its cost."""
    before, used = forget_peak(), time.process_time()
    stopped, output = trial()
    return Trial(stopped, time.process_time() - used, peak() - before, output)


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

    def trial() -> tuple[str, str]:
        renderer = _TextOnly()
        answer = renderer.load("x", sources(attack))
        if answer["ok"]:
            answer = renderer.render("x", "virtualService", values(attack))
        return (answer["message"], "") if not answer["ok"] else ("", str(answer["value"]))

    return measured(trial)


# ---- layer 3: the worker, with plain Jinja in it


class PlainWorker:
    """The worker process around an environment that forbids nothing."""

    def __init__(self) -> None:
        self.worker = Worker(PLAIN)

    def __call__(self, attack: Attack) -> Trial:
        """Try the worker alone."""
        self.worker.run([self._job("'warm'", {}, {})])
        before, used, cpu = forget_peak(), time.process_time(), self._cpu()
        (told,) = self.worker.run([self._job(attack.text, attack.includes, values(attack))])
        own = time.process_time() - used
        seconds = own + (process.COMPILE_DEADLINE if told.ended is Ended.KILLED else max(0.0, self._cpu() - cpu))
        if told.ended is Ended.KILLED:
            return Trial("killed", seconds, peak() - before)
        stopped = "" if told.answer["ok"] else told.answer["message"]
        return Trial(stopped, seconds, peak() - before, "" if stopped else str(told.answer["value"]))

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
    return measured(lambda: (_planned(_cluster(Attack("", "", "x")), Renderer(_Scripted(data))), ""))


def load_as_others_do(text: str) -> Any:
    """Return YAML as PyYAML reads it, so that the rules are tried on what the guard would have refused."""
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError):
        return None


# ---- all layers


def by_all(attack: Attack, renderer: Renderer) -> Trial:
    """Try a policy with the template, from the resource to the plan."""
    if refused := by_limits(attack).stopped:
        return Trial(refused)
    return measured(lambda: (_planned(_cluster(attack), renderer), ""))


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
