"""A write that is broken off is not sent later: its connection forgets what has not been received."""

import asyncio
import contextlib
import json
import socket
from pathlib import Path

import pytest

from virtualservice_operator.kube.client import KubeClient
from virtualservice_operator.kube.connection import Source

BODY = {"data": "x" * 20_000}


def kubeconfig(path: Path, port: int) -> Path:
    cluster = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}
    context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
    user = {"name": "u", "user": {"token": "t"}}
    path.write_text(json.dumps({"current-context": "x", "clusters": [cluster], "contexts": [context], "users": [user]}))
    return path


def received(connection: socket.socket) -> int:
    """Return how many bytes there are to read until the connection ends."""
    count = 0
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            count += len(part)
    return count


async def test_what_was_not_received_of_a_write_that_was_broken_off_is_not_sent(tmp_path: Path) -> None:
    """The server is a network that swallows packets: it receives little, and reads only when all is over."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(30)
        async with KubeClient(Source(str(kubeconfig(tmp_path / "config", server.getsockname()[1])))) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await client.request("PUT", "/x", body=BODY)
            connection, _ = server.accept()
            with connection:
                connection.settimeout(10)
                assert await asyncio.to_thread(received, connection) < len(json.dumps(BODY))
