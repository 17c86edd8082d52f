"""A wire between a client and a server that a test can cut, refuse or freeze."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from types import TracebackType
from typing import Self, cast

from controlplane.loop_thread import LoopThread
from controlplane.ports import LOOPBACK, free_port

RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER for 0 s: closing sends RST, not FIN
PORT_TRIES = 5


class Cutter:
    """
    Pass bytes from a free loopback `port` on to `host`:`target`, until told otherwise.

    All sockets belong to one event loop in a thread of its own: no thread may close what another one is reading.
    """

    def __init__(self, target: int, host: str = LOOPBACK) -> None:
        self.port = 0
        self._wire = _Wire(host, target)
        self._loop = LoopThread("cutter")

    def __enter__(self) -> Self:
        self._loop.start()
        try:
            self.port = self._loop.run(self._wire.listen_somewhere())
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Reset all connections and stop listening."""
        self._loop.run(self._wire.shut())
        self._loop.stop()

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return self._loop.ask(lambda: sum(end.is_client for end in self._wire.ends))

    def cut(self) -> None:
        """Reset all connections, on both sides; new ones are accepted as before."""
        self._loop.ask(self._wire.reset_all)

    def refuse(self) -> None:
        """Refuse new connections; those that are open stay."""
        self._loop.ask(self._wire.stop_listening)

    def accept(self) -> None:
        """Accept new connections again, on the same port."""
        self._loop.run(self._wire.listen(self.port))

    def freeze(self) -> None:
        """Pass nothing on and close nothing, as a network that swallows packets; new connections open and are silent."""
        self._loop.ask(lambda: self._wire.set_frozen(frozen=True))

    def thaw(self) -> None:
        """Pass on again, beginning with what has waited."""
        self._loop.ask(lambda: self._wire.set_frozen(frozen=False))


class _Wire:
    """The listening socket and the ends of all connections; everything here runs in the event loop."""

    def __init__(self, host: str, target: int) -> None:
        self.host = host
        self.target = target
        self.frozen = False
        self.ends: set[_End] = set()
        self.dialling: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def listen_somewhere(self) -> int:
        """Listen on a free port and return it; someone may have been faster, so try a few."""
        for _ in range(PORT_TRIES - 1):
            with contextlib.suppress(OSError):
                return await self.listen(free_port())
        return await self.listen(free_port())

    async def listen(self, port: int) -> int:
        """Listen, unless that is so already."""
        if self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(lambda: _End(self, None), LOOPBACK, port)
        return port

    def stop_listening(self) -> None:
        """Close the listening socket; the connections stay."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def reset_all(self) -> None:
        """Reset every connection on both sides."""
        for end in tuple(self.ends):
            end.reset()

    def set_frozen(self, *, frozen: bool) -> None:
        """Stop or resume reading everywhere."""
        self.frozen = frozen
        for end in self.ends:
            end.read_or_wait()

    async def shut(self) -> None:
        """Leave nothing open behind."""
        self.stop_listening()
        for task in tuple(self.dialling):
            task.cancel()
        await asyncio.gather(*self.dialling, return_exceptions=True)
        self.reset_all()
        await asyncio.sleep(0)  # the loop closes what was aborted in its next turn


class _End(asyncio.Protocol):
    """One end of a connection; what it receives goes to its `other` end."""

    def __init__(self, wire: _Wire, other: _End | None) -> None:
        self.wire = wire
        self.other = other
        self.is_client = other is None
        self.can_write = True
        self.ended = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.wire.ends.add(self)
        if self.is_client:
            task = asyncio.get_running_loop().create_task(self._dial())
            self.wire.dialling.add(task)
            task.add_done_callback(self.wire.dialling.discard)
        elif self.other is not None:
            self.other.other = self
            self.other.read_or_wait()
        self.read_or_wait()

    def data_received(self, data: bytes) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)

    def eof_received(self) -> bool:
        """Pass the half-close on; this side may be written to until the other side has ended, too."""
        self.ended = True
        if self.other is None or self.other.transport is None:
            return False
        self.other.transport.write_eof()
        if not self.other.ended:
            return True
        self.other.transport.close()
        return False

    def pause_writing(self) -> None:
        self._set_can_write(can_write=False)

    def resume_writing(self) -> None:
        self._set_can_write(can_write=True)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self.wire.ends.discard(self)
        if self.other is not None and not (self.ended and self.other.ended):
            self.other.reset()

    def reset(self) -> None:
        """Close at once with RST."""
        if self.transport is not None and not self.transport.is_closing():
            sock: socket.socket = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            self.transport.abort()

    def read_or_wait(self) -> None:
        """Read when there is somewhere to write to and nothing is frozen."""
        if self.transport is None or self.transport.is_closing():
            return
        if self.other is not None and self.other.can_write and not self.wire.frozen:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()

    def _set_can_write(self, *, can_write: bool) -> None:
        self.can_write = can_write
        if self.other is not None:
            self.other.read_or_wait()

    async def _dial(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: _End(self.wire, self), self.wire.host, self.wire.target)
        except OSError:
            self.reset()
