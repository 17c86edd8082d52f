"""
When this replica works: while it holds the Lease, and on lists that are newer than that.

    standby: stores warm, no marks --the Lease is ours--> list everything anew, mark it, open the queues
       ^                                                              |       ^
       +------------------------- another leads ----------------------+       |
                                                                      |       |
                                       a renewal is overdue: paused --+-------+
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from virtualservice_operator.controller.metrics import Metrics
from virtualservice_operator.controller.queue import KeyQueue
from virtualservice_operator.controller.store import Store
from virtualservice_operator.core.lease import Term
from virtualservice_operator.kube.lease import Elector

logger = logging.getLogger(__name__)


class Source(Protocol):
    """What feeds the store with a kind, and can be asked to list it anew."""

    def list_anew(self) -> asyncio.Future[None]:
        """List; the result is done when a list that has begun since is in the store."""


class Duty:
    """Opens the queues when it is this replica's turn. `begin` makes what is known of earlier turns forgotten."""

    def __init__(
        self, store: Store, queues: Sequence[KeyQueue], metrics: Metrics, begin: Sequence[Callable[[], None]]
    ) -> None:
        self._store = store
        self._queues = queues
        self._metrics = metrics
        self._begin = begin

    async def work_alone(self) -> None:
        """Begin once every kind was listed, for good: no other process writes."""
        await self._store.wait_synced()
        self._open()

    async def take_turns(self, elector: Elector, sources: Sequence[Source]) -> None:
        """Work while the Lease is ours, until cancelled."""
        prepared: Term | None = None
        self._stand_by()
        while True:
            term = await elector.wait_to_lead()
            if term != prepared:
                await self._prepare(sources)
                prepared = term
            if elector.leads and elector.term == term:  # preparing takes a while
                self._open()
                await elector.wait_while_leading(term)
                self._pause()
            if elector.term != term:
                prepared = None
                self._stand_by()

    async def _prepare(self, sources: Sequence[Source]) -> None:
        """List everything: what the leader before us has written may not have come through the watches yet."""
        await asyncio.gather(*(source.list_anew() for source in sources))
        await self._store.wait_synced()
        for forget in self._begin:
            forget()
        self._pause()
        self._store.touch_all()

    def _open(self) -> None:
        for queue in self._queues:
            queue.open()
        self._metrics.leader.set(1)

    def _pause(self) -> None:
        for queue in self._queues:
            queue.pause()
        self._metrics.leader.set(0)

    def _stand_by(self) -> None:
        """Another replica works: what changes is not marked, as everything is when our turn comes."""
        for queue in self._queues:
            queue.stand_by()
        self._metrics.leader.set(0)
        self._metrics.forget_policies()
