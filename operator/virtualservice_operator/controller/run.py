"""
`vso run`: one task group owns everything; the unexpected end of any part ends the process.

    informers, kopf's stream -> store -> queue -> workers -> API server
                                                     +-> ledger -> status writer
"""

import asyncio
import logging
import os
import signal
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from virtualservice_operator.controller.gate import WriteGate
from virtualservice_operator.controller.metrics import Metrics
from virtualservice_operator.controller.policy_stream import PolicyStream
from virtualservice_operator.controller.pulse import WatchLog
from virtualservice_operator.controller.queue import KeyQueue
from virtualservice_operator.controller.reconcile import Reconciler
from virtualservice_operator.controller.rendering import Templates
from virtualservice_operator.controller.status import StatusWriter
from virtualservice_operator.controller.store import Store
from virtualservice_operator.controller.telemetry import Heartbeat, build_app
from virtualservice_operator.controller.tracing import Tracing, find_tracing
from virtualservice_operator.core.objects import Namespace, Service, VirtualService
from virtualservice_operator.kube.client import KubeClient
from virtualservice_operator.kube.errors import ConfigurationError
from virtualservice_operator.kube.informer import Informer
from virtualservice_operator.settings import Settings

logger = logging.getLogger(__name__)

_FINISH_SECONDS: Final = 5.0
# A webhook that takes its time over one policy's status holds up no other's.
_STATUS_WORKERS: Final = 4
_BEAT_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True)
class _Parts:
    """What runs: `workers` end by themselves once the queues are closed, `others` only when they are cancelled."""

    queues: tuple[KeyQueue, ...]
    workers: tuple[asyncio.Task[None], ...]
    others: tuple[asyncio.Task[None], ...]


async def run_operator(settings: Settings) -> None:
    """
    Run until SIGTERM or SIGINT; what is being worked on is finished first, for up to five seconds.

    Errors: `ConfigurationError` where there is no cluster to talk to, or the port is taken.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    metrics = Metrics()
    tracing = find_tracing(os.environ)
    async with KubeClient(settings.source, metrics.observe_request) as client, asyncio.TaskGroup() as group:
        logger.info("watching RoutingPolicies on %s", client.server)
        parts = await _start(settings, group, client, metrics, tracing)
        await stop.wait()
        logger.info("stopping")
        for queue in parts.queues:
            queue.close()
        await asyncio.wait(parts.workers, timeout=_FINISH_SECONDS)
        for part in (*parts.workers, *parts.others):
            part.cancel()
    tracing.close()


async def _start(
    settings: Settings, group: asyncio.TaskGroup, client: KubeClient, metrics: Metrics, tracing: Tracing
) -> _Parts:
    heartbeat, pulse, keys, policies = Heartbeat(), WatchLog(metrics), KeyQueue(), KeyQueue()
    metrics.read_queues({"services": keys, "policies": policies})
    gate = WriteGate(client, metrics, keys, policies, tracing=tracing)
    store = Store(settings.plan, keys.add, policies.add, policy_delete_grace=settings.policy_delete_grace)
    templates = Templates(store, metrics)
    status = StatusWriter(store, gate, templates, keys=keys, policies=policies, interval=settings.status_interval)
    reconciler = Reconciler(store, gate, keys, status, templates)
    await _serve(settings, build_app(metrics, heartbeat, lambda: store.unsynced))
    services, statuses = reconciler.crew(), status.crew()
    workers = [
        *(services.work() for _ in range(settings.workers)),
        *(statuses.work() for _ in range(_STATUS_WORKERS)),
    ]
    watched = (Namespace, Service, VirtualService)
    others = [
        *(Informer(client, kind, store, settings.timing, pulse).run() for kind in watched),
        PolicyStream(client, settings.source, store, settings.policy_list_interval, pulse).run(),
        _open_when_synced(store, keys, policies),
        templates.run(client, settings.timing.resync),
        _beat(heartbeat, metrics),
        _resync(store, settings.timing.resync),
    ]
    return _Parts(
        (keys, policies),
        tuple(group.create_task(part) for part in workers),
        tuple(group.create_task(part) for part in others),
    )


async def _open_when_synced(store: Store, *queues: KeyQueue) -> None:
    """Let the workers begin once every kind was listed: nothing may be planned before."""
    await store.wait_synced()
    for queue in queues:
        queue.open()


async def _serve(settings: Settings, app: web.Application) -> None:
    """Open the port for probes and metrics; it closes with the process."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.host, settings.port).start()
    except OSError as error:
        raise ConfigurationError(
            f"port {settings.port} on {settings.host} cannot be used ({error.strerror}); choose another with --port"
        ) from error


async def _beat(heartbeat: Heartbeat, metrics: Metrics) -> None:
    """Say that the loop turns, and measure by how much it is late."""
    clock = asyncio.get_running_loop().time
    while True:
        heartbeat.beat()
        due = clock() + _BEAT_SECONDS
        await asyncio.sleep(_BEAT_SECONDS)
        metrics.loop_lag_seconds.observe(max(0.0, clock() - due))


async def _resync(store: Store, seconds: float) -> None:
    """Look at everything again from time to time: what was lost heals, and orphans are found."""
    await store.wait_synced()
    while True:
        await asyncio.sleep(seconds)
        store.touch_all()
