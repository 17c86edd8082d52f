"""
RoutingPolicies: kopf's stream, and a list of ours beside it.

The list finds what kopf's stream missed: kopf gives no "list complete" and reports no deletion that happened while its watch
was broken (docs/adr/0001). An error ends kopf's watch for good, so kopf is ended and begun anew: kopf_thread.py.
"""

import asyncio
import logging
import random
from collections.abc import Mapping
from typing import Any, Final

from virtualservice_operator.controller.kopf_thread import KopfThread
from virtualservice_operator.core.objects import ClusterObject, Key, Policy
from virtualservice_operator.kube.client import KubeClient
from virtualservice_operator.kube.connection import Source
from virtualservice_operator.kube.decode import decode_policy
from virtualservice_operator.kube.errors import (
    KubeError,
    NoAnswer,
    asked_wait,
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

    def _start(self) -> KopfThread:
        self._delivered.clear()
        self._overdue.clear()
        self._restarts += 1
        self._proof = asyncio.get_running_loop().call_later(_PROOF_SECONDS, self._take_as_proven)
        return KopfThread(self._source, self._deliver, self._hear_of_end)

    async def _stop(self, thread: KopfThread) -> None:
        """Stop kopf, and put off its next start, longer each time; what it would deliver comes with the list meanwhile."""
        self._doubt()
        await thread.stop()
        wait = min(2.0 ** (self._restarts - 1), _LONGEST_RESTART)
        self._start_due = asyncio.get_running_loop().time() + wait

    def _is_useless(self, thread: KopfThread, listed: Mapping[Key, int] | None) -> bool:
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
