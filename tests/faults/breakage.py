"""What can happen to a request on its way: before it reaches the API server, or after it was answered there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


class Torn(Exception):  # noqa: N818 - it says what happened
    """The client's connection is reset, in place of an answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer in the API server's place."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


class Breakage:
    """What happens to one request; the base does nothing."""

    async def before(self) -> Answer | None:
        """Act before the request is passed on; an answer goes back at once, and the API server hears nothing."""
        return None

    async def after(self) -> None:
        """Act when the API server has answered, and the client has not heard of it."""


class Reset(Breakage):
    """The connection breaks before the request has got through."""

    async def before(self) -> Answer | None:
        raise Torn


class LostAnswer(Breakage):
    """The API server does what it was asked, and nobody hears of it."""

    async def after(self) -> None:
        raise Torn


@dataclass(frozen=True, slots=True)
class Delay(Breakage):
    """The way to the API server takes time."""

    seconds: float

    async def before(self) -> Answer | None:
        await asyncio.sleep(self.seconds)
        return None


@dataclass(frozen=True, slots=True)
class Status(Breakage):
    """An error in the API server's place: a Status object, or plain text where there is no reason."""

    code: int
    reason: str = ""
    message: str = "injected"
    retry_after: int | None = None

    async def before(self) -> Answer | None:
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if not self.reason:
            return Answer(self.code, f"{self.message}\n".encode(), "text/plain", headers)
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "code": self.code,
            "reason": self.reason,
            "message": self.message,
        }
        return Answer(self.code, json.dumps(status).encode(), headers=headers)


EXPIRED = {
    "type": "ERROR",
    "object": {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": 410,
        "reason": "Expired",
        "message": "too old resource version: 1 (2)",
    },
}


def as_line(event: Mapping[str, object]) -> bytes:
    """Return an event as a watch has it."""
    return json.dumps(event).encode() + b"\n"


class Expired(Breakage):
    """A watch is answered as from a version that is no longer known: 200, and an ERROR event that says 410."""

    async def before(self) -> Answer | None:
        return Answer(200, as_line(EXPIRED))


@dataclass(frozen=True, slots=True)
class Emptied(Breakage):
    """A list is answered as if there were nothing, at a version that the API server has reached."""

    version: str

    async def before(self) -> Answer | None:
        found = {"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": self.version}, "items": []}
        return Answer(200, json.dumps(found).encode())


@dataclass(frozen=True, slots=True)
class Kill(Breakage):
    """The client dies: when the API server has done what it was asked, or before it has heard of it."""

    kill: Callable[[], object]
    too_early: bool = False

    async def before(self) -> Answer | None:
        if self.too_early:
            await self._die()
        return None

    async def after(self) -> None:
        if not self.too_early:
            await self._die()

    async def _die(self) -> None:
        await asyncio.to_thread(self.kill)
        raise Torn
