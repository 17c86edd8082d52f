"""
Writes policies' status and Events: at most once a second per policy, only what is new, also after failures.

A small policy is written as soon as all of its Services are done; one that takes longer shows its progress.
"""

import asyncio
import logging
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any, Final

from virtualservice_operator.api import names
from virtualservice_operator.api.conditions import ServiceState
from virtualservice_operator.controller.events import (
    Notice,
    Told,
    event_document,
    name_of,
    policies_of,
    say_told,
    told_of,
)
from virtualservice_operator.controller.gate import WriteGate
from virtualservice_operator.controller.ledger import Ledger
from virtualservice_operator.controller.queue import KeyQueue
from virtualservice_operator.controller.rendering import NoWorker, Templates
from virtualservice_operator.controller.retries import Retries
from virtualservice_operator.controller.store import Store
from virtualservice_operator.controller.workers import Crew
from virtualservice_operator.core.changes import Change, PlaceholderChange
from virtualservice_operator.core.objects import Key, Policy
from virtualservice_operator.core.ownership import digest
from virtualservice_operator.core.report import Standing, policy_status
from virtualservice_operator.core.resolution import ResolvedPolicy
from virtualservice_operator.core.troubles import find_troubles, known_after, said_troubles
from virtualservice_operator.kube.decode import decode_policy
from virtualservice_operator.kube.errors import RARELY, HeldBack, KubeError, Reaction, asked_wait, judge, must_wait

logger = logging.getLogger(__name__)


