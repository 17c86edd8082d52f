"""An event loop in a thread of its own, for servers that a test drives from outside."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

SECONDS = 10.0

Result = TypeVar("Result")


class LoopThread:
    """Runs what it is given in its loop and returns the result; sockets then belong to one thread only."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)

    def start(self) -> None:
        """Let the loop turn."""
        self._thread.start()

    def ask(self, action: Callable[[], Result]) -> Result:
        """Call a function in the loop."""

        async def act() -> Result:
            return action()

        return self.run(act())

    def run(self, work: Coroutine[Any, Any, Result], seconds: float = SECONDS) -> Result:
        """Run a coroutine in the loop, for a bounded time."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)

    def stop(self) -> None:
        """End the loop, after one more turn: transports that were aborted close in it."""
        self.run(asyncio.sleep(0))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(SECONDS)
        self._loop.close()
