import asyncio
import selectors
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from virtualservice_operator.controller.queue import KeyQueue
from virtualservice_operator.core.objects import Key

A, B, C = Key("shop", "a"), Key("shop", "b"), Key("shop", "c")
OTHER = Key("market", "a")


class FakeTime(selectors.DefaultSelector):
    """Lets time jump to the next timer instead of waiting for it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(0)
        if not found:
            assert timeout is not None, "everything waits and no timer is set: a real loop would hang"
            self.now += max(timeout, 0)
        return found


def in_fake_time(test: Callable[[], Awaitable[None]]) -> None:
    """Run a test on a loop whose clock jumps."""
    time = FakeTime()

    def make_loop() -> asyncio.AbstractEventLoop:
        loop = asyncio.SelectorEventLoop(time)
        loop.time = lambda: time.now  # type: ignore[method-assign]
        return loop

    async def main() -> None:
        await test()

    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(main())


def opened() -> KeyQueue:
    queue = KeyQueue()
    queue.open()
    return queue


def now() -> float:
    return asyncio.get_running_loop().time()


async def take(queue: KeyQueue, count: int) -> list[Key]:
    """Return the next keys; each is done before the next is taken."""
    found = []
    for _ in range(count):
        key = await queue.get()
        assert key is not None
        queue.done(key)
        found.append(key)
    return found


async def test_keys_of_one_namespace_come_in_the_order_they_were_added() -> None:
    queue = opened()
    for key in (B, A, C):
        queue.add(key)
    assert await take(queue, 3) == [B, A, C]


async def test_a_key_that_waits_is_not_added_twice() -> None:
    queue = opened()
    for key in (A, B, A):
        queue.add(key)
    assert len(queue) == 2
    assert await take(queue, 2) == [A, B]
    assert queue.is_idle


async def test_namespaces_take_turns() -> None:
    queue = opened()
    many = [Key("shop", str(index)) for index in range(1000)]
    for key in (*many, OTHER):
        queue.add(key)
    assert await take(queue, 4) == [many[0], OTHER, many[1], many[2]]


async def test_three_namespaces_take_turns_as_long_as_they_have_keys() -> None:
    queue = opened()
    for place in ("one/a", "one/b", "one/c", "two/a", "three/a", "three/b"):
        namespace, _, name = place.partition("/")
        queue.add(Key(namespace, name))
    found = [str(key) for key in await take(queue, 6)]
    assert found == ["one/a", "two/a", "three/a", "one/b", "three/b", "one/c"]


async def test_a_namespace_that_comes_back_goes_to_the_end() -> None:
    queue = opened()
    queue.add(A)
    await take(queue, 1)
    queue.add(OTHER)
    queue.add(A)
    assert await take(queue, 2) == [OTHER, A]


async def test_a_key_is_handed_to_one_worker_at_a_time() -> None:
    queue = opened()
    queue.add(A)
    assert await queue.get() == A
    queue.add(A)
    queue.add(B)
    assert await queue.get() == B
    assert len(queue) == 0
    queue.done(A)
    assert await queue.get() == A


async def test_a_key_added_while_active_comes_back_once() -> None:
    queue = opened()
    queue.add(A)
    await queue.get()
    queue.add(A)
    queue.add(A)
    queue.done(A)
    assert await take(queue, 1) == [A]
    assert queue.is_idle


async def test_a_key_that_is_done_is_gone() -> None:
    queue = opened()
    queue.add(A)
    await take(queue, 1)
    assert (len(queue), queue.is_idle) == (0, True)


async def test_an_active_key_keeps_the_queue_from_being_idle() -> None:
    queue = opened()
    queue.add(A)
    await queue.get()
    assert (len(queue), queue.is_idle) == (0, False)


async def test_done_with_a_key_that_is_not_active_changes_nothing() -> None:
    queue = opened()
    queue.done(A)
    assert queue.is_idle


async def test_a_waiting_worker_is_woken_by_a_key() -> None:
    queue = opened()
    worker = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add(A)
    assert await worker == A


async def test_two_waiting_workers_get_a_key_each() -> None:
    queue = opened()
    workers = [asyncio.create_task(queue.get()) for _ in range(2)]
    await asyncio.sleep(0)
    queue.add(A)
    queue.add(OTHER)
    assert set(await asyncio.gather(*workers)) == {OTHER, A}


async def test_a_cancelled_worker_loses_no_key() -> None:
    queue = opened()
    worker = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    worker.cancel()
    with pytest.raises(asyncio.CancelledError):
        await worker
    queue.add(A)
    assert await queue.get() == A


# ---- before and after


async def test_before_it_is_open_no_key_is_handed_out() -> None:
    queue = KeyQueue()
    queue.add(A)
    worker = asyncio.create_task(queue.get())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not worker.done()
    queue.open()
    assert await worker == A


async def test_marks_made_before_it_is_open_merge() -> None:
    queue = KeyQueue()
    for key in (A, B, A):
        queue.add(key)
    queue.open()
    assert await take(queue, 2) == [A, B]
    assert queue.is_idle


async def test_a_closed_queue_hands_out_no_more_keys() -> None:
    queue = opened()
    queue.add(A)
    queue.close()
    assert await queue.get() is None


async def test_every_waiting_worker_is_told_that_the_queue_is_closed() -> None:
    queue = opened()
    workers = [asyncio.create_task(queue.get()) for _ in range(3)]
    await asyncio.sleep(0)
    queue.close()
    assert await asyncio.gather(*workers) == [None, None, None]


# ---- delays


def test_a_delayed_key_comes_when_its_time_has_come() -> None:
    async def test() -> None:
        queue = opened()
        queue.add_after(A, 30)
        assert await queue.get() == A
        assert now() == 30

    in_fake_time(test)


def test_a_delayed_key_does_not_keep_the_queue_from_being_idle() -> None:
    async def test() -> None:
        queue = opened()
        queue.add_after(A, 30)
        assert (len(queue), queue.is_idle) == (0, True)

    in_fake_time(test)


def test_delayed_keys_come_by_their_time() -> None:
    async def test() -> None:
        queue = opened()
        queue.add_after(A, 30)
        queue.add_after(B, 10)
        queue.add_after(OTHER, 20)
        assert await take(queue, 3) == [B, OTHER, A]
        assert now() == 30

    in_fake_time(test)


def test_an_earlier_time_replaces_a_later_one() -> None:
    async def test() -> None:
        queue = opened()
        queue.add_after(A, 30)
        queue.add_after(A, 10)
        assert await take(queue, 1) == [A]
        assert now() == 10
        queue.add_after(B, 60)
        assert await take(queue, 1) == [B]

    in_fake_time(test)


def test_a_later_time_does_not_replace_an_earlier_one() -> None:
    async def test() -> None:
        queue = opened()
        queue.add_after(A, 10)
        queue.add_after(A, 30)
        queue.add_after(B, 40)
        assert await take(queue, 2) == [A, B]
        assert now() == 40

    in_fake_time(test)


def test_a_mark_before_its_time_ends_the_delay() -> None:
    async def test() -> None:
        queue = opened()
        queue.add_after(A, 10)
        queue.add(A)
        queue.add_after(B, 30)
        assert await take(queue, 2) == [A, B]
        assert now() == 30

    in_fake_time(test)


def test_a_key_can_be_delayed_again_after_it_came() -> None:
    async def test() -> None:
        queue = opened()
        queue.add_after(A, 10)
        await take(queue, 1)
        queue.add_after(A, 10)
        await take(queue, 1)
        assert now() == 20

    in_fake_time(test)


def test_a_key_whose_time_comes_while_it_is_active_comes_back() -> None:
    async def test() -> None:
        queue = opened()
        queue.add(A)
        await queue.get()
        queue.add_after(A, 10)
        queue.add_after(B, 20)
        assert await queue.get() == B
        queue.done(A)
        assert await queue.get() == A
        assert now() == 20

    in_fake_time(test)


def test_a_new_key_wakes_a_worker_that_waits_for_a_delayed_one() -> None:
    async def test() -> None:
        queue = opened()
        queue.add_after(A, 30)
        asyncio.get_running_loop().call_later(5, queue.add, B)
        assert await queue.get() == B
        assert now() == 5

    in_fake_time(test)


def test_an_earlier_delayed_key_wakes_a_worker_that_waits_for_a_later_one() -> None:
    async def test() -> None:
        queue = opened()
        queue.add_after(A, 30)
        asyncio.get_running_loop().call_later(5, queue.add_after, B, 5)
        assert await queue.get() == B
        assert now() == 10

    in_fake_time(test)


def test_a_resting_queue_hands_out_nothing_until_the_time_has_come() -> None:
    async def test() -> None:
        queue = opened()
        queue.add(A)
        queue.rest(5)
        assert await queue.get() == A
        assert now() == 5

    in_fake_time(test)


def test_hurry_ends_the_wait_of_delayed_keys_of_a_namespace() -> None:
    async def test() -> None:
        queue = opened()
        queue.add_after(A, 100)
        queue.add_after(OTHER, 50)
        queue.hurry("shop")
        assert await queue.get() == A
        assert now() == 0
        queue.done(A)
        assert queue.delayed == 1
        assert await queue.get() == OTHER
        assert now() == 50

    in_fake_time(test)


def test_hurry_leaves_alone_what_is_to_wait() -> None:
    async def test() -> None:
        queue = opened()
        queue.add_after(A, 100, firm=True)
        queue.hurry("shop")
        queue.hurry(None)
        assert await queue.get() == A
        assert now() == 100
        queue.done(A)
        queue.add_after(A, 100, firm=True)
        queue.add(A)
        queue.add_after(A, 50)
        assert await queue.get() == A
        assert now() == 100, "a new mark ends any wait"

    in_fake_time(test)


def test_a_key_that_did_not_go_through_counts_from_its_first_mark() -> None:
    async def test() -> None:
        queue = opened()
        queue.add(A)
        for _ in range(2):
            assert await queue.get() == A
            assert queue.marked_at(A) == 0
            queue.add_again(A, 7)
            queue.done(A)
        await asyncio.sleep(2)
        queue.add(A)
        assert await queue.get() == A
        assert queue.marked_at(A) == 0
        queue.done(A)
        queue.add_after(A, 3)
        assert await queue.get() == A
        assert queue.marked_at(A) == now()

    in_fake_time(test)


def test_a_standby_takes_no_marks() -> None:
    async def test() -> None:
        queue = opened()
        queue.add(A)
        queue.add_after(B, 5)
        queue.stand_by()
        queue.add(C)
        queue.add_after(C, 5)
        queue.add_again(C, 5)
        assert (len(queue), queue.delayed, queue.oldest, queue.is_idle) == (0, 0, 0, True)
        queue.pause()
        queue.add(OTHER)
        queue.open()
        assert await queue.get() == OTHER
        await asyncio.sleep(10)
        assert (len(queue), queue.delayed) == (0, 0)

    in_fake_time(test)


def test_hurry_of_all_ends_a_rest_too() -> None:
    async def test() -> None:
        queue = opened()
        queue.add_after(A, 100)
        queue.rest(60)
        queue.hurry(None)
        assert await queue.get() == A
        assert now() == 0

    in_fake_time(test)


def test_a_closed_queue_says_so_while_it_rests() -> None:
    async def test() -> None:
        queue = opened()
        queue.add(A)
        queue.rest(1000)
        queue.close()
        assert await queue.get() is None
        assert now() == 0

    in_fake_time(test)


def test_the_oldest_is_the_key_that_has_waited_longest() -> None:
    async def test() -> None:
        queue = opened()
        assert queue.oldest == 0
        queue.add(A)
        await asyncio.sleep(3)
        queue.add(A)
        queue.add(B)
        await asyncio.sleep(2)
        assert queue.oldest == 5
        assert await queue.get() == A
        assert queue.oldest == 2
        assert queue.marked_at(A) == 0

    in_fake_time(test)


def test_waiting_counts_from_the_opening() -> None:
    """While nothing may be written, a key waits for hours, and no worker is to blame for it."""

    async def test() -> None:
        queue = KeyQueue()
        queue.add(A)
        await asyncio.sleep(3600)
        assert queue.oldest == 0
        queue.open()
        await asyncio.sleep(1)
        assert queue.oldest == 1

    in_fake_time(test)


def test_a_blocked_namespace_is_passed_over_until_it_is_unblocked() -> None:
    async def test() -> None:
        queue = opened()
        queue.add(A)
        queue.add(OTHER)
        queue.block("shop")
        assert await queue.get() == OTHER
        asyncio.get_running_loop().call_later(3, queue.unblock, "shop")
        assert await queue.get() == A
        assert now() == 3

    in_fake_time(test)
