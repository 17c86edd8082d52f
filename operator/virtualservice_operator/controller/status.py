"""
Writes policies' status and Events: at most once a second per policy, only what is new, also after failures.

A small policy is written as soon as all of its Services are done; one that takes longer shows its progress.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from virtualservice_operator.api import names
from virtualservice_operator.api.conditions import ConditionType, Reason
from virtualservice_operator.controller.ledger import Ledger
from virtualservice_operator.controller.queue import KeyQueue
from virtualservice_operator.controller.store import Store
from virtualservice_operator.core.objects import Key, Policy
from virtualservice_operator.core.ownership import digest
from virtualservice_operator.core.plan import Action, Change
from virtualservice_operator.core.report import policy_status
from virtualservice_operator.core.resolution import ResolvedPolicy
from virtualservice_operator.kube.client import KubeClient
from virtualservice_operator.kube.decode import decode_policy
from virtualservice_operator.kube.errors import BACKOFFS, KubeError, classify

logger = logging.getLogger(__name__)

_SHOWN: Final = 3
_EVENT_MESSAGE_LIMIT: Final = 1000
_DRIFT: Final = ("DriftRepaired", "Warning", "changed by somebody else and repaired")
_DONE: Final = {
    Action.CREATE: ("VirtualServiceCreated", "Normal", "created"),
    Action.DELETE: ("VirtualServiceDeleted", "Normal", "deleted"),
}


class StatusWriter:
    """
    Keeps the status of policies true. `policies` holds those that may have news; `work` writes.

    `keys` is the reconciler's queue: while it is busy, a look at a policy would be premature.
    """

    def __init__(
        self, client: KubeClient, store: Store, *, keys: KeyQueue, policies: KeyQueue, interval: float
    ) -> None:
        self.ledger: Final = Ledger()
        self._client = client
        self._store = store
        self._keys = keys
        self._interval = interval
        self._queue = policies
        self._settled: dict[Key, float] = {}
        self._busy_since: dict[Key, float] = {}
        self._told: defaultdict[Key, dict[tuple[str, str, str], list[str]]] = defaultdict(lambda: defaultdict(list))

    def review(self, *policies: Key) -> None:
        """Mark policies whose status may have changed."""
        for policy in policies:
            self._queue.add(policy)

    def tell(self, change: Change, *, drifted: bool) -> None:
        """Note a change that went through; it becomes part of an Event on each policy it was made for."""
        said = _DRIFT if drifted else _DONE.get(change.action)
        for name in _policies_of(change) if said is not None else ():
            policy = Key(change.target.namespace, name)
            if said is not None and self._store.snapshot.policy(policy) is not None:
                self._told[policy][said].append(change.target.name)
                self.review(policy)

    async def work(self) -> None:
        """Write until the queue is closed."""
        while (key := await self._queue.get()) is not None:
            try:
                await self._visit(key)
            finally:
                self._queue.done(key)

    async def _visit(self, key: Key) -> None:
        resolved = self._store.snapshot.policy(key)
        if resolved is None:
            for known in (self._told, self._settled, self._busy_since):
                known.pop(key, None)
            self.ledger.forget(key)
            return
        wait = self._wait(key)
        if wait > 0:
            self._queue.add_after(key, wait)
        elif not resolved.policy.departing:
            await self._write(resolved)

    def _wait(self, key: Key) -> float:
        """
        Return how long to wait before looking at a policy: looking costs time in proportion to its Services.

        While keys are being worked on, progress is shown once a second; when all are done, at once, unless the last
        look at the finished state was less than a second ago.
        """
        now = asyncio.get_running_loop().time()
        if self._keys.is_idle:
            self._busy_since.pop(key, None)
            return self._settled.get(key, 0.0) + self._interval - now
        wait = self._busy_since.setdefault(key, now) + self._interval - now
        if wait <= 0:
            self._busy_since[key] = now
        return wait

    async def _write(self, resolved: ResolvedPolicy) -> None:
        policy = resolved.policy
        standing = self.ledger.standing(self._store.snapshot, resolved, policy.observed_generation)
        if standing.pending and policy.observed_generation == policy.generation:
            return  # after a restart, say: what the status says stands until all is known; the last key brings us back
        if not standing.pending:
            self._settled[policy.key] = asyncio.get_running_loop().time()
        status = policy_status(standing, policy.conditions, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
        if digest(status) != policy.status_digest:
            await self._apply(policy, status)
        await self._write_events(policy, status)

    async def _apply(self, policy: Policy, status: dict[str, Any]) -> None:
        try:
            answer = await self._client.apply_policy_status(policy.key, policy.uid, status)
        except KubeError as error:
            backoff = BACKOFFS.get(classify(error))
            if backoff is not None:
                logger.warning("cannot write the status of RoutingPolicy %s: %s", policy.key, error)
                self._queue.add_after(policy.key, max(self._interval, backoff.first))
        else:
            self._store.put(decode_policy(answer))

    # ---- Events

    async def _write_events(self, policy: Policy, status: dict[str, Any]) -> None:
        told = self._told.pop(policy.key, {})
        events = [
            (reason, kind, f"{len(found)} VirtualService{'s' if len(found) > 1 else ''} {verb}: {_list(found)}")
            for (reason, kind, verb), found in told.items()
        ]
        events.extend(_transitions(policy, status))
        for reason, kind, message in events:
            try:
                await self._client.create_event(_event(policy, reason, kind, message))
            except KubeError as error:
                logger.warning("cannot write Event %s on RoutingPolicy %s: %s", reason, policy.key, error)


def _policies_of(change: Change) -> list[str]:
    if change.document is not None:
        annotation = change.document["metadata"]["annotations"][names.POLICIES_ANNOTATION]
    else:
        annotation = (change.observed.policies if change.observed is not None else None) or ""
    return [name for name in annotation.split(",") if name]


def _list(found: Sequence[str]) -> str:
    more = len(found) - _SHOWN
    return ", ".join(found[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _transitions(policy: Policy, status: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return the Events of conditions that turned bad with this status."""
    before = {item.get("type"): item for item in policy.conditions}
    found = []
    for condition in status["conditions"]:
        kind, reason = condition["type"], condition["reason"]
        known = before.get(kind, {})
        if (known.get("status"), known.get("reason")) == (condition["status"], reason):
            continue
        conflicted = kind == ConditionType.CONFLICTED
        taken = kind == ConditionType.PROGRAMMED and reason in (Reason.NAME_CONFLICT, Reason.ADMISSION_REJECTED)
        if conflicted or taken:
            found.append((reason, "Warning", condition["message"][:_EVENT_MESSAGE_LIMIT]))
    return found


def _event(policy: Policy, reason: str, kind: str, message: str) -> dict[str, Any]:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{policy.key.name}.", "namespace": policy.key.namespace},
        "involvedObject": {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "name": policy.key.name,
            "namespace": policy.key.namespace,
            "uid": policy.uid,
        },
        "reason": reason,
        "message": message,
        "type": kind,
        "source": {"component": names.OPERATOR},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
