"""
The operator's side of the worker: it is started when it is needed, watched while it works, killed when it takes too long.

The deadline is CPU time of the worker, so that a machine with much else to do makes nobody's template late; a wait of
several seconds ends it all the same. Whatever happens to it costs the job at hand; the others are done by the next one.
"""

import contextlib
import json
import math
import os
import select
import subprocess
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from virtualservice_operator.templates import guard, wire

DEADLINE: Final = 0.25
# For a job that brings texts which are not compiled yet; what they may cost is bounded by their size (syntax.py).
COMPILE_DEADLINE: Final = 0.75
LONGEST_WAIT: Final = 5.0
START_WAIT: Final = 30.0
_LIFE: Final = 300.0
_STOP_SECONDS: Final = 5.0
_FIRST_BACKOFF: Final = 0.1
_LONGEST_BACKOFF: Final = 5.0
# Fewer than the worker keeps compiled (render.py), in the same order: what we take for loaded is.
_REMEMBERED: Final = 100
# Characters, of which JSON makes at most 12 bytes each: several jobs stay below what the worker takes as one message.
_BATCH_SIZE: Final = 512 * 1024
# What the guard lets pass, and the answer around it.
_ANSWER_DEPTH: Final = guard.DEPTH_LIMIT + 2
_TOO_MUCH: Final = {
    "ok": False,
    "message": f"its variables come to more than {wire.MESSAGE_LIMIT >> 20} MiB; mention fewer of them",
}
COMMAND: Final = (sys.executable, "-I", "-m", "virtualservice_operator.templates.worker")

Job = Mapping[str, Any]


class Ended(Enum):
    """Why a job has no answer."""

    KILLED = "killed"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Told:
    """
    What came of a job: an answer of the worker, or why there is none.

    `seconds`: by the clock; `cpu`: of the worker's time. `compiled`: the job brought texts that had to be compiled first.
    """

    answer: Any
    ended: Ended | None = None
    seconds: float = 0.0
    cpu: float = 0.0
    compiled: bool = False


