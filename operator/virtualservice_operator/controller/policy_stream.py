"""
RoutingPolicies: kopf's stream, and a list of ours beside it.

kopf runs in a thread with a loop of its own, because an error, such as a 403, a 404 or an unexpected ERROR event, ends its
watch for good; so `kopf.operator()` is ended and begun anew, and it cancels tasks it did not start. It gets `on.event` only:
every other kind of handler writes annotations or finalizers to what it watches. The list finds what kopf's stream missed:
kopf gives no "list complete" and reports no deletion that happened while its watch was broken (docs/adr/0001).
"""

import asyncio
import logging
import random
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

import kopf

from virtualservice_operator.api import names
from virtualservice_operator.core.objects import ClusterObject, Key, Policy
from virtualservice_operator.kube.client import KubeClient
from virtualservice_operator.kube.connection import Source
from virtualservice_operator.kube.decode import decode_policy
from virtualservice_operator.kube.errors import (
    ApiError,
    ConfigurationError,
    ConnectionLost,
    KubeError,
    NoAnswer,
    asked_wait,
    printable,
)
from virtualservice_operator.kube.informer import (
    SECOND_LOOK_SECONDS,
    UNHEARD,
    FreshLists,
    Pulse,
    Sink,
    is_missing_kind,
    list_objects,
)

logger = logging.getLogger(__name__)

_RESTART_SECONDS: Final = 2.0
_DELIVERY_SECONDS: Final = 10.0
_DELETION_SECONDS: Final = 1.0
_LONGEST_RESTART: Final = 30.0
# How kopf names the task that watches a kind, and how often to look for it until it is there.
_WATCH_TASK: Final = "watcher for "
_LOOK_SECONDS: Final = 0.02
# Where a watch is refused, kopf tries again for 7.5 s, and then ends.
_PROOF_SECONDS: Final = 15.0


