"""
Keeps a store equal to what the API server holds of one kind: list, watch, re-list with a difference.

    list (pages, no resourceVersion) -> watch from there -> the server ends it: go on from the last version
                                                          -> 410, ERROR, resync due: list again
Events may be lost while a watch is broken; the list that follows a 410 finds what vanished (docs/adr/0002).
"""

import asyncio
import random
from collections.abc import Iterable, Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Protocol

from virtualservice_operator.api import names
from virtualservice_operator.core.objects import ClusterObject, Namespace, Policy, Service, VirtualService
from virtualservice_operator.kube.client import KubeClient
from virtualservice_operator.kube.decode import DECODERS
from virtualservice_operator.kube.errors import ApiError, ConnectionLost, KubeError, NoAnswer, asked_wait

PATHS: Final[Mapping[type[ClusterObject], str]] = {
    Service: "/api/v1/services",
    Namespace: "/api/v1/namespaces",
    Policy: f"/apis/{names.API_VERSION}/{names.PLURAL}",
    VirtualService: f"/apis/{names.ISTIO_API_VERSION}/virtualservices",
}
_PAGE: Final = 500
_SILENCE: Final = 75.0
# Before a list that was not believed is asked for again.
SECOND_LOOK_SECONDS: Final = 0.2
# Seconds; a watch that ends sooner is refused by something on the way.
_SHORTEST: Final = 0.5


class Sink(Protocol):
    """Where an informer puts what it sees. All calls come from the event loop."""

    def begin_list(self, kind: type[ClusterObject]) -> None:
        """Hear that a complete list is about to be asked for."""

    def replace_all(self, kind: type[ClusterObject], items: Iterable[ClusterObject], version: int) -> bool:
        """Take a complete list, which was true at `version`. False: it is not believed before a second one says the same."""

    def put(self, item: ClusterObject) -> None:
        """Take an object that was created or changed."""

    def drop(self, item: ClusterObject) -> None:
        """Take the last state of an object that was deleted."""

    def report(self, kind: type[ClusterObject], trouble: KubeError | None) -> None:
        """Hear that lists and watches of a kind fail, or work (again)."""


class Pulse(Protocol):
    """Who hears how lists and watches do."""

    def listed(self, kind: type[ClusterObject], reason: str) -> None:
        """Hear that a kind was listed in full, and why: start, resync, expired, trouble, takeover, held."""

    def heard(self, kind: type[ClusterObject]) -> None:
        """Hear a sign of life: an answer, an event, a bookmark."""

    def up(self, kind: type[ClusterObject], *, is_up: bool) -> None:
        """Hear whether a kind can be listed and watched."""

    def absent(self, kind: type[ClusterObject]) -> None:
        """Hear that a kind is not installed, and need not be."""


class _Unheard:
    """Nobody hears."""

    def listed(self, kind: type[ClusterObject], reason: str) -> None: ...

    def heard(self, kind: type[ClusterObject]) -> None: ...

    def up(self, kind: type[ClusterObject], *, is_up: bool) -> None: ...

    def absent(self, kind: type[ClusterObject]) -> None: ...


