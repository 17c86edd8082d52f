"""Callers: one request in, what came back out, whatever it was."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
import grpc
import grpc.aio

from mesh.answering import ANSWERED_BY, GRPC_METHOD, GRPC_SERVICE
from mesh.lines import Json

SECONDS = 10.0


async def call(do: str, **question: Any) -> Json:
    """
    Send one request over a connection of its own.

    The answer: `status` (HTTP) or `code` (gRPC), `who` answered, `headers`, `body`; or `failed` with what went wrong.
    """
    if do == "grpc":
        return await _grpc(**question)
    connector = aiohttp.TCPConnector(force_close=True)
    timeout = aiohttp.ClientTimeout(total=SECONDS)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        try:
            return await (_websocket if do == "websocket" else _http)(session, **question)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return {"failed": f"{type(error).__name__}: {error}"}


async def _http(
    session: aiohttp.ClientSession, *, url: str, method: str = "GET", headers: Mapping[str, str] = {}
) -> Json:
    async with session.request(method, url, headers=headers, allow_redirects=False) as response:
        body = await response.text(errors="replace")
        found = {name.lower(): value for name, value in response.headers.items()}
        return {"status": response.status, "who": found.get(ANSWERED_BY), "headers": found, "body": body}


async def _websocket(session: aiohttp.ClientSession, *, url: str, headers: Mapping[str, str] = {}) -> Json:
    """Open a WebSocket, hear who it is, and have a word sent back."""
    try:
        async with session.ws_connect(url, headers=headers) as socket:
            who = await socket.receive_str(timeout=SECONDS)
            await socket.send_str("hello")
            echo = await socket.receive_str(timeout=SECONDS)
            return {"status": 101, "who": who, "headers": {}, "body": echo}
    except aiohttp.WSServerHandshakeError as error:
        return {"status": error.status, "who": None, "headers": {}, "body": ""}


async def _grpc(*, target: str, authority: str, headers: Mapping[str, str] = {}) -> Json:
    """Call the one method there is; the names of metadata are lower case."""
    metadata = tuple((name.lower(), value) for name, value in headers.items())
    options = (("grpc.use_local_subchannel_pool", 1), ("grpc.default_authority", authority))
    async with grpc.aio.insecure_channel(target, options=options) as channel:
        who: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{GRPC_SERVICE}/{GRPC_METHOD}")
        asked = who(b"", metadata=metadata, timeout=SECONDS)
        try:
            body: bytes = await asked
        except grpc.aio.AioRpcError as error:
            return {"code": error.code().name, "who": None, "headers": {}, "body": error.details()}
        found = {name: str(value) for name, value in await asked.initial_metadata()}
        return {"code": "OK", "who": found.get(ANSWERED_BY), "headers": found, "body": body.decode()}


class Load:
    """One request after another, over connections that stay open, until told to end."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._results: list[tuple[int, float, float, Any, Any]] = []

    async def start(self, *, requests: Sequence[Json], pause: float = 0.0) -> Json:
        """Begin to send these in turn."""
        self._results = []
        self._task = asyncio.get_running_loop().create_task(self._run(requests, pause))
        return {}

    async def count(self) -> Json:
        """Return how many were answered so far."""
        return {"sent": len(self._results)}

    async def latest(self) -> Json:
        """Return who gave the last answer, a name that nobody has before there is one, and when it was asked for."""
        _, begun, _, _, who = self._results[-1] if self._results else (0, 0.0, 0.0, 0, "(none yet)")
        return {"who": who, "begun": begun}

    async def end(self) -> Json:
        """Stop, and return (number of the request, start, end, status, who) of each, times in monotonic seconds."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        return {"results": self._results}

    async def _run(self, requests: Sequence[Json], pause: float) -> None:
        timeout = aiohttp.ClientTimeout(total=SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            for number in itertools.cycle(range(len(requests))):
                started = time.monotonic()
                try:
                    found = await _http(session, **requests[number])
                except (aiohttp.ClientError, TimeoutError, OSError) as error:
                    found = {"status": f"{type(error).__name__}: {error}", "who": None}
                self._results.append((number, started, time.monotonic(), found["status"], found["who"]))
                await asyncio.sleep(pause)
