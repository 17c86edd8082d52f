"""
What Prometheus reads. Names are part of the contract: docs/observability.md lists each, and a test holds the list to this.

The first three are the original design's, with its labels. Beside them each policy has at most ten series; what is
counted by namespace otherwise is there only while that namespace is in trouble.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from virtualservice_operator.controller.queue import KeyQueue
from virtualservice_operator.core.breaker import State
from virtualservice_operator.core.objects import Key

PREFIX: Final = "virtualservice_operator"
_SHORT: Final = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_LAG: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_RENDERING: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
_STATES: Final = ("programmed", "skipped", "failed", "frozen")
_NUMBERS: Final = {State.HALF_OPEN: 1, State.OPEN: 2}


class Reading(Collector):
    """Gauges that are read when somebody asks. `read_from` says where."""

    def __init__(self, name: str, documentation: str, *labels: str) -> None:
        self.name: Final = f"{PREFIX}_{name}"
        self.labels: Final = labels
        self._documentation = documentation
        self._sources: list[Callable[[], Mapping[Any, float]]] = []

    def read_from(self, source: Callable[[], Mapping[Any, float]]) -> None:
        """Add a source: values by label, or by a tuple of labels."""
        self._sources.append(source)

    def collect(self) -> Iterable[Metric]:
        """Return what is so now."""
        family = GaugeMetricFamily(self.name, self._documentation, labels=self.labels)
        for source in self._sources:
            for labels, value in source().items():
                family.add_metric([labels] if isinstance(labels, str) else [str(label) for label in labels], value)
        yield family


_Reading = TypeVar("_Reading", bound=Reading)


class Circuits(Reading):
    """The circuits that are not closed."""

    def read_from(self, source: Callable[[], Mapping[Any, Any]]) -> None:
        """Add a source of states by kind, verb and namespace."""
        super().read_from(lambda: {way: _NUMBERS[state] for way, state in source().items()})


class Metrics:
    """The metrics of one process, in a registry of their own; `labels` are those of each, by its name."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.labels: dict[str, tuple[str, ...]] = {}
        ProcessCollector(registry=self.registry)
        self._add_original()
        self._add_writes()
        self._add_queues()
        self._add_watches()
        self._add_policies()
        self._add_templates()
        self.leader = self._gauge("leader", "1 where this process is the one that writes, 0 on a standby")
        self.loop_lag_seconds = self._histogram("loop_lag_seconds", "By how much the event loop was late", _LAG)

    def _add_original(self) -> None:
        self.services_processed = self._counter(
            "services_processed", "Services processed, by what became of their VirtualService", "namespace", "action"
        )
        self.virtual_services_created = self._counter("virtualservices_created", "VirtualServices created", "namespace")
        self.reconciliation_seconds = self._histogram(
            "reconciliation_duration_seconds",
            "Time spent on one Service, requests included",
            Histogram.DEFAULT_BUCKETS,
            *("namespace", "result"),
        )

    def _add_writes(self) -> None:
        self.writes = self._counter("writes", "Writes, by what came of them", "kind", "verb", "reason")
        self.held_back = self._counter("held_back", "Writes that were not made for now", "kind", "verb")
        self.circuits_opened = self._counter("circuits_opened", "Circuits that opened", "kind", "verb")
        self.circuits = self._reading(
            Circuits("circuit_state", "1 half-open, 2 open; closed ones are left out", "kind", "verb", "namespace")
        )
        self.api_seconds = self._histogram(
            "api_request_duration_seconds", "Time until the API server answered", _SHORT, "verb", "code"
        )
        self.event_to_write_seconds = self._histogram(
            "event_to_write_seconds", "Time from an event to the end of the write it led to", _SHORT
        )

    def _add_queues(self) -> None:
        self.queue_depth = self._reading(Reading("queue_depth", "Keys that wait to be worked on", "queue"))
        self.queue_delayed = self._reading(Reading("queue_delayed", "Keys that come back later", "queue"))
        self.queue_oldest = self._reading(
            Reading("queue_oldest_seconds", "How long the key that has waited longest has waited", "queue")
        )
        self.queue_retries = self._counter("queue_retries", "Keys that were put back after trouble", "queue", "reason")

    def _add_watches(self) -> None:
        self.watch_age = self._reading(
            Reading("watch_age_seconds", "Time since the last sign of life of a watch", "kind")
        )
        self.watch_up = self._reading(Reading("watch_up", "1 while a kind can be listed and watched", "kind"))
        self.lists = self._counter("lists", "Full lists of a kind, by why", "kind", "reason")

    def _add_policies(self) -> None:
        self.policy_ready = self._gauge("policy_ready", "1 while a policy is Ready", *_POLICY)
        self.policy_services = self._gauge(
            "policy_services", "Services a policy governs, by how they stand", *_POLICY, "state"
        )
        self.policy_routes = self._gauge(
            "policy_routes", "Pairs of a Service and a developer that are routed to a copy", *_POLICY
        )
        self.policy_placeholders = self._gauge(
            "policy_placeholders", "Pairs of a Service and a developer for which a placeholder stands", *_POLICY
        )
        self.policy_conflicted = self._gauge("policy_conflicted", "1 while a policy is Conflicted", *_POLICY)
        self._policy_gauges = (
            *(self.policy_ready, self.policy_conflicted),
            *(self.policy_routes, self.policy_placeholders),
        )

    def _add_templates(self) -> None:
        self.template_renders = self._counter(
            "template_renders", "Renderings that were asked of the template worker, by what became of them", "result"
        )
        self.template_render_seconds = self._histogram(
            "template_render_duration_seconds", "Time until the template worker had answered one rendering", _RENDERING
        )
        self.template_worker_restarts = self._counter(
            "template_worker_restarts", "Starts of the template worker after the first"
        )

    # ---- what needs more than one line

    def read_queues(self, queues: Mapping[str, KeyQueue]) -> None:
        """Show how full the queues are."""
        self.queue_depth.read_from(lambda: {name: len(queue) for name, queue in queues.items()})
        self.queue_delayed.read_from(lambda: {name: queue.delayed for name, queue in queues.items()})
        self.queue_oldest.read_from(lambda: {name: queue.oldest for name, queue in queues.items()})

    def observe_request(self, verb: str, status: int, seconds: float) -> None:
        """Note one answer of the API server; status 0 stands for none."""
        self.api_seconds.labels(verb, str(status) if status else "none").observe(seconds)

    def show_policy(self, policy: Key, status: Mapping[str, Any], frozen: int) -> None:
        """Show how a policy stands, by the status that is written for it."""
        conditions = {item["type"]: item["status"] == "True" for item in status["conditions"]}
        self.policy_ready.labels(*policy).set(conditions.get("Ready", False))
        self.policy_conflicted.labels(*policy).set(conditions.get("Conflicted", False))
        self.policy_routes.labels(*policy).set(status["developerRoutes"])
        self.policy_placeholders.labels(*policy).set(status["placeholders"])
        counts = (status["programmedServices"], status["skippedServices"], status["failedServices"], frozen)
        for state, count in zip(_STATES, counts, strict=True):
            self.policy_services.labels(*policy, state).set(count)

    def forget_policy(self, policy: Key) -> None:
        """Take a policy's series away."""
        for gauge in self._policy_gauges:
            gauge.remove(*policy)
        for state in _STATES:
            self.policy_services.remove(*policy, state)

    def forget_policies(self) -> None:
        """Take all policies' series away: from now on another process tells how they stand."""
        for gauge in (*self._policy_gauges, self.policy_services):
            gauge.clear()

    # ---- making

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        self.labels[f"{PREFIX}_{name}_total"] = labels
        return Counter(f"{PREFIX}_{name}_total", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        self.labels[f"{PREFIX}_{name}"] = labels
        return Gauge(f"{PREFIX}_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        self.labels[f"{PREFIX}_{name}"] = labels
        return Histogram(f"{PREFIX}_{name}", text, labels, registry=self.registry, buckets=buckets)

    def _reading(self, reading: _Reading) -> _Reading:
        self.labels[reading.name] = reading.labels
        self.registry.register(reading)
        return reading


_POLICY = ("namespace", "policy")
