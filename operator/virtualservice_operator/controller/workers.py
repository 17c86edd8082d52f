"""
Several workers on one queue. A key that takes long is left to itself, so that a slow webhook holds up nobody else.

The API server lets a webhook take ten seconds and more: eight such requests would stop eight workers.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

from virtualservice_operator.controller.queue import KeyQueue
from virtualservice_operator.core.objects import Key

PATIENCE: Final = 1.0
# How many keys may be left to themselves: so many writes more than there are workers may be under way.
LEFT_LIMIT: Final = 32
# How many of them of one namespace, before its other keys wait in the queue for one of these to end.
LEFT_OF_ONE: Final = 8


class Crew:
    """`work` is one worker; all of them share what was left. `handle` must not raise: it knows what to do then."""

    def __init__(
        self, queue: KeyQueue, handle: Callable[[Key], Awaitable[None]], *, patience: float = PATIENCE
    ) -> None:
        self._queue = queue
        self._handle = handle
        self._patience = patience
        self._left: set[asyncio.Task[None]] = set()
        self._left_of: Counter[str] = Counter()

    async def work(self) -> None:
        """Handle keys until the queue is closed, and what was left is done."""
        task: asyncio.Task[None] | None = None
        try:
            while (key := await self._queue.get()) is not None:
                task = asyncio.create_task(self._finish(key))
                await asyncio.wait({task}, timeout=self._patience)
                if not task.done() and len(self._left) < LEFT_LIMIT:
                    self._leave(key, task)
                else:
                    await task
                task = None
            while self._left:
                await asyncio.wait(set(self._left))  # meanwhile another worker may have left more
        except asyncio.CancelledError:
            for unfinished in (task, *self._left):
                if unfinished is not None:
                    unfinished.cancel()
            raise

    def _leave(self, key: Key, task: asyncio.Task[None]) -> None:
        """Let a key be finished without a worker; too many of a namespace, and no other of it is begun."""
        namespace = key.namespace

        def end(ended: asyncio.Task[None]) -> None:
            self._left.discard(ended)
            self._left_of[namespace] -= 1
            if self._left_of[namespace] < LEFT_OF_ONE:
                self._queue.unblock(namespace)
            if not self._left_of[namespace]:
                del self._left_of[namespace]

        self._left.add(task)
        self._left_of[namespace] += 1
        if self._left_of[namespace] >= LEFT_OF_ONE:
            self._queue.block(namespace)
        task.add_done_callback(end)

    async def _finish(self, key: Key) -> None:
        try:
            await self._handle(key)
        finally:
            self._queue.done(key)
        await asyncio.sleep(0)  # thousands of keys without a change must not hold the loop
