"""
A circuit breaker as a value: what may be asked of something in trouble, and when. The time is an argument.

               several in a row failed                the wait is over: one may try
    CLOSED --------------------------> OPEN ---------------------------------------> HALF_OPEN
      ^                                  ^                                                |
      |                                  +----------- it failed: a longer wait -----------+
      +-------------------------------------------------- it succeeded -------------------+

Several objects must fail, with no success between them: one that is refused for what it is holds up no other.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

THRESHOLD: Final = 3
# Seconds after which a trouble that nobody has asked about any more is forgotten: its objects may be gone.
FORGOTTEN: Final = 120.0


class State(StrEnum):
    """Whether requests are made: all, none, or one to see."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True, slots=True)
class Circuit:
    """
    What is known of one way to the API server. `now` is any clock in seconds that only goes forward.

    `failing` are the objects that failed since the last success, `openings` how often in a row it opened, `until` when
    one may try again, `asked` until when the API server asked to wait, `probe` the object that tries, `running` how many
    requests are under way.
    """

    failing: frozenset[str] = frozenset()
    openings: int = 0
    until: float = 0.0
    asked: float = 0.0
    probe: str | None = None
    running: int = 0

    def state(self, now: float) -> State:
        """Return whether requests are made."""
        if not self.openings:
            return State.CLOSED
        return State.HALF_OPEN if self.probe is not None or now >= self.until else State.OPEN

    def admits(self, now: float) -> bool:
        """Tell whether a request may be made: while half-open, one at a time."""
        return self.state(now) is State.CLOSED or (self.probe is None and now >= self.until)

    @property
    def is_idle(self) -> bool:
        """Tell whether there is nothing to remember."""
        return self == Circuit()

    def is_forgotten(self, now: float) -> bool:
        """Tell whether nobody has tried for a long time, though one may."""
        return bool(self.openings) and not self.running and now > self.until + FORGOTTEN

    def begin(self, name: str, now: float) -> "Circuit":
        """Return the circuit with a request for an object under way; `admits` has said yes."""
        probe = name if self.state(now) is State.HALF_OPEN else self.probe
        return replace(self, probe=probe, running=self.running + 1)

    def succeed(self) -> "Circuit":
        """Return the circuit after a request that went through, or was answered for what it asked: the way is free."""
        return Circuit(running=self.running - 1)

    def fail(self, name: str, *, now: float, wait: float, asked: float = 0.0) -> "Circuit":
        """
        Return the circuit after a request that failed; `wait` is how long it stays open, should it open now.

        `asked` is how long the API server asked to wait, which no hope cuts short.

        A request from before the opening changes nothing; that of the probe opens it again.
        """
        failing = self.failing if len(self.failing) >= THRESHOLD else self.failing | {name}
        ended = replace(self, failing=failing, running=self.running - 1)
        if self.openings and self.probe != name:
            return ended
        if not self.openings and len(failing) < THRESHOLD:
            return ended
        until = now + max(wait, asked)
        return replace(ended, openings=self.openings + 1, until=until, asked=now + asked, probe=None)

    def give_up(self, name: str) -> "Circuit":
        """Return the circuit after a request that was broken off by ourselves: it says nothing."""
        probe = None if self.probe == name else self.probe
        return replace(self, probe=probe, running=self.running - 1)

    def hope(self, now: float) -> "Circuit":
        """Return the circuit as it is when others have got through: one may try at once."""
        return replace(self, until=min(self.until, max(now, self.asked)))
