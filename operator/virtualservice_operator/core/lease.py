"""
Leader election as one replica sees it: what it saw of the Lease, and when, by its own clock.

    the Lease says                       it may be taken
    -----------------------------------  ---------------------------------------------------------------
    released (as client-go writes it)    at once
    nothing, or us, at the first look    at once: it was never held, or we held it before a restart
    somebody's name, or garbage          when it has not changed for its duration, but at least for ours
    it is gone, or was emptied           as if it still said what it said before; at the first look: as above

A replica that holds it writes for `deadline` seconds after it has sent a renewal that went through, and others wait for
`duration` seconds after they have seen one, so nobody writes beside another as long as the clocks run about equally fast.
No time that another process wrote is ever compared with ours; what the clocks show does not matter (docs/adr/0015).
"""

import math
from dataclasses import dataclass, field, replace
from typing import Final

# No replica of ours holds a Lease for longer without a renewal; a record that says so is garbage.
LONGEST_DURATION: Final = 60
_LAST_TRANSITION: Final = 2**31 - 1
# What client-go writes beside an empty name when it lets go.
_RELEASED_DURATION: Final = 1


@dataclass(frozen=True, slots=True)
class LeaseTiming:
    """
    How long a Lease is held without a renewal, how long its holder relies on that, and how often it renews.

    Units: seconds; retry < deadline < duration.
    """

    duration: int = 15
    deadline: float = 10.0
    retry: float = 2.0


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """What a Lease says. Times are as they were written, and only compared for being the same or not."""

    holder: str = ""
    duration: int = 0
    transitions: int = 0
    acquired: str = ""
    renewed: str = ""

    @property
    def is_blank(self) -> bool:
        """Tell whether nobody has ever held it."""
        return self == LeaseRecord()

    @property
    def is_released(self) -> bool:
        """Tell whether its holder let go of it, as opposed to somebody having cut the name out."""
        return not self.holder and self.duration == _RELEASED_DURATION


@dataclass(frozen=True, slots=True)
class Term:
    """One time of leading, told from all others by what the Lease says of it."""

    transitions: int
    acquired: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """
    One replica. Each method returns its state after something happened; `now` is any clock that only goes forward.

    `seen` is None where there is no Lease; `since` is when it was first seen to say so, None before the first look;
    `sent` is what was last written, `tried` when, whether or not it went through; `renewed` is when the last one that went
    through was sent.
    """

    identity: str
    timing: LeaseTiming = field(default_factory=LeaseTiming)
    seen: LeaseRecord | None = None
    since: float | None = None
    is_first_look: bool = True
    term: Term | None = None
    renewed: float = -math.inf
    sent: LeaseRecord | None = None
    tried: float = -math.inf

    def observe(self, record: LeaseRecord | None, now: float) -> "Candidate":
        """Take what a Lease says now. Losing it shows here: it says something that we did not write."""
        if record is not None and record == self.sent:
            return self.win(record)  # also where the answer was lost
        if self.term is not None and self._is_ours(record):
            return replace(self, seen=record)
        if self.since is None:
            return replace(self, seen=record, since=now)
        if record == self.seen:
            return self
        if record is None or record.is_blank:
            # Who held it may not know yet; but what it has not written again it has not renewed, so no time is added.
            return replace(self, seen=self.seen or record, is_first_look=False)
        return replace(self, seen=record, since=now, is_first_look=False, term=None)

    def attempt(self, record: LeaseRecord, now: float) -> "Candidate":
        """Note that the Lease is written now."""
        return replace(self, sent=record, tried=now)

    def be_overtaken(self) -> "Candidate":
        """Note that somebody else wrote it first: what was sent is void, and the next try need not wait."""
        return replace(self, sent=None, tried=-math.inf)

    def win(self, record: LeaseRecord) -> "Candidate":
        """Take what the last write has stored: we hold the Lease."""
        term = Term(record.transitions, record.acquired)
        return replace(self, seen=record, since=self.tried, is_first_look=False, term=term, renewed=self.tried)

    def next_try(self) -> float:
        """Return when to write the Lease: to renew it, or to take it. Infinity: look at it first."""
        soonest = self.tried + self.timing.retry
        if self.term is not None:
            return max(soonest, self.renewed + self.timing.retry)
        if self.since is None:
            return math.inf
        return max(soonest, self.since + self._wait())

    def claim(self, clock: str) -> LeaseRecord:
        """Return what to write in order to take or to renew it; `clock` is for people who read it."""
        held = self.term
        if held is None:
            before = self.seen.transitions if self.seen is not None else 0
            held = Term(before + 1 if before < _LAST_TRANSITION else 1, clock)
        return LeaseRecord(self.identity, self.timing.duration, held.transitions, held.acquired, clock)

    def release(self, clock: str) -> LeaseRecord:
        """Return what to write in order to let go of it."""
        return replace(self.claim(clock), holder="", duration=_RELEASED_DURATION)

    def writes_until(self) -> float:
        """Return until when a write may be begun."""
        return self.renewed + self.timing.deadline if self.term is not None else -math.inf

    def held_until(self) -> float:
        """Return until when a write has to be over: well before anybody else may take the Lease."""
        return self.renewed + (self.timing.deadline + self.timing.duration) / 2 if self.term is not None else -math.inf

    def _wait(self) -> float:
        record = self.seen
        if record is not None and record.is_released:
            return 0
        if self.is_first_look and record is not None and (record.is_blank or record.holder == self.identity):
            return 0
        stated = record.duration if record is not None and record.duration <= LONGEST_DURATION else 0
        return max(stated, self.timing.duration)

    def _is_ours(self, record: LeaseRecord | None) -> bool:
        if record is None or record.is_blank:  # deleted or emptied under us: we write it again
            return self.term is not None
        return record.holder == self.identity and Term(record.transitions, record.acquired) == self.term
