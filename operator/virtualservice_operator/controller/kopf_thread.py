"""
kopf's watch of RoutingPolicies, in a thread with a loop of its own.

An error, such as a 403, a 404 or an unexpected ERROR event, ends its watch for good; so `kopf.operator()` is ended and begun
anew, and it cancels tasks it did not start. It gets `on.event` only: every other kind of handler writes annotations or
finalizers to what it watches.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

import kopf

from virtualservice_operator.api import names
from virtualservice_operator.kube.connection import Source
from virtualservice_operator.kube.errors import ApiError, ConfigurationError, ConnectionLost, KubeError, printable

logger = logging.getLogger(__name__)

# How kopf names the task that watches a kind, and how often to look for it until it is there.
_WATCH_TASK: Final = "watcher for "
_LOOK_SECONDS: Final = 0.02


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
