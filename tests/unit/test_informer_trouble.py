"""How an informer waits out trouble; the waits are noted instead of slept."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from typing import Any

import pytest

from virtualservice_operator.core.objects import ClusterObject, Service, VirtualService
from virtualservice_operator.kube.errors import ApiError, ConnectionLost, KubeError, NoAnswer
from virtualservice_operator.kube.informer import Informer, Timing

LOST = ConnectionLost("refused")
MISSING = ApiError(404, "", "404 page not found")
FORBIDDEN = ApiError(403, "Forbidden", "services is forbidden")


class Enough(Exception):  # noqa: N818 - it ends the test
    """The script has come to its end."""


class Server:
    """Answers lists and watches as the script says: an error, or None for a list, or a watch that ends at once."""

    def __init__(self, script: Sequence[KubeError | None]) -> None:
        self._script = list(script)
        self.asked: list[str] = []
        self.was_asked = asyncio.Event()

    def _answer(self, what: str) -> None:
        if not self._script:
            raise Enough
        self.asked.append(what)
        self.was_asked.set()
        if (error := self._script.pop(0)) is not None:
            raise error

    async def request(self, *_: object, **__: object) -> Any:
        self._answer("list")
        return {"items": [], "metadata": {"resourceVersion": "7"}}

    async def watch(
        self, _path: str, _params: Mapping[str, str], *, silence: float, opened: Callable[[], None]
    ) -> AsyncGenerator[Mapping[str, Any], None]:
        assert silence > 60
        self._answer("watch")
        opened()
        nothing: tuple[Mapping[str, Any], ...] = ()
        for event in nothing:
            yield event


class Nowhere:
    """A sink that forgets everything, and takes what it is given but for as many first lists as it `doubts`."""

    def __init__(self, doubts: int = 0) -> None:
        self._doubts = doubts

    def begin_list(self, kind: type[ClusterObject]) -> None: ...

    def replace_all(self, _kind: type[ClusterObject], _items: Iterable[ClusterObject], _version: int) -> bool:
        self._doubts -= 1
        return self._doubts < 0

    def put(self, item: ClusterObject) -> None: ...

    def drop(self, item: ClusterObject) -> None: ...

    def report(self, kind: type[ClusterObject], trouble: KubeError | None) -> None: ...


class Heard:
    """A pulse that remembers."""

    def __init__(self) -> None:
        self.lists: list[tuple[type[ClusterObject], str]] = []
        self.ups: list[tuple[type[ClusterObject], str]] = []

    def listed(self, kind: type[ClusterObject], reason: str) -> None:
        self.lists.append((kind, reason))

    def heard(self, kind: type[ClusterObject]) -> None: ...

    def up(self, kind: type[ClusterObject], *, is_up: bool) -> None:
        self.ups.append((kind, "up" if is_up else "down"))

    def absent(self, kind: type[ClusterObject]) -> None:
        self.ups.append((kind, "absent"))


async def waits(monkeypatch: pytest.MonkeyPatch, script: Sequence[KubeError | None]) -> tuple[list[float], list[str]]:
    """Return how long it waited each time, and what it asked for."""
    noted: list[float] = []

    async def note(_: Informer, asked: float, delay: float) -> None:
        noted.append(max(asked, delay))

    monkeypatch.setattr(Informer, "_pause", note)
    server = Server(script)
    with pytest.raises(Enough):
        await Informer(server, Service, Nowhere(), Timing(first=1, most=30, refused=2)).run()
    return noted, server.asked


async def test_a_server_that_answers_again_is_not_waited_for_as_long_as_one_that_was_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noted, _ = await waits(monkeypatch, [*[LOST] * 8, FORBIDDEN, FORBIDDEN])
    assert all(wait <= 2 for wait in noted[:8])
    assert noted[8] <= 1
    assert noted[9] <= 2


async def test_the_same_trouble_is_waited_out_ever_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    noted, _ = await waits(monkeypatch, [FORBIDDEN] * 8)
    assert [0.5 * 2**number <= wait <= 2**number for number, wait in enumerate(noted[:5])] == [True] * 5
    assert all(15 <= wait <= 30 for wait in noted[5:])


async def test_never_sooner_than_the_server_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = ApiError(429, "TooManyRequests", "later", retry_after=7)
    noted, _ = await waits(monkeypatch, [busy])
    assert noted[0] >= 7


@pytest.mark.parametrize(
    ("trouble", "then"),
    [(NoAnswer("silent"), "list"), (LOST, "watch")],
    ids=["a silent watch is not believed", "a broken one goes on where it was"],
)
async def test_after_a_watch_ended(monkeypatch: pytest.MonkeyPatch, trouble: KubeError, then: str) -> None:
    _, asked = await waits(monkeypatch, [None, trouble, None])
    assert asked == ["list", "watch", then]


async def test_others_who_got_through_end_its_wait() -> None:
    server = Server([FORBIDDEN])
    informer = Informer(server, Service, Nowhere(), Timing(first=3600, most=3600))
    running = asyncio.create_task(informer.run())
    await server.was_asked.wait()
    await asyncio.sleep(0)  # it begins to wait
    informer.hurry()
    with pytest.raises(Enough):
        await asyncio.wait_for(running, 60)


async def test_a_wait_that_the_server_has_asked_for_is_not_ended() -> None:
    busy = ApiError(429, "TooManyRequests", "later", retry_after=3600)
    server = Server([busy])
    informer = Informer(server, Service, Nowhere(), Timing(first=3600, most=3600))
    running = asyncio.create_task(informer.run())
    await server.was_asked.wait()
    await asyncio.sleep(0)  # it begins to wait
    informer.hurry()
    _, pending = await asyncio.wait({running}, timeout=0.2)
    assert pending == {running}
    running.cancel()


async def follow(kind: type[ClusterObject], script: Sequence[KubeError | None]) -> Heard:
    """Return what was heard of lists and watches; nothing is waited for."""
    heard = Heard()
    with pytest.raises(Enough):
        await Informer(Server(script), kind, Nowhere(), Timing(first=0, most=0, refused=0), heard).run()
    return heard


async def test_a_list_after_a_silent_watch_is_counted_as_trouble() -> None:
    heard = await follow(Service, [None, NoAnswer("silent"), None, None, NoAnswer("silent"), None])
    assert [reason for _, reason in heard.lists] == ["start", "trouble", "trouble"]


@pytest.mark.parametrize(
    ("kind", "said"), [(VirtualService, "absent"), (Service, "down")], ids=["Istio's", "a needed one"]
)
async def test_a_kind_that_is_missing_is_down_only_where_it_is_needed(kind: type[ClusterObject], said: str) -> None:
    heard = await follow(kind, [MISSING, MISSING])
    assert heard.ups == [(kind, said)] * 2


async def test_a_list_that_is_not_believed_is_asked_for_again_before_anything_is_watched() -> None:
    server, heard = Server([None, None, LOST]), Heard()
    running = Informer(server, Service, Nowhere(doubts=1), Timing(first=0, most=0, refused=0), heard).run()
    with pytest.raises(Enough):
        await running
    assert server.asked == ["list", "list", "watch"]
    assert [reason for _, reason in heard.lists] == ["start", "held"]
