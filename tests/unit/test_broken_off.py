"""A write that is broken off is not sent later."""

import asyncio
import json
import socket
from pathlib import Path

import pytest

from virtualservice_operator.kube.client import KubeClient
from virtualservice_operator.kube.connection import Source


def kubeconfig(path: Path, port: int) -> Path:
    cluster = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}
    context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
    user = {"name": "u", "user": {"token": "t"}}
    path.write_text(json.dumps({"current-context": "x", "clusters": [cluster], "contexts": [context], "users": [user]}))
    return path


def read_to_the_end(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


async def test_a_write_that_is_broken_off_resets_its_connection(tmp_path: Path) -> None:
    """With a reset the kernel forgets what it still had to send; with an orderly end it would go on for minutes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        async with KubeClient(Source(str(kubeconfig(tmp_path / "config", server.getsockname()[1])))) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await client.request("PUT", "/x", body={})
            connection, _ = server.accept()
            with connection:
                connection.settimeout(30)
                with pytest.raises(ConnectionResetError):
                    await asyncio.to_thread(read_to_the_end, connection)
