"""The proxy's inside: takes a request, breaks it as the rules say, or passes it on. All in one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from http import HTTPStatus

import aiohttp
import yarl
from aiohttp import web

from controlplane.cutter import RESET_ON_CLOSE
from controlplane.ports import LOOPBACK
from faults.breakage import Torn
from faults.call import Call
from faults.journal import Entry
from faults.rules import EventRule, Rule
from faults.stream import Order, Stream

# A session is closed before its TLS connections are: aiohttp's documentation asks for this moment.
CLOSE_SECONDS = 0.25
BODY_LIMIT = 64 * 2**20
HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "host", "upgrade"})


class Relay:
    """An HTTP server that passes every request on to `target`, the bearer token included."""

    def __init__(self, target: str, *, serve: ssl.SSLContext | None, trust: ssl.SSLContext | None) -> None:
        self.rules: list[Rule] = []
        self.event_rules: list[EventRule] = []
        self.journal: list[Entry] = []
        self.streams: set[Stream] = set()
        self._exchanges: set[asyncio.Task[web.Response]] = set()
        self._target = target
        self._serve = serve
        self._trust = trust
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None

    async def prepare(self) -> None:
        """Make ready to listen; answers are passed on as they are, so nothing is decoded."""
        connector = aiohttp.TCPConnector(ssl=self._trust or True, limit=0)
        self._session = aiohttp.ClientSession(
            connector=connector, auto_decompress=False, timeout=aiohttp.ClientTimeout(total=None)
        )
        app = web.Application(client_max_size=BODY_LIMIT)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
        await self._runner.setup()

    async def listen(self, port: int) -> int:
        """Open a port."""
        if self._runner is None:
            raise RuntimeError("prepare it first")
        await web.TCPSite(self._runner, LOOPBACK, port, ssl_context=self._serve).start()
        return port

    async def shut(self) -> None:
        """Reset all connections and close the port."""
        if self._runner is not None:
            for connection in self._runner.server.connections if self._runner.server else ():
                _reset(connection.transport)
            await self._runner.cleanup()
        for exchange in tuple(self._exchanges):
            exchange.cancel()
        await asyncio.gather(*self._exchanges, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            await asyncio.sleep(CLOSE_SECONDS)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        call = Call.of(request.method, request.path, request.query)
        entry = Entry(call, request.raw_path, request.headers.get("User-Agent", "").partition("/")[0])
        self.journal.append(entry)
        rules = [rule for rule in self.rules if rule.takes(call)]
        entry.injected = bool(rules)
        try:
            return _noted(entry, await self._answer(request, entry, rules))
        except (Torn, aiohttp.ClientError, OSError):
            _reset(request.transport)
            return web.Response()  # nobody gets it
        finally:
            entry.ended = time.monotonic()

    async def _answer(self, request: web.Request, entry: Entry, rules: Sequence[Rule]) -> web.StreamResponse:
        for rule in rules:
            answer = await rule.breakage.before()
            if answer is not None:
                return web.Response(
                    status=answer.status, body=answer.body, content_type=answer.content_type, headers=answer.headers
                )
        return await self._pass_on(request, entry, rules)

    async def _pass_on(self, request: web.Request, entry: Entry, rules: Sequence[Rule]) -> web.StreamResponse:
        if entry.call.verb == "watch":
            async with self._ask(request, await request.read()) as upstream:
                entry.stored = upstream.status
                if upstream.status == HTTPStatus.OK:
                    return await self._stream(request, entry.call, upstream)
                return await _copied(upstream)
        # A client that vanishes takes nothing back: what was sent is carried out, and the journal has to know of it.
        exchange = asyncio.get_running_loop().create_task(self._exchange(request, await request.read(), entry))
        self._exchanges.add(exchange)
        exchange.add_done_callback(self._exchanges.discard)
        response = await asyncio.shield(exchange)
        for rule in rules:
            await rule.breakage.after()
        return response

    async def _exchange(self, request: web.Request, body: bytes, entry: Entry) -> web.Response:
        async with self._ask(request, body) as upstream:
            entry.stored = upstream.status
            entry.call = _named(entry.call, await upstream.read())
            return await _copied(upstream)

    def _ask(self, request: web.Request, body: bytes) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        if self._session is None:
            raise RuntimeError("prepare it first")
        url = yarl.URL(self._target + request.raw_path, encoded=True)
        headers = _end_to_end(request.headers)
        return self._session.request(request.method, url, headers=headers, data=body or None, allow_redirects=False)

    async def _stream(self, request: web.Request, call: Call, upstream: aiohttp.ClientResponse) -> web.StreamResponse:
        response = web.StreamResponse(status=upstream.status, headers=_end_to_end(upstream.headers))
        response.enable_chunked_encoding()
        await response.prepare(request)
        stream = Stream(call, response, self.event_rules)
        reader = asyncio.get_running_loop().create_task(stream.read(upstream))
        self.streams.add(stream)
        try:
            await stream.pump()
        finally:
            self.streams.discard(stream)
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
        return response

    def order(self, resource: str, order: Order) -> int:
        """Give an order to the open watches of a resource ("" for all) and return how many there are."""
        found = [stream for stream in self.streams if resource in ("", stream.call.resource)]
        for stream in found:
            stream.order(order)
        return len(found)


def _noted(entry: Entry, response: web.StreamResponse) -> web.StreamResponse:
    entry.answered = response.status
    entry.asked = float(response.headers.get("Retry-After", 0))
    return response


def _end_to_end(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in HOP_BY_HOP}


async def _copied(upstream: aiohttp.ClientResponse) -> web.Response:
    """Return an answer as it came."""
    return web.Response(status=upstream.status, body=await upstream.read(), headers=_end_to_end(upstream.headers))


def _named(call: Call, received: bytes) -> Call:
    """Return a create with the name of what it made: a POST has none in its path."""
    if call.verb != "create":
        return call
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return replace(call, name=json.loads(received)["metadata"]["name"])
    return call


def _reset(transport: asyncio.BaseTransport | None) -> None:
    """Close a connection with RST, so that what was not read is lost."""
    if not isinstance(transport, asyncio.Transport) or transport.is_closing():
        return
    found = transport.get_extra_info("socket")
    with contextlib.suppress(OSError):
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    transport.abort()
