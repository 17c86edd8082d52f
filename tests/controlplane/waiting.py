"""Wait for something to become true, for a bounded time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")

LOOK_SECONDS = 0.05


def wait_for(question: Callable[[], Answer | None], *, what: str, timeout: float = 60.0) -> Answer:
    """
    Ask again and again until the answer is neither None nor False, and return it.

    Errors: `TimeoutError` that names `what` was waited for; whatever the question itself raises goes through.
    """
    deadline = time.monotonic() + timeout
    while True:
        answer = question()
        if answer is not None and answer is not False:
            return answer
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout:g} s for {what}")
        time.sleep(LOOK_SECONDS)
