"""
The child process in which templates are rendered: `python -I -m virtualservice_operator.templates.worker`.

    in    [job, …]     a job: {"digest", "sources"?, "entry"?, "variables"?}
    out   an answer for each job, in order, as soon as it is there

It is a fresh interpreter with an empty environment and no descriptors but these two. It limits itself before it reads
the first job. It ends when its input does.
"""

import gc
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from virtualservice_operator.templates import lockdown, wire
from virtualservice_operator.templates.render import Answer, Renderer, refusal

# What one job may take before the kernel ends the process; the operator's deadline is much shorter.
_CPU_SECONDS: Final = 1
_WARM_UP: Final = (
    "a: {{ ServiceName | tojson }}\n{% for i in range(2) %}b{{ i }}: ä\n{% endfor %}",
    "a: {{ ServiceLabels.x }}",
    "{{ 1 + ",
    "a: [",
    "{% for i in range(9999) %}{% endfor %}",
)

Handler = Callable[[Mapping[str, Any]], Answer]


def main() -> None:
    """Serve until the input ends."""
    renderer = Renderer()
    warm_up(renderer)
    serve(lambda job: handle(renderer, job))


def handle(renderer: Renderer, job: Mapping[str, Any]) -> Answer:
    """Return the answer to one job: texts are checked, and rendered where it names an entry."""
    digest = job["digest"]
    loaded = renderer.known(digest) or renderer.load(digest, job["sources"])
    if not loaded["ok"]:
        return loaded
    if "entry" not in job:
        return {"ok": True}
    return renderer.render(digest, job["entry"], json.loads(job["variables"]))


def serve(handler: Handler, *, limited: bool = True, locked: bool = True) -> None:
    """Say how it stands, then answer jobs until the input ends."""
    gc.freeze()
    if limited:
        lockdown.limit_resources()
    unlocked = lockdown.lock() if locked else "not asked for"
    wire.write_all(1, wire.pack({"unlocked": unlocked}))
    while True:
        try:
            jobs = wire.read_message(0)
        except wire.Broken:
            return
        for job in jobs:
            if limited:
                lockdown.limit_cpu(_CPU_SECONDS)
            wire.write_all(1, _answer(handler, job))


def _answer(handler: Handler, job: Mapping[str, Any]) -> bytes:
    try:
        data = wire.pack(handler(job))
    except MemoryError:
        raise SystemExit(1) from None  # what it left behind is in no known state
    except Exception as error:  # noqa: BLE001 - whatever it is, it is this job's
        return wire.pack(refusal("", 1, f"it cannot be rendered: {type(error).__name__}: {str(error)[:200]}"))
    if len(data) > wire.ANSWER_LIMIT:
        return wire.pack(refusal("", 1, f"the result has more than {wire.ANSWER_LIMIT >> 20} MiB; write less"))
    return data


def warm_up(renderer: Renderer) -> None:
    """Go through what Python and Jinja load late: once locked, nothing can be loaded any more."""
    variables = {"ServiceName": "a: b", "ServiceLabels": {"x": "y\nz"}, "ClusterDomain": "c"}
    for number, text in enumerate(_WARM_UP):
        digest = f"warm-up-{number}"
        if renderer.load(digest, {"virtualService": text})["ok"]:
            renderer.render(digest, "virtualService", variables)


if __name__ == "__main__":
    sys.setrecursionlimit(600)
    main()
