"""One open watch through the proxy: lines in, lines out, and what a test orders in between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from enum import Enum

import aiohttp
from aiohttp import web

from faults.breakage import EXPIRED, Torn, as_line
from faults.call import Call
from faults.rules import EventRule, Treatment

HALF_A_LINE = b'{"type":"MODIFIED","object":{"kind":"Service","apiVersion":"v1","metad'
# A reset may overtake what was written just before it.
SETTLE_SECONDS = 0.1


class Order(Enum):
    """What a test can do to an open watch."""

    CUT = "cut"
    CUT_LINE = "cut line"
    EXPIRE = "expire"
    SILENCE = "silence"
    RELEASE = "release"
    END = "end"


class Stream:
    """Passes the events of one watch on. `rules` is the proxy's own list: it may change while the watch is open."""

    def __init__(self, call: Call, response: web.StreamResponse, rules: Sequence[EventRule]) -> None:
        self.call = call
        self._response = response
        self._rules = rules
        self._inbox: asyncio.Queue[bytes | Order] = asyncio.Queue()
        self._held: list[bytes] = []
        self._silent = False

    def order(self, order: Order) -> None:
        """Do something after all lines that have arrived so far."""
        self._inbox.put_nowait(order)

    async def read(self, upstream: aiohttp.ClientResponse) -> None:
        """Take lines from the API server until it ends the watch or is gone."""
        pending = b""
        try:
            async for chunk in upstream.content.iter_any():
                *lines, pending = (pending + chunk).split(b"\n")
                for line in lines:
                    self._inbox.put_nowait(line + b"\n")
        except (aiohttp.ClientError, OSError):
            self.order(Order.CUT)
        else:
            self.order(Order.END)

    async def pump(self) -> None:
        """
        Pass lines on until the watch ends.

        Errors: `Torn` where it breaks.
        """
        while True:
            item = await self._inbox.get()
            if isinstance(item, bytes):
                await self._write(*self._treated(item))
            elif await self._obey(item):
                return

    async def _obey(self, order: Order) -> bool:
        """Carry an order out and tell whether the watch ends in good order."""
        match order:
            case Order.CUT:
                raise Torn
            case Order.CUT_LINE:
                await self._write(HALF_A_LINE)
                await asyncio.sleep(SETTLE_SECONDS)
                raise Torn
            case Order.EXPIRE:
                await self._write(as_line(EXPIRED))
                return True
            case Order.SILENCE:
                self._silent = True
            case Order.RELEASE:
                held, self._held = self._held, []
                await self._write(*held)
            case Order.END:
                return not self._silent
        return False

    async def _write(self, *lines: bytes) -> None:
        if not self._silent:
            for line in lines:
                await self._response.write(line)

    def _treated(self, line: bytes) -> Iterator[bytes]:
        """Yield what of a line is passed on now."""
        event = json.loads(line) if self._rules else {}
        rule = next((rule for rule in self._rules if rule.takes(self.call, event)), None)
        match rule.treatment if rule is not None else None:
            case None:
                yield line
            case Treatment.DUPLICATE:
                yield line
                yield line
            case Treatment.HOLD:
                self._held.append(line)
            case Treatment.DROP:
                return
