"""
Leader election on a Lease: looks at it, writes it when `core.lease` says so, and guards our writes.

    watch -> Candidate.observe -+-> next_try -> create or update -> Candidate.win
                                +-> writing(): who does not hold the Lease may not write

The electors of the `kubernetes` package were read and not used (docs/adr/0015).
"""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final, Literal

from virtualservice_operator.core.lease import Candidate, LeaseRecord, LeaseTiming, Term
from virtualservice_operator.core.objects import Key
from virtualservice_operator.kube.client import KubeClient
from virtualservice_operator.kube.errors import ApiError, KubeError, NotLeader, asked_wait
from virtualservice_operator.kube.lease_object import LeaseObject, Sight

logger = logging.getLogger(__name__)

_RELEASE_SECONDS: Final = 1.0

Access = Literal["read", "write"]


@dataclass(frozen=True, slots=True)
class Election:
    """Which Lease is campaigned for, by whom, and how."""

    lease: Key
    identity: str
    timing: LeaseTiming


def clock() -> float:
    """Return seconds on a clock that only goes forward, also while the machine sleeps, and that nobody sets."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Elector:
    """
    Holds the Lease whenever it can be had. `report` hears of trouble with reading or writing it, and of its end.

    `client` is a client of its own: the Lease is written also while nothing else may be.
    """

    def __init__(
        self, client: KubeClient, election: Election, report: Callable[[Access, KubeError | None], None]
    ) -> None:
        self._lease = LeaseObject(client, election.lease)
        self._election = election
        self._report = report
        self._candidate = Candidate(election.identity, election.timing)
        self._version: int | None = None
        self._news = asyncio.Event()
        self._turn = asyncio.Event()
        self._limits: set[asyncio.Timeout] = set()
        self._quiet_until = -math.inf
        self._is_leaving = False

    @property
    def term(self) -> Term | None:
        """Return the term that is ours, None while we do not hold the Lease."""
        return self._candidate.term

    @property
    def has_looked(self) -> bool:
        """Tell whether the Lease was seen, or seen to be missing."""
        return self._candidate.since is not None

    @property
    def leads(self) -> bool:
        """Tell whether a write may be begun: the Lease is ours, and its last renewal is not too old."""
        return clock() < self._candidate.writes_until()

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """
        Surround one write: it is not begun without the Lease, and broken off before another may take the Lease.

        Errors: `NotLeader`.
        """
        if not self.leads:
            raise NotLeader(f"this replica does not hold Lease {self._election.lease} any more")
        try:
            async with asyncio.timeout(self._candidate.held_until() - clock()) as limit:
                self._limits.add(limit)
                try:
                    yield
                finally:
                    self._limits.discard(limit)
        except TimeoutError as error:
            raise NotLeader(f"Lease {self._election.lease} could not be renewed during a write") from error

    async def look_once(self) -> None:
        """Look, and take the Lease if it is free: then everything that is listed from now on is new enough."""
        doing: Access = "read"
        try:
            await self._look()
            if self._candidate.next_try() <= clock():
                doing = "write"
                await self._write()
        except KubeError as error:
            self._fail(doing, error)

    async def run(self, wait_fit: Callable[[], Awaitable[None]]) -> None:
        """Follow the Lease, and take and renew it, until cancelled. Who does not hold it yet waits to be fit to lead."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow())
            if self.term is None:
                await wait_fit()
            group.create_task(self._campaign())

    async def wait_to_lead(self) -> Term:
        """Return when we may write, and in which term. One waits at a time, here or in `wait_while_leading`."""
        while (term := self.term) is None or not self.leads:
            self._turn.clear()
            await _wait(self._turn, None)
        return term

    async def wait_while_leading(self, term: Term) -> None:
        """Return when we may not write any more, be it because a renewal is overdue, or this term is over."""
        while self.leads and self.term == term:
            self._turn.clear()
            await _wait(self._turn, self._candidate.writes_until() - clock())

    async def release(self) -> None:
        """Let go of the Lease if it is ours, so that the next replica need not wait. `run` has ended before."""
        self._is_leaving = True
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                for _ in range(2):
                    if self.term is None:
                        return
                    try:
                        await self._send(self._candidate.release(_now()))
                    except ApiError:
                        await self._look()  # a renewal that was cancelled has got there first
                    else:
                        logger.info("released Lease %s", self._election.lease)
                        return
        except (KubeError, TimeoutError) as error:
            logger.warning("Lease %s is left to run out: %s", self._election.lease, error or "no answer in time")

    # ---- the Lease

    async def _follow(self) -> None:
        """Watch the Lease for ever; where that does not work, look at it as often as it is renewed."""
        while True:
            await self._be_quiet()
            try:
                await self._look()
                async with aclosing(self._lease.watch(self._version)) as sights:
                    async for sight in sights:
                        self._see(sight)
            except KubeError as error:
                self._fail("read", error)
                await asyncio.sleep(self._election.timing.retry)

    async def _look(self) -> None:
        known = self._version
        sight = await self._lease.read()
        if sight is None:
            self._take(None, None)
        elif known is not None and sight.version < known:
            # What was known before the question is in the answer, unless etcd was put back to an older state.
            self._take(*sight)
        else:
            self._see(sight)
        self._report("read", None)

    def _see(self, sight: Sight) -> None:
        """Take the Lease as it was seen, unless that is older than what is known."""
        if self._version is None or sight.version >= self._version:
            self._take(sight.version if sight.record is not None else None, sight.record)

    def _take(self, version: int | None, record: LeaseRecord | None) -> None:
        self._version = version
        before = self._candidate.seen
        self._change(self._candidate.observe(record, clock()))
        if self.term is None and record is not None and record.holder and record != before:
            self._report("write", None)  # another writes it now, so that we need not

    async def _campaign(self) -> None:
        """Write the Lease whenever it is time to."""
        while True:
            self._news.clear()
            left = max(self._candidate.next_try(), self._quiet_until) - clock()
            if left > 0:
                await _wait(self._news, left)
                continue  # somebody may have renewed it: between this look at it and the write, nothing is waited for
            try:
                await self._write()
            except KubeError as error:
                self._fail("write", error)

    def _fail(self, doing: Access, error: KubeError) -> None:
        self._quiet_until = max(self._quiet_until, clock() + (asked_wait(error) or 0.0))
        self._report(doing, error)

    async def _be_quiet(self) -> None:
        """Wait for as long as the API server has asked us to, be the Lease lost by that: it has more than enough to do."""
        await asyncio.sleep(max(0.0, self._quiet_until - clock()))

    async def _write(self) -> None:
        """Take or renew it; where somebody was faster, see who."""
        record = self._candidate.claim(_now())
        self._candidate = self._candidate.attempt(record, clock())
        try:
            await self._send(record)
        except ApiError as error:
            is_missing = error.status == HTTPStatus.NOT_FOUND and self._version is not None
            if error.status != HTTPStatus.CONFLICT and not is_missing:
                raise
            self._candidate = self._candidate.be_overtaken()
            await self._look()

    async def _send(self, record: LeaseRecord) -> None:
        self._see(await self._lease.write(record, self._version))
        self._report("write", None)

    def _change(self, candidate: Candidate) -> None:
        """Take a new state; writes that are under way may go on for as long as it allows."""
        before, self._candidate = self._candidate, candidate
        if candidate.term != before.term or (candidate.term is None and _holder(candidate) != _holder(before)):
            self._say(before)
        left = max(0.0, candidate.held_until() - clock())
        for limit in self._limits:
            if not limit.expired():
                limit.reschedule(asyncio.get_running_loop().time() + left)
        self._news.set()
        self._turn.set()

    def _say(self, before: Candidate) -> None:
        candidate, lease = self._candidate, self._election.lease
        holder = _holder(candidate)
        if candidate.term is not None:
            logger.info("%s leads: it holds Lease %s", candidate.identity, lease)
        elif before.term is not None and not self._is_leaving:
            logger.warning("%s leads no more: Lease %s is held by %s", candidate.identity, lease, holder or "nobody")
        elif holder:
            logger.info("%s stands by: Lease %s is held by %s", candidate.identity, lease, holder)


def _holder(candidate: Candidate) -> str:
    return candidate.seen.holder if candidate.seen is not None else ""


async def _wait(event: asyncio.Event, seconds: float | None) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds if seconds != math.inf else None)
    except TimeoutError:
        return


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