class PolicyStream:
    """Feeds a sink with RoutingPolicies. `run` ends only by cancellation, and takes kopf's thread with it."""

    def __init__(self, client: KubeClient, source: Source, sink: Sink, interval: float, pulse: Pulse = UNHEARD) -> None:
        self._client = client
        self._source = source
        self._sink = sink
        self._interval = interval
        self._pulse = pulse
        self._delivered: dict[Key, int] = {}
        self._overdue: dict[Key, float] = {}
        self._list_now = asyncio.Event()
        self._fresh = FreshLists()
        self._restarts = 0
        self._start_due = 0.0
        self._proof: asyncio.TimerHandle | None = None
        self._trouble: KubeError | None = None
        self._is_listed = False
        self._is_missing = False
        self._is_distrusted = False
        client.distrusted = self._hear_of_distrust

    def list_anew(self) -> asyncio.Future[None]:
        """List now; the result is done when a list that has begun since is in the sink."""
        self._list_now.set()
        return self._fresh.ask()

    async def run(self) -> None:
        """List for ever; keep kopf watching while the kind is installed."""
        thread: KopfThread | None = None
        clock = asyncio.get_running_loop().time
        try:
            while True:
                listed = await self._list()
                if thread is not None and self._is_useless(thread, listed):
                    await self._stop(thread)
                    thread = None
                if listed is not None and thread is None and clock() >= self._start_due:
                    thread = self._start()
                if listed is None:
                    await self._pause(_RESTART_SECONDS)
                elif not self._fresh:  # else somebody has asked while this list was under way
                    seconds = self._interval * random.uniform(0.8, 1.0)  # noqa: S311 - only spreads load
                    await self._pause(seconds if thread is not None else min(seconds, self._start_due - clock()))
        finally:
            if thread is not None:
                await thread.stop()

    def _start(self) -> "KopfThread":
        self._delivered.clear()
        self._overdue.clear()
        self._restarts += 1
        self._proof = asyncio.get_running_loop().call_later(_PROOF_SECONDS, self._take_as_proven)
        return KopfThread(self._source, self._deliver, self._hear_of_end)

    async def _stop(self, thread: "KopfThread") -> None:
        """Stop kopf, and put off its next start, longer each time; what it would deliver comes with the list meanwhile."""
        self._doubt()
        await thread.stop()
        wait = min(2.0 ** (self._restarts - 1), _LONGEST_RESTART)
        self._start_due = asyncio.get_running_loop().time() + wait

    def _is_useless(self, thread: "KopfThread", listed: Mapping[Key, int] | None) -> bool:
        """
        Tell whether kopf has to be started anew.

        Where the kind is gone, it lives on without a watch; where the server has a new authority, it tries for ever
        with the old one.
        """
        if self._is_distrusted:
            self._is_distrusted = False
            return True
        if listed is None:
            return self._is_missing
        return not thread.is_alive or self._is_overdue(listed)

    def _hear_of_distrust(self) -> None:
        self._is_distrusted = True
        self._list_now.set()

    # ---- how kopf's watch does, beside our list

    def _hear_of_end(self, error: KubeError) -> None:
        """Hear that kopf has ended by itself."""
        self._doubt()
        self._report_trouble(error)
        self._list_now.set()

    def _take_as_proven(self) -> None:
        """Take it that kopf watches: it has lived for longer than it tries again where its watch is refused."""
        self._restarts = 1
        self._trouble = None
        self._report_watch()

    def _doubt(self) -> None:
        if self._proof is not None:
            self._proof.cancel()

    def _report_trouble(self, trouble: KubeError) -> None:
        self._trouble = trouble
        self._report_watch()

    def _report_watch(self) -> None:
        """Say how the watch does, unless there is worse to say of the list."""
        if self._is_listed:
            self._sink.report(Policy, self._trouble)
            self._pulse.up(Policy, is_up=self._trouble is None)

    async def _list(self) -> dict[Key, int] | None:
        try:
            with self._fresh.listing():
                items = await self._list_into_sink()
        except KubeError as error:
            self._is_listed = False
            self._is_missing = is_missing_kind(error)
            if self._is_missing:
                self._trouble = None  # kopf was right, and is started anew when the kind is back
            self._sink.report(Policy, error)
            self._pulse.up(Policy, is_up=False)
            await asyncio.sleep(asked_wait(error) or 0.0)
            return None
        return {item.key: item.version for item in items}

    async def _list_into_sink(self) -> list[ClusterObject]:
        """List until the sink takes it."""
        cause = "poll"
        while True:
            self._sink.begin_list(Policy)
            items, version = await list_objects(self._client, Policy)
            self._pulse.listed(Policy, cause)
            self._is_listed = True
            self._report_watch()
            if self._sink.replace_all(Policy, items, version):
                return items
            cause = "held"
            await asyncio.sleep(SECOND_LOOK_SECONDS)

    def _is_overdue(self, listed: Mapping[Key, int]) -> bool:
        """Tell whether the list knows something that kopf has not delivered for ten seconds."""
        now = asyncio.get_running_loop().time()
        missing = [key for key, version in listed.items() if self._delivered.get(key, 0) < version]
        self._overdue = {key: self._overdue.get(key, now) for key in missing}
        overdue = any(now - since > _DELIVERY_SECONDS for since in self._overdue.values())
        if overdue:
            logger.warning("kopf has not delivered a RoutingPolicy that the list shows; its watch is started anew")
            self._report_trouble(NoAnswer("the watch has not shown what a list has"))
        return overdue

    def _deliver(self, kind: str | None, raw: Mapping[str, Any]) -> None:
        """Take one event of kopf's, in our loop."""
        item = decode_policy(raw)
        self._pulse.heard(Policy)
        self._delivered[item.key] = item.version
        if kind == "DELETED":
            self._sink.drop(item)
            # Perhaps the whole kind goes: then kopf's watch is over, and only a list can tell.
            asyncio.get_running_loop().call_later(_DELETION_SECONDS, self._list_now.set)
        else:
            self._sink.put(item)

    async def _pause(self, seconds: float) -> None:
        self._list_now.clear()
        try:
            await asyncio.wait_for(self._list_now.wait(), seconds)
        except TimeoutError:
            return


