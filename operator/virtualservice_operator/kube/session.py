"""
A session with one API server: JSON in and out, watches, credentials that rotate, and what becomes of errors on the way.

Credentials and TLS come from the `kubernetes` package.
"""

import asyncio
import json
import socket
import ssl
import struct
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from http import HTTPStatus
from typing import Any, Final, Self

import aiohttp

from virtualservice_operator.api import names
from virtualservice_operator.kube.connection import Connection, Source
from virtualservice_operator.kube.errors import ApiError, ConnectionLost, NoAnswer

_TIMEOUT_SECONDS: Final = 30.0
# SO_LINGER for 0 s: what is closed is not sent any more.
_NO_LINGER: Final = struct.pack("ii", 1, 0)

Observer = Callable[[str, int, float], None]
Permit = Callable[[], AbstractAsyncContextManager[None]]


class Session:
    """
    One API server, while it is entered.

    `observe` hears of each request: verb, status code (0 for none), seconds. `permit` surrounds each request that writes,
    and may refuse it or break it off. `identity` is what the API server's audit log tells this process from others by.
    `distrusted` hears that the server's certificate is not trusted any more.
    """

    def __init__(
        self,
        source: Source,
        observe: Observer | None = None,
        *,
        permit: Permit = nullcontext,
        identity: str | None = None,
        timeout: float = _TIMEOUT_SECONDS,
    ) -> None:
        self._source = source
        self._observe = observe or _ignore
        self._permit = permit
        self._agent = f"{names.OPERATOR} ({identity})" if identity else names.OPERATOR
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._connection: Connection | None = None
        self._tls: ssl.SSLContext | None = None
        self.distrusted: Callable[[], None] = lambda: None
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._connection = await self._source.load()
        self._tls = self._connection.tls()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, socket_factory=_make_socket),
            timeout=self._timeout,
            headers={"User-Agent": self._agent},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    @property
    def server(self) -> str:
        """Return the API server's address."""
        return self._connected[0].server

    @property
    def _connected(self) -> tuple[Connection, aiohttp.ClientSession]:
        if self._connection is None or self._session is None:
            raise RuntimeError("the client is used outside its `async with`")
        return self._connection, self._session

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Any:
        """
        Send one request and return the answer's JSON.

        A 401 or an unknown certificate re-reads the credentials once: tokens and authorities rotate.
        Errors: `ApiError` where the server said no, `ConnectionLost` where it did not answer, `NotLeader` without a permit.
        """
        async with nullcontext() if method == "GET" else self._permit():
            return await self._request(method, path, params=params, body=body, content_type=content_type)

    async def _request(
        self, method: str, path: str, *, params: Mapping[str, str] | None, body: Any, content_type: str
    ) -> Any:
        data = json.dumps(body, separators=(",", ":")).encode() if body is not None else None
        headers = {"Content-Type": content_type} if data is not None else {}
        verb = "list" if params and "limit" in params else method.lower()
        started = time.monotonic()
        try:
            async with await self._send(method, path, params=params, data=data, headers=headers) as response:
                text = await response.text()
                self._observe(verb, response.status, time.monotonic() - started)
                return _answer(response, text)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._observe(verb, 0, time.monotonic() - started)
            raise _lost(error, self.server) from error

    async def watch(
        self, path: str, params: Mapping[str, str], *, silence: float, opened: Callable[[], None]
    ) -> AsyncGenerator[Mapping[str, Any], None]:
        """
        Yield the events of a watch until the server ends it; `opened` is called when it has begun.

        `silence`: seconds without a byte after which the connection counts as lost; bookmarks come every minute.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=silence)
        query = {**params, "watch": "true", "allowWatchBookmarks": "true"}
        try:
            async with await self._send("GET", path, params=query, timeout=timeout) as response:
                if response.status >= HTTPStatus.BAD_REQUEST:
                    _answer(response, await response.text())
                opened()
                pending = b""
                async for chunk in response.content.iter_any():
                    *lines, pending = (pending + chunk).split(b"\n")
                    for line in lines:
                        yield json.loads(line)
        except (aiohttp.ClientError, TimeoutError, OSError, json.JSONDecodeError) as error:
            raise _lost(error, self.server) from error

    async def _send(self, method: str, path: str, **more: Any) -> aiohttp.ClientResponse:
        connection, session = self._connected
        headers = more.pop("headers", {})
        for fresh in (False, True):
            if connection.token is not None:
                headers["Authorization"] = connection.token
            try:
                response = await session.request(
                    method, connection.server + path, headers=headers, ssl=self._tls or True, **more
                )
            except aiohttp.ClientSSLError:
                if fresh:
                    raise
                connection = await self._reload(distrusted=True)
                continue
            if response.status != HTTPStatus.UNAUTHORIZED or fresh:
                break
            response.release()
            connection = await self._reload(distrusted=False)
        return response

    async def _reload(self, *, distrusted: bool) -> Connection:
        """
        Read the credentials anew, and use them from now on.

        With a token only, TLS stays as it is unless the server is `distrusted`: a new context means new connections.
        """
        if distrusted:
            self.distrusted()
        self._connection = await self._source.load()
        if distrusted or self._connection.certificate is not None:
            self._tls = self._connection.tls()
        return self._connection


def _make_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """
    Return a socket that forgets what was not received when it is closed.

    Else the kernel of a leader that is cut off goes on sending a write that was broken off, for minutes, and another may
    lead by the time the network is back.
    """
    family, kind, protocol, *_ = address
    found = socket.socket(family, kind, protocol)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    return found


def _ignore(_method: str, _status: int, _seconds: float) -> None:
    """Hear of a request and do nothing."""


def _answer(response: aiohttp.ClientResponse, text: str) -> Any:
    refused = response.status >= HTTPStatus.BAD_REQUEST
    try:
        body = json.loads(text) if text else None
    except json.JSONDecodeError as error:
        if not refused:
            raise ConnectionLost(f"{response.url.origin()}: the answer is no JSON; is this an API server?") from error
        body = None
    if refused:
        raise ApiError.from_response(response.status, body, text, response.headers)
    return body


def _lost(error: Exception, server: str) -> ConnectionLost:
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return ConnectionLost(f"{server}: it cannot be reached in time")
    if isinstance(error, asyncio.TimeoutError):
        return NoAnswer(f"{server}: no answer in time")
    return ConnectionLost(f"{server}: {str(error) or type(error).__name__}")
