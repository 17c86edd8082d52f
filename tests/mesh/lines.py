"""Questions and answers as one JSON object a line, over a unix socket: such a socket reaches into network namespaces."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

Json = dict[str, Any]
Answerer = Callable[[Json], Awaitable[Json]]

LONGEST_LINE = 64 * 1024 * 1024


async def serve(path: Path, answer: Answerer) -> None:
    """Answer each line of each connection, until cancelled; what an answerer raises is the answer `error`."""

    async def attend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            try:
                found = await answer(json.loads(line))
            except Exception as error:  # noqa: BLE001 - whatever it is, the test that asked must hear of it
                found = {"error": f"{type(error).__name__}: {error}"}
            writer.write(json.dumps(found).encode() + b"\n")
            await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(attend, path, limit=LONGEST_LINE)
    async with server:
        await server.serve_forever()


def ask(path: Path, timeout: float = 30.0, **question: Any) -> Json:
    """
    Return the answer to one question.

    Errors: `OSError` when nobody listens or answers in time.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        connection.connect(str(path))
        connection.sendall(json.dumps(question).encode() + b"\n")
        with connection.makefile("rb") as answers:
            line = answers.readline()
    if not line:
        raise ConnectionResetError(f"{path} closed the connection without an answer to {question}")
    answer: Json = json.loads(line)
    return answer
