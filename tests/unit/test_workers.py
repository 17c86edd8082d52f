import asyncio
from collections.abc import Callable

from virtualservice_operator.controller.queue import KeyQueue
from virtualservice_operator.controller.workers import Crew
from virtualservice_operator.core.objects import Key

SLOW, QUICK = "slow", "quick"


async def run(crew: Crew, workers: int = 2) -> list[asyncio.Task[None]]:
    return [asyncio.create_task(crew.work()) for _ in range(workers)]


async def until(holds: Callable[[], bool]) -> None:
    """Wait for something that may take a busy machine long; what must not happen is looked for a moment after it."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(0.005)


async def test_slow_keys_do_not_hold_up_others() -> None:
    queue, release, done, told = KeyQueue(), asyncio.Event(), list[Key](), asyncio.Condition()

    async def handle(key: Key) -> None:
        if key.namespace == SLOW:
            await release.wait()
        done.append(key)
        async with told:
            told.notify_all()

    async def wait_for(count: int) -> None:
        async with asyncio.timeout(20), told:
            await told.wait_for(lambda: len(done) >= count)

    for number in range(6):
        queue.add(Key(SLOW, f"s{number}"))
    queue.add(Key(QUICK, "q"))
    queue.open()
    workers = await run(Crew(queue, handle, patience=0.02))
    await wait_for(1)
    assert done == [Key(QUICK, "q")]
    release.set()
    await wait_for(7)
    queue.close()
    await asyncio.gather(*workers)


async def test_a_key_that_was_left_is_still_worked_on_by_one_only() -> None:
    queue, release, begun = KeyQueue(), asyncio.Event(), list[Key]()

    async def handle(key: Key) -> None:
        begun.append(key)
        await release.wait()

    queue.add(Key(SLOW, "s"))
    queue.open()
    workers = await run(Crew(queue, handle, patience=0.01))
    await until(lambda: len(begun) == 1)
    queue.add(Key(SLOW, "s"))
    await asyncio.sleep(0.05)
    assert begun == [Key(SLOW, "s")]
    release.set()
    await until(lambda: len(begun) == 2)
    assert begun == [Key(SLOW, "s")] * 2
    queue.close()
    await asyncio.gather(*workers)


async def test_of_one_namespace_only_some_are_left_and_the_others_wait_in_the_queue() -> None:
    queue, release, begun = KeyQueue(), asyncio.Event(), list[Key]()

    async def handle(key: Key) -> None:
        begun.append(key)
        if key.namespace == SLOW:
            await release.wait()

    for number in range(100):
        queue.add(Key(SLOW, f"s{number}"))
    queue.open()
    workers = await run(Crew(queue, handle, patience=0.01))
    await until(lambda: len(begun) >= 8)
    await asyncio.sleep(0.1)
    assert len(begun) <= 8 + 2
    for number in range(100):
        queue.add(Key(QUICK, f"q{number}"))
    await until(lambda: sum(key.namespace == QUICK for key in begun) == 100)
    release.set()
    await until(lambda: len(begun) == 200)
    queue.close()
    await asyncio.gather(*workers)


async def test_so_many_may_be_left_and_no_more() -> None:
    queue, release, begun = KeyQueue(), asyncio.Event(), list[Key]()

    async def handle(key: Key) -> None:
        begun.append(key)
        await release.wait()

    for number in range(100):
        queue.add(Key(f"n{number}", "s"))
    queue.open()
    workers = await run(Crew(queue, handle, patience=0))
    await until(lambda: len(begun) >= 32 + 2)
    await asyncio.sleep(0.05)
    assert len(begun) == 32 + 2
    release.set()
    await until(lambda: len(begun) == 100)
    queue.close()
    await asyncio.gather(*workers)


async def test_closing_waits_for_what_was_left() -> None:
    queue, release, done = KeyQueue(), asyncio.Event(), list[Key]()

    async def handle(key: Key) -> None:
        await release.wait()
        done.append(key)

    queue.add(Key(SLOW, "s"))
    queue.open()
    crew = Crew(queue, handle, patience=0.01)
    workers = await run(crew)
    await until(lambda: len(crew._left) == 1)
    queue.close()
    await asyncio.sleep(0.05)
    assert not any(worker.done() for worker in workers)
    release.set()
    await asyncio.gather(*workers)
    assert done == [Key(SLOW, "s")]


async def test_a_cancelled_worker_takes_what_was_left_with_it() -> None:
    queue, begun, broken = KeyQueue(), list[Key](), list[Key]()

    async def handle(key: Key) -> None:
        begun.append(key)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            broken.append(key)
            raise

    queue.add(Key(SLOW, "s"))
    queue.open()
    workers = await run(Crew(queue, handle, patience=0.01))
    await until(lambda: len(begun) == 1)
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    await until(lambda: len(broken) == 1)
    assert broken == [Key(SLOW, "s")]
    assert queue.is_idle


async def test_a_worker_that_ends_leaves_alone_what_another_has_left_since() -> None:
    """At the end each worker waits for what was left; the first to be done must not break off the last."""
    queue, releases, ended = KeyQueue(), {"a": asyncio.Event(), "b": asyncio.Event()}, list[str]()

    async def handle(key: Key) -> None:
        await releases[key.name].wait()
        ended.append(key.name)

    crew = Crew(queue, handle, patience=0.1)
    queue.add(Key(SLOW, "a"))
    queue.open()
    workers = await run(crew)
    await until(lambda: len(crew._left) == 1)
    queue.add(Key(SLOW, "b"))
    await until(lambda: len(queue) == 0)
    queue.close()
    await until(lambda: len(crew._left) == 2)
    releases["a"].set()
    await until(lambda: ended == ["a"])
    await asyncio.sleep(0.05)
    releases["b"].set()
    await asyncio.gather(*workers)
    assert ended == ["a", "b"]
