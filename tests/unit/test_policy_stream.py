"""How kopf is started again and again, with time as a number and no kopf anywhere."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest

from unit.test_queue import in_fake_time
from virtualservice_operator.controller import policy_stream
from virtualservice_operator.controller.policy_stream import PolicyStream
from virtualservice_operator.core.objects import ClusterObject
from virtualservice_operator.kube.client import KubeClient
from virtualservice_operator.kube.connection import Source
from virtualservice_operator.kube.errors import ApiError, KubeError

REFUSED = ApiError(403, "Forbidden", "cannot watch")


class Lists(KubeClient):
    """An API server that lists, whatever it does with watches."""

    async def request(self, *_: object, **__: object) -> Any:
        return {"items": [], "metadata": {"resourceVersion": "7"}}


class Notes:
    """A sink that notes trouble, by its time."""

    def __init__(self) -> None:
        self.troubles: list[tuple[float, KubeError | None]] = []

    def begin_list(self, kind: type[ClusterObject]) -> None: ...

    def replace_all(self, _kind: type[ClusterObject], _items: Iterable[ClusterObject], _version: int) -> bool:
        return True

    def put(self, item: ClusterObject) -> None: ...

    def drop(self, item: ClusterObject) -> None: ...

    def report(self, _kind: type[ClusterObject], trouble: KubeError | None) -> None:
        if not self.troubles or self.troubles[-1][1] is not trouble:
            self.troubles.append((now(), trouble))


class Kopf:
    """A thread that ends by itself after each of its lives, in seconds; the last one never does."""

    lives: list[float]
    starts: list[float]

    def __init__(self, _source: Source, _deliver: object, ended: Callable[[KubeError], None]) -> None:
        self.starts.append(now())
        self.is_alive = True
        self._ended = ended
        if self.lives:
            asyncio.get_running_loop().call_later(self.lives.pop(0), self._end)

    def _end(self) -> None:
        self.is_alive = False
        self._ended(REFUSED)

    async def stop(self) -> None:
        self.is_alive = False


def now() -> float:
    return round(asyncio.get_running_loop().time(), 1)


def follow(
    monkeypatch: pytest.MonkeyPatch, lives: list[float], act: Callable[[PolicyStream], Awaitable[None]]
) -> tuple[list[float], list[tuple[float, KubeError | None]]]:
    """Return when kopf was started, and what was said of the kind when."""
    monkeypatch.setattr(Kopf, "lives", lives, raising=False)
    monkeypatch.setattr(Kopf, "starts", [], raising=False)
    monkeypatch.setattr(policy_stream, "KopfThread", Kopf)
    notes = Notes()

    async def test() -> None:
        stream = PolicyStream(Lists(Source()), Source(), notes, interval=30)
        running = asyncio.create_task(stream.run())
        await act(stream)
        running.cancel()

    in_fake_time(test)
    return Kopf.starts, notes.troubles


async def wait(_: PolicyStream) -> None:
    await asyncio.sleep(70)


def test_a_watch_that_is_refused_is_trouble_and_is_tried_ever_later(monkeypatch: pytest.MonkeyPatch) -> None:
    starts, troubles = follow(monkeypatch, [8.0] * 4, wait)
    assert starts == [0, 9, 19, 31, 47]
    assert troubles == [(0, None), (8, REFUSED), (62, None)]


def test_a_watch_that_has_lived_for_a_while_is_started_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    starts, troubles = follow(monkeypatch, [20.0, 20.0], wait)
    assert starts == [0, 21, 42]
    assert troubles == [(0, None), (20, REFUSED), (36, None), (41, REFUSED), (57, None)]


def test_who_asks_for_a_list_while_kopf_waits_gets_it_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[float] = []

    async def ask(stream: PolicyStream) -> None:
        await asyncio.sleep(40)  # kopf has ended at 39, and is started again at 47
        await stream.list_anew()
        served.append(now())
        await asyncio.sleep(20)

    starts, _ = follow(monkeypatch, [8.0] * 4, ask)
    assert served == [40]
    assert starts == [0, 9, 19, 31, 47]
