"""
The process of a pod: it holds the pod's namespaces, sends requests as a caller, and answers them as a backend.

`python -m mesh.pod_process SOCKET`. Questions, one JSON object a line: `http`, `grpc`, `websocket`, `listen`, `unlisten`,
`load`, `count`,
`latest`, `loaded`; what each takes is in the functions of `mesh.calling` and `mesh.answering`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from mesh.answering import Backends
from mesh.calling import Load, call
from mesh.lines import Json, serve


async def main(path: Path) -> None:
    """Answer questions until killed."""
    backends, load = Backends(), Load()
    doers: dict[str, Callable[..., Awaitable[Json]]] = {
        "listen": backends.listen,
        "unlisten": backends.close,
        "load": load.start,
        "count": load.count,
        "latest": load.latest,
        "loaded": load.end,
    }

    async def answer(question: Json) -> Json:
        do = question.pop("do")
        return await (doers[do](**question) if do in doers else call(do, **question))

    await serve(path, answer)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