class StatusWriter:
    """
    Keeps the status of policies true. `policies` holds those that may have news; `work` writes.

    `keys` is the reconciler's queue: while it is busy, a look at a policy would be premature.
    """

    def __init__(  # noqa: PLR0913 - the parts it works with
        self,
        store: Store,
        gate: WriteGate,
        templates: Templates,
        *,
        keys: KeyQueue,
        policies: KeyQueue,
        interval: float,
    ) -> None:
        self.ledger: Final = Ledger()
        self._client = gate.client
        self._store = store
        self._templates = templates
        self._keys = keys
        self._interval = interval
        self._queue = policies
        self._settled: dict[Key, float] = {}
        self._busy_since: dict[Key, float] = {}
        self._written_at: dict[Key, float] = {}
        self._gate = gate
        self._metrics = gate.metrics
        self._retries = Retries()
        self._complete: set[Key] = set()
        self._troubles: dict[Key, tuple[str, frozenset[str]]] = {}  # with the policy's uid
        self._told: defaultdict[Key, dict[Told, list[str]]] = defaultdict(lambda: defaultdict(list))

    def forget(self) -> None:
        """Begin anew: another replica may have written since."""
        self.ledger.forget_all()
        for known in (self._told, self._troubles, self._settled, self._busy_since, self._written_at):
            known.clear()
        self._retries = Retries()
        self._complete.clear()

    def review(self, *policies: Key) -> None:
        """Mark policies whose status may have changed."""
        for policy in policies:
            self._queue.add(policy)

    def tell(self, change: Change | PlaceholderChange, *, drifted: bool = False) -> None:
        """Note a change that went through; it becomes part of an Event on each policy it was made for."""
        told = told_of(change, drifted=drifted)
        if told is None:
            return
        for policy in policies_of(change):
            if self._store.snapshot.policy(policy) is not None:
                self._told[policy][told].append(name_of(change))
                self.review(policy)

    def crew(self) -> Crew:
        """Return who writes until the queue is closed."""
        return Crew(self._queue, self._handle)

    async def _handle(self, key: Key) -> None:
        try:
            await self._visit(key)
        except Exception:
            # A bug of ours, loud; one policy must not stop the others.
            logger.exception("bug: the status of RoutingPolicy %s cannot be written; please report this", key)
            self._queue.add_after(key, RARELY.first)

    async def _visit(self, key: Key) -> None:
        resolved = self._store.snapshot.policy(key)
        if resolved is None:
            for known in (self._told, self._troubles, self._settled, self._busy_since, self._written_at):
                known.pop(key, None)
            self._retries.forget(key)
            self._metrics.forget_policy(key)
            self._complete.discard(key)
            self.ledger.forget(key)
            return
        if resolved.unchecked:
            await self._check(resolved)
            return
        wait = self._wait(key)
        if wait > 0:
            self._queue.add_after(key, wait)
        elif not resolved.policy.departing:
            await self._write(resolved)

    async def _check(self, resolved: ResolvedPolicy) -> None:
        """See whether a policy's template compiles, also where no Service asks; the verdict brings the policy back."""
        try:
            await self._templates.check(resolved)
        except NoWorker:
            self._queue.add_after(resolved.policy.key, self._interval)

    def _wait(self, key: Key) -> float:
        """
        Return how long to wait before looking at a policy: looking costs time in proportion to its Services.

        While keys are being worked on, progress is shown once a second; when all are done, at once, unless the last
        look at the finished state was less than a second ago.
        """
        now = asyncio.get_running_loop().time()
        if self._keys.is_idle:
            self._busy_since.pop(key, None)
            latest = max(self._settled.get(key, 0.0), self._written_at.get(key, 0.0))
            return latest + self._interval - now
        wait = self._busy_since.setdefault(key, now) + self._interval - now
        if wait <= 0:
            self._busy_since[key] = now
        return wait

    async def _write(self, resolved: ResolvedPolicy) -> None:
        policy = resolved.policy
        standing = self.ledger.standing(self._store.snapshot, resolved, policy.observed_generation)
        if standing.pending and policy.observed_generation == policy.generation and not self._has_failed(standing):
            return  # after a restart, say: what the status says stands until all is known; the last key brings us back
        if not standing.pending:
            self._settled[policy.key] = asyncio.get_running_loop().time()
            self._complete.add(policy.key)
        status = policy_status(standing, policy.conditions, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
        frozen = sum(entry.state is ServiceState.FROZEN for entry in standing.entries.values())
        self._metrics.show_policy(policy.key, status, frozen)
        is_news = digest(status) != policy.status_digest
        if not is_news or await self._apply(policy, status):
            await self._write_events(standing, is_news=is_news)

    def _has_failed(self, standing: Standing) -> bool:
        """Tell whether a policy of which all was known has a Service that failed: that does not wait for others."""
        failed = any(entry.state is ServiceState.FAILED for entry in standing.entries.values())
        return failed and standing.policy.policy.key in self._complete

    async def _apply(self, policy: Policy, status: dict[str, Any]) -> bool:
        """Write a status and tell whether it was; else it is tried again later, ever later."""
        self._written_at[policy.key] = asyncio.get_running_loop().time()
        try:
            with self._gate.request(names.KIND, "update", policy.key):
                answer = await self._client.apply_policy_status(policy.key, policy.uid, status)
        except KubeError as error:
            self._wait_out(policy.key, error)
            return False
        self._retries.forget(policy.key)
        self._store.put_answer(decode_policy(answer))
        return True

    def _wait_out(self, policy: Key, error: KubeError) -> None:
        found = self._retries.add(policy, [(judge(error), asked_wait(error))])
        if found is None:
            return
        delay, verdict = found
        level = logging.DEBUG if isinstance(error, HeldBack) else logging.WARNING
        logger.log(level, "cannot write the status of RoutingPolicy %s: %s", policy, error)
        self._queue.add_after(policy, max(self._interval, delay), firm=must_wait(error))
        self._metrics.queue_retries.labels("policies", verdict.situation).inc()

    # ---- Events

    async def _write_events(self, standing: Standing, *, is_news: bool) -> None:
        """Write what was told since, and what has begun to stand; `is_news`: the status says something new."""
        policy = standing.policy.policy
        told = self._told.pop(policy.key, {})
        notices = [say_told(item, found) for item, found in told.items()]
        notices.extend(self._new_troubles(standing, is_news=is_news))
        for notice in notices:
            try:
                with self._gate.request("Event", "create", policy.key):
                    await self._client.create_event(event_document(policy, notice))
            except KubeError as error:
                if judge(error).reaction is Reaction.DROP:
                    return  # the namespace is being deleted, and the policy with it
                logger.warning("cannot write Event %s on RoutingPolicy %s: %s", notice.reason, policy.key, error)

    def _new_troubles(self, standing: Standing, *, is_news: bool) -> list[Notice]:
        policy, found = standing.policy.policy, find_troubles(standing)
        uid, known = self._troubles.get(policy.key, ("", frozenset[str]()))
        if uid != policy.uid:
            # Seen for the first time: whoever wrote the status that stands has told what it says.
            known = said_troubles(policy.conditions) if is_news else frozenset(found)
        self._troubles[policy.key] = (policy.uid, known_after(found, known, complete=not standing.pending))
        return [Notice(reason, "Warning", message) for reason, message in found.items() if reason not in known]
