"""How the lists and watches of each kind do: their ages, and why there was a full list."""

import time
from collections.abc import Callable, Mapping

from virtualservice_operator.controller.metrics import Metrics
from virtualservice_operator.core.objects import ClusterObject, Policy


class WatchLog:
    """Hears of lists and watches, for metrics. A kind is there from its first word on."""

    def __init__(self, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._lists = metrics.lists
        self._clock = clock
        self._heard: dict[str, float] = {}
        self._up: dict[str, bool] = {}
        metrics.watch_age.read_from(self.ages)
        metrics.watch_up.read_from(lambda: self._up)

    def ages(self) -> Mapping[str, float]:
        """Return for how many seconds nothing was heard of each kind."""
        now = self._clock()
        return {kind: now - at for kind, at in self._heard.items()}

    def listed(self, kind: type[ClusterObject], reason: str) -> None:
        """Count a full list."""
        self._lists.labels(_name(kind), reason).inc()
        self.heard(kind)

    def heard(self, kind: type[ClusterObject]) -> None:
        """Note a sign of life."""
        self._heard[_name(kind)] = self._clock()

    def up(self, kind: type[ClusterObject], *, is_up: bool) -> None:
        """Note whether a kind can be listed and watched."""
        self._up[_name(kind)] = is_up
        if is_up:
            self.heard(kind)
        else:
            self._heard.setdefault(_name(kind), self._clock())

    def absent(self, kind: type[ClusterObject]) -> None:
        """Forget a kind that is not installed and need not be: it is neither up nor down, and nothing is to be heard of it."""
        self._up.pop(_name(kind), None)
        self._heard.pop(_name(kind), None)


def _name(kind: type[ClusterObject]) -> str:
    return "RoutingPolicy" if kind is Policy else kind.__name__
