"""Backends: each says who it is, to HTTP, gRPC and WebSocket callers alike."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
from aiohttp import WSMsgType, web

from mesh.lines import Json

ANSWERED_BY = "x-answered-by"
GRPC_SERVICE, GRPC_METHOD = "vso.test.Mesh", "Who"
HTTP, GRPC = "http", "grpc"


class Backends:
    """What listens, by address and port."""

    def __init__(self) -> None:
        self._running: dict[tuple[str, int], Callable[[], Awaitable[Any]]] = {}

    async def listen(self, *, name: str, ip: str, port: int, protocol: str) -> Json:
        """Answer as `name` at an address; a second call for the same address changes nothing."""
        if (ip, port) not in self._running:
            start = _start_grpc if protocol == GRPC else _start_http
            self._running[ip, port] = await start(name, ip, port)
        return {}

    async def close(self, *, ip: str, port: int) -> Json:
        """Listen there no more."""
        await self._running.pop((ip, port))()
        return {}


async def _start_http(name: str, ip: str, port: int) -> Callable[[], Awaitable[Any]]:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.headers.get("upgrade", "").lower() == "websocket":
            return await _echo(name, request)
        seen = {"name": name, "path": request.path_qs, "headers": dict(request.headers)}
        return web.json_response(seen, headers={ANSWERED_BY: name})

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, ip, port).start()
    return runner.cleanup


async def _echo(name: str, request: web.Request) -> web.WebSocketResponse:
    """Say who answers, then send back what comes."""
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.send_str(name)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
    return socket


async def _start_grpc(name: str, ip: str, port: int) -> Callable[[], Awaitable[Any]]:
    async def answer(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        await context.send_initial_metadata(((ANSWERED_BY, name),))
        return name.encode()

    server = grpc.aio.server()
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(answer)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(GRPC_SERVICE, {GRPC_METHOD: handler}),))
    server.add_insecure_port(f"{ip}:{port}")
    await server.start()
    return lambda: server.stop(None)