UNHEARD: Final = _Unheard()


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds between full lists, and the back-off after trouble: first, most, and most while the port refuses."""

    resync: float = 600.0
    first: float = 0.8
    most: float = 30.0
    refused: float = 2.0


class WatchExpired(KubeError):  # noqa: N818 - it says what happened
    """The server cannot go on from our version."""


async def list_objects(client: KubeClient, kind: type[ClusterObject]) -> tuple[list[ClusterObject], int]:
    """
    Return all objects of a kind, in pages, and the version at which they were true.

    Without resourceVersion, so the answer is never older than what was acknowledged before.
    """
    decode, path = DECODERS[kind], PATHS[kind]
    found: list[ClusterObject] = []
    params = {"limit": str(_PAGE)}
    while True:
        page = await client.request("GET", path, params=params)
        found.extend(decode(raw) for raw in page.get("items") or ())
        token = page["metadata"].get("continue")
        if not token:
            return found, int(page["metadata"]["resourceVersion"])
        params = {"limit": str(_PAGE), "continue": token}


class FreshLists:
    """Lists that somebody waits for: such as begin after they were asked for."""

    def __init__(self) -> None:
        self._asked: list[asyncio.Future[None]] = []

    def __bool__(self) -> bool:
        """Tell whether one is asked for."""
        return bool(self._asked)

    def ask(self) -> asyncio.Future[None]:
        """Return what is done once such a list is in the store."""
        self._asked.append(asyncio.get_running_loop().create_future())
        return self._asked[-1]

    @contextmanager
    def listing(self) -> Iterator[None]:
        """Surround a list: who asked before it began has it now. One that fails serves nobody, but for a missing kind."""
        served, self._asked = self._asked, []
        try:
            yield
        except BaseException as error:
            if not isinstance(error, KubeError) or not is_missing_kind(error):
                self._asked += served
                raise
            _finish(served)
            raise
        _finish(served)


def _finish(futures: list[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)


class Informer:
    """Watches one kind in the whole cluster and feeds a sink. `run` ends only by cancellation."""

    def __init__(
        self, client: KubeClient, kind: type[ClusterObject], sink: Sink, timing: Timing, pulse: Pulse = UNHEARD
    ) -> None:
        self._client = client
        self._kind = kind
        self._sink = sink
        self._timing = timing
        self._pulse = pulse
        self._cause = "start"
        self._version: int | None = None
        self._failures = 0
        self._was_lost = False
        self._hurry = asyncio.Event()
        self._list_due = 0.0
        self._fresh = FreshLists()
        self._round: asyncio.Timeout | None = None

    def list_anew(self) -> asyncio.Future[None]:
        """Break off what goes on and list; the result is done when the list is in the sink, or the kind is missing."""
        if self._round is not None and not self._round.expired():
            self._round.reschedule(asyncio.get_running_loop().time())
        if self._version is not None:
            self._cause = "takeover"
        return self._fresh.ask()

    async def run(self) -> None:
        """List and watch for ever; trouble is reported to the sink and waited out."""
        while True:
            with suppress(TimeoutError):  # by list_anew alone
                async with asyncio.timeout(None) as self._round:
                    await self._go_round()

    async def _go_round(self) -> None:
        try:
            await self._follow()
            self._failures = 0
        except KubeError as error:
            if not isinstance(error, ConnectionLost):
                self._version = None
                self._cause = "expired" if _is_expired(error) else "trouble"
            if _is_expired(error) and not self._failures:
                self._failures = 1  # a list heals it; if not, the next one waits
            else:
                await self._wait_out(error)

    async def _follow(self) -> None:
        """List where needed, then watch until the server ends the watch or the next full list is due."""
        clock = asyncio.get_running_loop().time
        if self._version is None or clock() >= self._list_due or self._fresh:
            await self._list()
        seconds = max(1, int(self._list_due - clock()))
        params = {"resourceVersion": str(self._version), "timeoutSeconds": str(seconds)}
        opened = clock()
        watch = self._client.watch(PATHS[self._kind], params, silence=_SILENCE, opened=self._hear_of_watch)
        async with aclosing(watch) as events:
            async for event in events:
                self._failures = 0
                self._take(event)
        if clock() - opened < _SHORTEST:
            raise ConnectionLost("watches end as soon as they have begun")

    async def _list(self) -> None:
        with self._fresh.listing():
            self._version = await self._list_into_sink()
        self._cause = "resync"
        self._list_due = (
            asyncio.get_running_loop().time() + self._timing.resync * random.uniform(0.8, 1.0)  # noqa: S311 - only spreads load
        )

    async def _list_into_sink(self) -> int:
        """List until the sink takes it, and return the version of that list."""
        while True:
            self._sink.begin_list(self._kind)
            items, version = await list_objects(self._client, self._kind)
            self._pulse.listed(self._kind, self._cause)
            if self._sink.replace_all(self._kind, items, version):
                return version
            self._cause = "held"
            await asyncio.sleep(SECOND_LOOK_SECONDS)

    def _hear_of_watch(self) -> None:
        self._sink.report(self._kind, None)
        self._pulse.up(self._kind, is_up=True)

    def _take(self, event: Mapping[str, Any]) -> None:
        kind, raw = event["type"], event["object"]
        self._pulse.heard(self._kind)
        if kind == "ERROR":
            if raw.get("code") == HTTPStatus.GONE:
                raise WatchExpired(raw.get("message", "expired"))
            raise ApiError(raw.get("code", 0), raw.get("reason", ""), raw.get("message", ""))
        self._version = int(raw["metadata"]["resourceVersion"])
        if kind == "BOOKMARK":
            return
        item = DECODERS[self._kind](raw)
        if kind == "DELETED":
            self._sink.drop(item)
        else:
            self._sink.put(item)

    async def _wait_out(self, error: KubeError) -> None:
        self._sink.report(self._kind, error)
        if is_unneeded(self._kind, error):
            self._pulse.absent(self._kind)
        else:
            self._pulse.up(self._kind, is_up=False)
        is_lost = isinstance(error, ConnectionLost)
        if is_lost is not self._was_lost:
            # It answers again, if only with an error: right after its start a server knows nobody's rights yet.
            self._was_lost, self._failures = is_lost, 0
        if isinstance(error, NoAnswer):
            # Bookmarks come every minute: perhaps the server has never reached our version.
            self._version, self._cause = None, "trouble"
        most = self._timing.refused if is_lost or is_missing_kind(error) else self._timing.most
        delay = min(self._timing.first * 2**self._failures, most)
        self._failures = min(self._failures + 1, 10)
        await self._pause(asked_wait(error) or 0.0, delay * random.uniform(0.5, 1.0))  # noqa: S311 - only spreads load

    async def _pause(self, asked: float, delay: float) -> None:
        """Wait as long as the server asks, and for our own delay unless `hurry` ends it."""
        self._hurry.clear()
        await asyncio.sleep(asked)
        with suppress(TimeoutError):
            async with asyncio.timeout(delay - asked):
                await self._hurry.wait()

    def hurry(self) -> None:
        """End a wait that nobody has asked for: others have got through to the server."""
        self._hurry.set()


def _is_expired(error: KubeError) -> bool:
    return isinstance(error, WatchExpired) or (isinstance(error, ApiError) and error.status == HTTPStatus.GONE)


def is_missing_kind(error: KubeError) -> bool:
    """Tell whether the server does not know a kind: its CRD is not installed. The answer is plain text then."""
    return isinstance(error, ApiError) and error.status == HTTPStatus.NOT_FOUND and not error.reason


def is_unneeded(kind: type[ClusterObject], error: KubeError) -> bool:
    """Tell whether an error says no more than that Istio is not installed, which is no outage of ours."""
    return kind is VirtualService and is_missing_kind(error)
