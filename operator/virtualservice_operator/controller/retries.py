"""When a key comes back after trouble: later each time, by what the error asks for."""

import random
from collections.abc import Callable, Hashable, Sequence
from operator import itemgetter
from typing import Final

from virtualservice_operator.kube.errors import Backoff, Verdict

# A wait that was asked for is never cut short; by up to so much of it the keys are spread.
_SPREAD: Final = 0.2

# What an error asks for, and the wait that the API server asks for, which is obeyed.
Trouble = tuple[Verdict, float | None]


class Retries:
    """Counts the tries of each key since it last went through. `jitter` is a number from 0 to 1."""

    def __init__(self, jitter: Callable[[], float] = random.random) -> None:
        self._tries: dict[Hashable, int] = {}
        self._jitter = jitter

    def tries(self, key: Hashable) -> int:
        """Return how often in a row a key has met trouble."""
        return self._tries.get(key, 0)

    def add(self, key: Hashable, troubles: Sequence[Trouble]) -> tuple[float, Verdict] | None:
        """
        Note a try that met troubles and return how many seconds to wait, and for which of them it is.

        Returns None, and begins anew, where there were none, or where only a change of the objects helps.
        """
        tries = self.tries(key)
        delays = [
            (self._delay(backoff, tries, asked), verdict) for verdict, asked in troubles if (backoff := verdict.backoff)
        ]
        if not delays:
            self.forget(key)
            return None
        self._tries[key] = tries + 1
        return min(delays, key=itemgetter(0))

    def _delay(self, backoff: Backoff, tries: int, asked: float | None) -> float:
        if asked is not None:
            return asked * (1 + _SPREAD * self._jitter())
        return backoff.delay(tries, self._jitter())

    def forget(self, key: Hashable) -> None:
        """Begin anew: a key went through, or is gone."""
        self._tries.pop(key, None)
