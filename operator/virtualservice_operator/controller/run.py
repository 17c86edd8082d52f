"""
`vso run`: one task group owns everything; the unexpected end of any part ends the process.

    informers, kopf's stream -> store -> queue -> workers -> API server
                                                     +-> ledger -> status writer
    Lease -> elector -> duty: opens and pauses the queues; the client writes only while the elector permits it
"""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

from aiohttp import web

from virtualservice_operator.controller.duty import Duty
from virtualservice_operator.controller.gate import WriteGate
from virtualservice_operator.controller.metrics import Metrics
from virtualservice_operator.controller.outages import LeaseTrouble, Outages
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
from virtualservice_operator.kube.lease import Elector
from virtualservice_operator.settings import Settings

logger = logging.getLogger(__name__)

# What is under way at the end may take so long; then the Lease is left to run out, as a write may still be on its way.
_FINISH_SECONDS: Final = 3.5
_FIRST_LOOK_SECONDS: Final = 2.0
# A webhook that takes its time over one policy's status holds up no other's.
_STATUS_WORKERS: Final = 4
_BEAT_SECONDS: Final = 0.25
# So long the event loop waits at most for a thread that computes, in place of Python's 5 ms: it is what carries events.
_SWITCH_SECONDS: Final = 0.0005


@dataclass(frozen=True, slots=True)
class _Parts:
    """
    What runs: `workers` end by themselves once the queues are closed, all others only when they are cancelled.

    `campaign` renews the Lease, so it goes on until the workers have ended.
    """

    queues: tuple[KeyQueue, ...]
    workers: tuple[asyncio.Task[None], ...]
    others: tuple[asyncio.Task[None], ...]
    campaign: asyncio.Task[None] | None


@dataclass(frozen=True, slots=True)
class _Means:
    """What everything uses. `elector` is None where only one process runs."""

    client: KubeClient
    elector: Elector | None
    outages: Outages
    metrics: Metrics
    tracing: Tracing


async def run_operator(settings: Settings) -> None:
    """
    Run until SIGTERM or SIGINT; what is being worked on is finished first, for a few seconds.

    Errors: `ConfigurationError` where there is no cluster to talk to, or the port is taken.
    """
    sys.setswitchinterval(_SWITCH_SECONDS)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with _means(settings) as means, asyncio.TaskGroup() as group:
        logger.info("watching RoutingPolicies on %s", means.client.server)
        parts = await _start(settings, group, means)
        await stop.wait()
        logger.info("stopping")
        await _finish(parts, means.elector)
    means.tracing.close()


@asynccontextmanager
async def _means(settings: Settings) -> AsyncIterator[_Means]:
    """Open the clients. The elector has one of its own: renewals wait for nobody, and a slow one leaves time for another."""
    metrics, outages, election = Metrics(), Outages(), settings.election
    async with AsyncExitStack() as stack:
        client, elector = KubeClient(settings.source, metrics.observe_request), None
        if election is not None:
            identity, seconds = election.identity, election.timing.deadline * 0.6
            own = KubeClient(settings.source, metrics.observe_request, identity=identity, timeout=seconds)
            trouble = LeaseTrouble(election, outages)
            elector = Elector(await stack.enter_async_context(own), election, trouble.report)
            client = KubeClient(settings.source, metrics.observe_request, identity=identity, permit=elector.writing)
        await stack.enter_async_context(client)
        yield _Means(client, elector, outages, metrics, find_tracing(os.environ))


async def _finish(parts: _Parts, elector: Elector | None) -> None:
    """End the work, then let go of the Lease: the next replica begins as soon as nothing of ours is under way."""
    for queue in parts.queues:
        queue.close()
    for part in parts.others:
        part.cancel()
    _, late = await asyncio.wait(parts.workers, timeout=_FINISH_SECONDS)
    for part in late:
        part.cancel()
    if elector is not None and parts.campaign is not None:
        parts.campaign.cancel()
        await asyncio.wait({parts.campaign})
        if not late:
            await elector.release()


async def _start(settings: Settings, group: asyncio.TaskGroup, means: _Means) -> _Parts:
    client, elector, metrics = means.client, means.elector, means.metrics
    heartbeat, pulse, keys, policies = Heartbeat(), WatchLog(metrics), KeyQueue(), KeyQueue()
    metrics.read_queues({"services": keys, "policies": policies})
    gate = WriteGate(client, metrics, keys, policies, tracing=means.tracing)
    grace = settings.policy_delete_grace
    store = Store(settings.plan, keys.add, policies.add, policy_delete_grace=grace, outages=means.outages)
    templates = Templates(store, metrics, means.tracing)
    status = StatusWriter(store, gate, templates, keys=keys, policies=policies, interval=settings.status_interval)
    reconciler = Reconciler(store, gate, keys, status, templates)
    await _serve(settings, build_app(metrics, heartbeat, lambda: _unready(store, means)))
    await _look_first(elector)
    duty = Duty(store, (keys, policies), metrics, (reconciler.forget, status.forget))
    informers = [Informer(client, kind, store, settings.timing, pulse) for kind in (Namespace, Service, VirtualService)]
    store.recovered = partial(_hurry, gate, informers)
    stream = PolicyStream(client, settings.source, store, settings.policy_list_interval, pulse)
    services, statuses = reconciler.crew(), status.crew()
    workers = [
        *(services.work() for _ in range(settings.workers)),
        *(statuses.work() for _ in range(_STATUS_WORKERS)),
    ]
    others = [
        duty.take_turns(elector, (*informers, stream)) if elector is not None else duty.work_alone(),
        *(informer.run() for informer in informers),
        stream.run(),
        templates.run(client, settings.timing.resync),
        _beat(heartbeat, metrics),
        _resync(store, settings.timing.resync),
    ]
    return _Parts(
        (keys, policies),
        tuple(group.create_task(part) for part in workers),
        tuple(group.create_task(part) for part in others),
        group.create_task(elector.run(store.wait_synced)) if elector is not None else None,
    )


def _hurry(gate: WriteGate, informers: Iterable[Informer]) -> None:
    """Let everybody try again who waits: somebody has got through to the API server."""
    gate.hope()
    for informer in informers:
        informer.hurry()


async def _look_first(elector: Elector | None) -> None:
    """Take the Lease, if it is free, before anything is listed: who lists first has to list again when it leads."""
    if elector is not None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_LOOK_SECONDS):
                await elector.look_once()


def _unready(store: Store, means: _Means) -> list[str]:
    """Return what is missing: what was never seen, and what has not been seen for a while."""
    elector = means.elector
    unseen = ["Lease: waiting for the first look at it"] if elector is not None and not elector.has_looked else []
    return [*store.unsynced, *unseen, *means.outages.lasting]


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