class KopfThread:
    """kopf watching our kind in a thread. `ended` is told in our loop why it ended by itself."""

    def __init__(
        self,
        source: Source,
        deliver: Callable[[str | None, Mapping[str, Any]], None],
        ended: Callable[[KubeError], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()
        self._is_asked = False
        self._source = source
        self._deliver = deliver
        self._ended = ended
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Tell whether kopf still runs."""
        return self._thread.is_alive()

    async def stop(self) -> None:
        """Ask kopf to stop and wait for its thread, up to seven seconds."""
        self._is_asked = True
        self._stop.set()
        await asyncio.to_thread(self._thread.join, 7)

    def _run(self) -> None:
        trouble: KubeError = ConnectionLost("the watch has ended")
        try:
            asyncio.run(self._watch())
        except Exception as error:  # noqa: BLE001 - whatever ends kopf, it is started anew
            trouble = _translate(error)
            logger.warning("kopf ended (%s); it is started anew", trouble)
        if not self._is_asked:
            self._loop.call_soon_threadsafe(self._ended, trouble)

    async def _watch(self) -> None:
        guard = asyncio.create_task(self._stop_without_watch())
        try:
            await kopf.operator(
                registry=self._registry(),
                settings=_settings(),
                clusterwide=True,
                standalone=True,
                # Else it asks for the name of who runs us, and a Pod's user has none. The type is kopf's own secret.
                identity=names.OPERATOR,  # type: ignore[arg-type]
                stop_flag=self._stop,
            )
        finally:
            guard.cancel()

    async def _stop_without_watch(self) -> None:
        """End kopf when its watch has failed: it would live on without one, and says why only at its end."""
        watches: set[asyncio.Task[Any]] = set()
        while not watches:  # kopf tells nobody when it begins
            await asyncio.sleep(_LOOK_SECONDS)
            watches = {task for task in asyncio.all_tasks() if task.get_name().startswith(_WATCH_TASK)}
        await asyncio.wait(watches)
        self._stop.set()

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        @kopf.on.login(registry=registry)
        async def login(**_: Any) -> kopf.ConnectionInfo:
            return await _login(self._source)

        @kopf.on.event(names.GROUP, names.VERSION, names.PLURAL, registry=registry)
        def hand_over(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 - kopf's name
            self._loop.call_soon_threadsafe(self._deliver, type, dict(body))

        return registry


def _translate(error: Exception) -> KubeError:
    """Return what ended kopf as an error of ours: an answer of the API server, which kopf's own classes hold, or a failure."""
    status = getattr(error, "status", None)
    message = printable(getattr(error, "message", None) or str(error))
    if not isinstance(status, int):
        return ConnectionLost(message)
    return ApiError(status, "Forbidden" if status == HTTPStatus.FORBIDDEN else "", message)


async def _login(source: Source) -> kopf.ConnectionInfo:
    """Return the same connection as everything else uses; without this kopf would look for one itself."""
    try:
        connection = await source.load()
    except ConfigurationError as error:
        raise kopf.LoginError(str(error)) from error
    scheme, _, token = (connection.token or "").partition(" ")
    certificate, key = connection.certificate or (None, None)
    return kopf.ConnectionInfo(
        server=connection.server,
        ca_path=connection.ca_file,
        insecure=not connection.verify,
        scheme=scheme or None,
        token=token or None,
        certificate_path=certificate,
        private_key_path=key,
    )


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False  # Events are ours, on transitions only
    settings.persistence.finalizer = f"{names.GROUP}/kopf"  # never set; kopf strips the default one where it sees it
    settings.scanning.disabled = True  # our list has seen the kind; scanning needs rights on CRDs
    settings.peering.standalone = True
    settings.watching.chunk_size = 500
    settings.watching.connect_timeout = 10
    settings.watching.server_timeout = 600
    settings.watching.inactivity_timeout = 75
    settings.queueing.idle_timeout = 0.1
    settings.queueing.batch_window = 0.05
    settings.process.ultimate_exiting_timeout = None
    settings.networking.error_backoffs = [0.5, 1, 2, 4]
    return settings