class Worker:
    """
    One child process at a time. Not for several threads at once.

    `log` hears what an operator should know; `nice`: by how much the child gives way to other processes.
    """

    def __init__(
        self, command: Sequence[str] = COMMAND, *, log: Callable[[str], None] | None = None, nice: int = 0
    ) -> None:
        self.starts = 0
        self.kills = 0
        self._command = tuple(command)
        self._nice = nice
        self._log = log or (lambda _: None)
        self._child: _Child | None = None
        self._begun: _Child | None = None
        self._loaded: OrderedDict[str, None] = OrderedDict()
        self._last_words = ""
        self._fails = 0
        self._not_before = 0.0
        self._closed = False

    @property
    def pid(self) -> int | None:
        """Return the child's process id, while there is one."""
        return self._child.pid if self._child is not None else None

    def begin(self) -> None:
        """Start the child and do not wait until it is ready; trouble is told when it is needed."""
        with contextlib.suppress(OSError):
            self._begun = _Child(self._command, self._nice)

    def run(self, jobs: Sequence[Job]) -> list[Told]:
        """
        Return what came of each job, in order.

        A job's `sources` are sent once in a worker's life. A job that takes too long, or ends the worker, is `KILLED`;
        where no worker can be started, the rest is `UNAVAILABLE`.
        """
        told: list[Told] = []
        while len(told) < len(jobs):
            told.extend(self.run_some(jobs[len(told) :]))
        return told

    def run_some(self, jobs: Sequence[Job]) -> list[Told]:
        """Return what came of the first jobs, one at least: of those that one message holds, up to one that ends the child."""
        child = self._child or self._start()
        if child is None:
            return [Told(None, Ended.UNAVAILABLE) for _ in jobs]
        return list(self._run_batch(child, _batch(jobs)))

    def close(self) -> None:
        """End the child for good; may be called while another thread waits for it."""
        self._closed = True
        self.stop()

    def stop(self) -> None:
        """End the child; the next job starts another."""
        children, self._child, self._begun = (self._child, self._begun), None, None
        self._loaded.clear()
        for child in children:
            if child is not None:
                child.kill()

    def _run_batch(self, child: "_Child", jobs: Sequence[Job]) -> Iterator[Told]:
        """Yield what came of jobs, up to the first that ends the child."""
        started, used = time.monotonic(), child.cpu_seconds()
        try:
            sent = list(self._slim(jobs))
            message = wire.pack(sent)
            if len(message) > wire.MESSAGE_LIMIT:
                self._loaded.pop(sent[-1]["digest"], None)
                yield Told(_TOO_MUCH)
                return
            child.send(message)
            for job in sent:
                compiled = "sources" in job
                answer = child.receive(COMPILE_DEADLINE if compiled else DEADLINE)
                seconds, cpu = time.monotonic() - started, child.cpu_seconds() - used
                yield Told(answer, None, seconds, max(0.0, min(cpu, seconds)), compiled)
                started, used = time.monotonic(), child.cpu_seconds()
        except (OSError, wire.Broken) as error:
            self.kills += 1
            self.stop()
            self._log(f"the template worker was stopped while it rendered: {error}")
            yield Told(None, Ended.KILLED, time.monotonic() - started)
            return
        if child.cpu_seconds() > _LIFE:
            self.stop()

    def _slim(self, jobs: Sequence[Job]) -> Iterator[Job]:
        """Yield the jobs without the texts that the worker has already."""
        for job in jobs:
            digest = job["digest"]
            known = digest in self._loaded
            self._loaded[digest] = None
            self._loaded.move_to_end(digest)
            if len(self._loaded) > _REMEMBERED:
                self._loaded.popitem(last=False)
            yield {key: value for key, value in job.items() if key != "sources"} if known else job

    def _start(self) -> "_Child | None":
        """Start a child, unless one could not be started a moment ago."""
        now = time.monotonic()
        if self._closed or now < self._not_before:
            return None
        try:
            child, self._begun = self._begun or _Child(self._command, self._nice), None
            unlocked = child.greeting()
        except (OSError, wire.Broken) as error:
            self._fails += 1
            delay = min(_FIRST_BACKOFF * 2 ** min(self._fails, 10), _LONGEST_BACKOFF)
            self._not_before = now + delay
            self._tell(f"the template worker cannot be started: {error}; the next try is in {delay:.1f} s")
            return None
        self._fails = 0
        self.starts += 1
        self._child = child
        if unlocked:
            self._tell(f"the template worker runs without its system call filter ({unlocked}); its other limits hold")
        return child

    def _tell(self, words: str) -> None:
        """Log something that is the case, once."""
        if words != self._last_words:
            self._last_words = words
            self._log(words)


