"""A write is begun while the Lease is ours, and broken off before another may take it."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from unit.test_queue import in_fake_time
from virtualservice_operator.core.lease import Candidate, LeaseRecord, LeaseTiming
from virtualservice_operator.core.objects import Key
from virtualservice_operator.kube import lease
from virtualservice_operator.kube.client import KubeClient
from virtualservice_operator.kube.connection import Source
from virtualservice_operator.kube.errors import ApiError, KubeError, NotLeader, Reaction, classify
from virtualservice_operator.kube.lease_object import Sight

STOLEN = LeaseRecord("b", 15, 9, "t0", "t1")


@dataclass
class Clock:
    """The loop's own clock, which jumps."""

    def __call__(self) -> float:
        return asyncio.get_running_loop().time()


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(lease, "clock", Clock())
    return


def elector(report: Callable[[lease.Access, KubeError | None], None] = lambda *_: None) -> lease.Elector:
    """Return one that took the Lease at 0."""
    found = lease.Elector(KubeClient(Source()), lease.Election(Key("ops", "leader"), "a", LeaseTiming()), report)
    renew(found)
    return found


def renew(found: lease.Elector) -> None:
    before: Candidate = found._candidate.observe(LeaseRecord(), lease.clock())
    record = before.claim(f"clock {lease.clock()}")
    found._change(before.attempt(record, lease.clock()).win(record))


def test_a_write_within_ten_seconds_of_a_renewal_is_permitted_and_a_later_one_is_not() -> None:
    async def test() -> None:
        found = elector()
        await asyncio.sleep(9.9)
        async with found.writing():
            pass
        await asyncio.sleep(0.2)
        with pytest.raises(NotLeader, match="does not hold Lease ops/leader any more"):
            async with found.writing():
                pytest.fail("it is written")

    in_fake_time(test)


def test_a_write_that_is_under_way_is_broken_off_before_another_may_take_the_lease() -> None:
    async def test() -> None:
        found = elector()
        with pytest.raises(NotLeader, match="could not be renewed during a write"):
            async with found.writing():
                await asyncio.sleep(14)
        assert lease.clock() == pytest.approx(12.5)

    in_fake_time(test)


def test_a_renewal_lets_a_slow_write_go_on() -> None:
    async def test() -> None:
        found = elector()

        async def write() -> float:
            async with found.writing():
                await asyncio.sleep(20)
            return lease.clock()

        writing = asyncio.create_task(write())
        await asyncio.sleep(9)
        renew(found)
        assert await writing == pytest.approx(20)

    in_fake_time(test)


def test_a_write_is_broken_off_as_soon_as_the_lease_is_lost() -> None:
    async def test() -> None:
        found = elector()

        async def write() -> None:
            async with found.writing():
                await asyncio.sleep(5)

        writing = asyncio.create_task(write())
        await asyncio.sleep(1)
        found._take(7, STOLEN)
        with pytest.raises(NotLeader):
            await writing
        assert lease.clock() == pytest.approx(1)

    in_fake_time(test)


def test_who_waits_to_lead_or_not_to_hears_of_it_in_time() -> None:
    async def test() -> None:
        found = elector()
        first = await found.wait_to_lead()
        await found.wait_while_leading(first)
        assert lease.clock() == pytest.approx(10)
        waiting = asyncio.create_task(found.wait_to_lead())
        await asyncio.sleep(3)
        renew(found)
        assert await waiting == first
        assert lease.clock() == pytest.approx(13)

    in_fake_time(test)


def test_a_term_that_is_lost_and_won_again_in_one_go_is_noticed() -> None:
    async def test() -> None:
        found = elector()
        first = await found.wait_to_lead()
        waiting = asyncio.create_task(found.wait_while_leading(first))
        await asyncio.sleep(1)
        found._take(7, STOLEN)
        record = found._candidate.claim("later")
        found._change(found._candidate.attempt(record, lease.clock()).win(record))
        await waiting
        assert await found.wait_to_lead() != first

    in_fake_time(test)


def test_a_write_without_the_lease_is_planned_anew_and_not_reported() -> None:
    assert classify(NotLeader("x")) is Reaction.REPLAN


class Stored:
    """A Lease as the API server has it; a write at another version is refused, as the API server does."""

    def __init__(self, version: int, record: LeaseRecord) -> None:
        self.sight = Sight(version, record)

    @property
    def holder(self) -> str | None:
        return self.sight.record.holder if self.sight.record is not None else None

    async def read(self) -> Sight:
        return self.sight

    async def write(self, record: LeaseRecord, version: int | None) -> Sight:
        if version != self.sight.version:
            raise ApiError(409, "Conflict", "the object has been modified")
        self.sight = Sight(version + 1, record)
        return self.sight


def test_a_lease_from_before_etcd_was_restored_is_renewed_all_the_same() -> None:
    async def test() -> None:
        found = elector()
        record = found._candidate.seen
        assert record is not None
        found._see(Sight(900, record))
        stored = Stored(700, record)
        vars(found)["_lease"] = stored
        await asyncio.sleep(2)
        await found._write()
        assert stored.sight.version == 700, "it was overtaken, and has looked"
        await found._write()
        assert stored.sight.version == 701
        await asyncio.sleep(9)
        assert found.leads

    in_fake_time(test)


def test_who_was_asked_to_wait_looks_again_before_it_takes_the_lease() -> None:
    """While it waited, another has taken the Lease and renewed it: that is not to be written over."""

    async def test() -> None:
        found = elector()
        taken = LeaseRecord("b", 15, 9, "t0", "t1")
        stored = Stored(7, taken)
        vars(found)["_lease"] = stored
        found._take(7, taken)
        await asyncio.sleep(14)
        found._fail("write", ApiError(429, "", "too many requests", retry_after=30))
        found._fail("write", ApiError(500, "", "another trouble, which asks for nothing"))
        campaign = asyncio.create_task(found._campaign())
        for second in range(20):
            await asyncio.sleep(2)
            assert stored.holder == "b", second
            stored.sight = Sight(8 + second, replace(taken, renewed=f"renewed {second}"))
            found._see(stored.sight)
        await asyncio.sleep(16)
        assert stored.holder == "a", "it has not been renewed for its duration"
        campaign.cancel()

    in_fake_time(test)


def test_trouble_with_writing_the_lease_is_not_over_when_it_was_read_but_when_another_writes_it() -> None:
    async def test() -> None:
        heard: list[tuple[str, bool]] = []
        found = elector(lambda access, error: heard.append((access, error is None)))
        own = found._candidate.seen
        assert own is not None
        stored = Stored(700, own)
        vars(found)["_lease"] = stored
        found._fail("write", ApiError(403, "Forbidden", "no"))
        await found._look()
        assert heard == [("write", False), ("read", True)]
        stored.sight = Sight(701, STOLEN)
        await found._look()
        assert heard[2:] == [("write", True), ("read", True)]
        found._fail("write", ApiError(403, "Forbidden", "no"))
        await found._look()
        assert heard[4:] == [("write", False), ("read", True)], "another has not renewed it since"

    in_fake_time(test)
