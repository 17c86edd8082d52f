"""Repairs of our VirtualServices that somebody keeps changing: at once at first, then one a minute."""

from collections import deque
from typing import Final

from virtualservice_operator.core.objects import Key

WINDOW: Final = 600.0
AT_ONCE: Final = 5
SLOW: Final = 60.0


class RepairLog:
    """Remembers when each VirtualService was repaired. `now` is any clock in seconds that only goes forward."""

    def __init__(self) -> None:
        self._repairs: dict[Key, deque[float]] = {}

    def wait(self, target: Key, now: float) -> float:
        """Return how many seconds the next repair has to wait: 0, or more after five within ten minutes."""
        repairs = self._repairs.get(target)
        if repairs is None:
            return 0.0
        while repairs and now - repairs[0] > WINDOW:
            repairs.popleft()
        if not repairs:
            del self._repairs[target]
            return 0.0
        return max(0.0, repairs[-1] + SLOW - now) if len(repairs) >= AT_ONCE else 0.0

    def add(self, target: Key, now: float) -> None:
        """Note a repair."""
        self._repairs.setdefault(target, deque()).append(now)