class _Child:
    """A started child, and what of its output was not taken yet."""

    def __init__(self, command: Sequence[str], nice: int) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={}, cwd="/"
        )
        self.pid = self._process.pid
        if nice:
            os.setpriority(os.PRIO_PROCESS, self.pid, os.getpriority(os.PRIO_PROCESS, 0) + nice)
        self._pending = bytearray()
        os.set_blocking(self._input, False)

    @property
    def _input(self) -> int:
        return self._process.stdin.fileno()  # type: ignore[union-attr]

    @property
    def _output(self) -> int:
        return self._process.stdout.fileno()  # type: ignore[union-attr]

    def greeting(self) -> str:
        """Return why the child is not locked, '' where it is. Errors: `Broken`."""
        try:
            hello = self._message(math.inf, START_WAIT)
            return str(hello["unlocked"])[:200]
        except (wire.Broken, KeyError, TypeError) as error:
            self.kill()
            raise wire.Broken(f"it says nothing ({error})") from None

    def send(self, message: bytes) -> None:
        """Send a message of jobs; a child that does not take it is broken."""
        rest, deadline = memoryview(message), time.monotonic() + LONGEST_WAIT
        while rest:
            try:
                rest = rest[os.write(self._input, rest) :]
            except BlockingIOError:
                if not _poll(self._input, select.POLLOUT, deadline - time.monotonic()):
                    raise wire.Broken("it takes no jobs") from None

    def receive(self, cpu: float) -> Any:
        """Return the next answer. Errors: `Broken` where it takes so much CPU time, or too long, or the child has ended."""
        return self._message(cpu, LONGEST_WAIT)

    def cpu_seconds(self) -> float:
        """Return the CPU time that the child has used."""
        try:
            return time.clock_gettime((~self.pid << 3) | 2)  # the kernel's number of another process's clock
        except (OSError, AttributeError):
            return time.monotonic()

    def kill(self) -> None:
        """End it, now."""
        self._process.kill()
        self._process.wait(_STOP_SECONDS)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def _message(self, cpu: float, wait: float) -> Any:
        begun, used = time.monotonic(), self.cpu_seconds()
        while (body := self._take()) is None:
            self._await_output(begun + wait, used + cpu, f"{cpu * 1000:.0f} ms of CPU time")
            part = os.read(self._output, 1 << 20)
            if not part:
                raise wire.Broken("it has ended")
            self._pending += part
        return _read(body)

    def _take(self) -> bytes | None:
        """Return the body of a message that is there whole."""
        if len(self._pending) < wire.HEADER:
            return None
        size = int.from_bytes(self._pending[: wire.HEADER], "big")
        if size > wire.ANSWER_LIMIT:
            raise wire.Broken(f"its answer has {size} bytes")
        end = wire.HEADER + size
        if len(self._pending) < end:
            return None
        body = bytes(self._pending[wire.HEADER : end])
        del self._pending[:end]
        return body

    def _await_output(self, until: float, cpu_until: float, cpu_words: str) -> None:
        """Return when there is something to read. Errors: `Broken` when its time is over."""
        while True:
            cpu_left, wait_left = cpu_until - self.cpu_seconds(), until - time.monotonic()
            left = min(cpu_left, wait_left)
            if left <= 0:
                raise wire.Broken(f"it took more than {cpu_words if cpu_left <= 0 else f'{LONGEST_WAIT:.0f} s'}")
            if _poll(self._output, select.POLLIN, left):
                return


def _finite(text: str) -> float:
    """Return a number. Errors: `Broken` where JSON has none such: NaN, Infinity, 1e999."""
    number = float(text)
    if not math.isfinite(number):
        raise wire.Broken(f"its answer holds {text[:20]}")
    return number


_decode: Final = json.JSONDecoder(parse_constant=_finite, parse_float=_finite).decode


def _read(body: bytes) -> Any:
    """Return an answer; one that a worker gives which keeps its limits. Errors: `Broken`."""
    try:
        answer = _decode(body.decode())
    except (ValueError, RecursionError):
        raise wire.Broken("its answer is no JSON") from None
    if body.count(b"[") + body.count(b"{") > _ANSWER_DEPTH and _is_deep(answer):
        raise wire.Broken(f"its answer is nested more than {_ANSWER_DEPTH} deep")
    return answer


def _is_deep(answer: Any) -> bool:
    """Tell whether data is nested too deep, level by level: whoever goes through it later may do so by recursion."""
    level = [answer]
    for _ in range(_ANSWER_DEPTH + 1):
        level = [part for item in level if isinstance(item, (dict, list)) for part in _parts(item)]
    return bool(level)


def _parts(item: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return item.values() if isinstance(item, dict) else item


def _batch(jobs: Sequence[Job]) -> Sequence[Job]:
    """Return as many of the first jobs as fit into one message; one at least."""
    size = 0
    for count, job in enumerate(jobs):
        size += len(job.get("variables", "")) + sum(map(len, job.get("sources", {}).values()))
        if count and size > _BATCH_SIZE:
            return jobs[:count]
    return jobs


def _poll(descriptor: int, event: int, seconds: float) -> bool:
    poller = select.poll()
    poller.register(descriptor, event)
    return bool(poller.poll(max(1, math.ceil(seconds * 1000))))
