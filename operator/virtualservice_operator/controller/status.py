"""
Writes policies' status and Events: at most once a second per policy, only what is new, also after failures.

A small policy is written as soon as all of its Services are done; one that takes longer shows its progress.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from virtualservice_operator.api import names
from virtualservice_operator.api.conditions import ConditionType, Reason, ServiceState
from virtualservice_operator.controller.gate import WriteGate
from virtualservice_operator.controller.ledger import Ledger
from virtualservice_operator.controller.queue import KeyQueue
from virtualservice_operator.controller.rendering import NoWorker, Templates
from virtualservice_operator.controller.retries import Retries
from virtualservice_operator.controller.store import Store
from virtualservice_operator.controller.workers import Crew
from virtualservice_operator.core.changes import Action, Change, PlaceholderChange
from virtualservice_operator.core.objects import Key, Policy
from virtualservice_operator.core.ownership import digest
from virtualservice_operator.core.report import Standing, policy_status
from virtualservice_operator.core.resolution import ResolvedPolicy
from virtualservice_operator.core.wording import list_few
from virtualservice_operator.kube.decode import decode_policy
from virtualservice_operator.kube.errors import RARELY, HeldBack, KubeError, Reaction, asked_wait, judge, must_wait

logger = logging.getLogger(__name__)

_EVENT_MESSAGE_LIMIT: Final = 1000


class _Told(NamedTuple):
    """An Event about objects: `what` of them, `done` to them."""

    reason: str
    type: str
    what: str
    done: str


_DRIFT: Final = _Told("DriftRepaired", "Warning", "VirtualService", "changed or deleted by somebody else and repaired")
_VIRTUAL_SERVICES: Final = {
    Action.CREATE: _Told("VirtualServiceCreated", "Normal", "VirtualService", "created"),
    Action.DELETE: _Told("VirtualServiceDeleted", "Normal", "VirtualService", "deleted"),
}
_PLACEHOLDERS: Final = {
    Action.CREATE: _Told("PlaceholderCreated", "Normal", "placeholder", "created"),
    Action.DELETE: _Told("PlaceholderRemoved", "Normal", "placeholder", "removed"),
    Action.RELEASE: _Told("PlaceholderPromoted", "Normal", "placeholder", "left to whoever has deployed the Service"),
}


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
        self._told: defaultdict[Key, dict[_Told, list[str]]] = defaultdict(lambda: defaultdict(list))

    def forget(self) -> None:
        """Begin anew: another replica may have written since."""
        self.ledger.forget_all()
        for known in (self._told, self._settled, self._busy_since, self._written_at):
            known.clear()
        self._retries = Retries()
        self._complete.clear()

    def review(self, *policies: Key) -> None:
        """Mark policies whose status may have changed."""
        for policy in policies:
            self._queue.add(policy)

    def tell(self, change: Change | PlaceholderChange, *, drifted: bool = False) -> None:
        """Note a change that went through; it becomes part of an Event on each policy it was made for."""
        found = _PLACEHOLDERS if isinstance(change, PlaceholderChange) else _VIRTUAL_SERVICES
        told = _DRIFT if drifted else found.get(change.action)
        if told is None:
            return
        for policy in policies_of(change):
            if self._store.snapshot.policy(policy) is not None:
                self._told[policy][told].append(_name_of(change))
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
            for known in (self._told, self._settled, self._busy_since, self._written_at):
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
        if digest(status) == policy.status_digest or await self._apply(policy, status):
            await self._write_events(policy, status)

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

    async def _write_events(self, policy: Policy, status: dict[str, Any]) -> None:
        told = self._told.pop(policy.key, {})
        events = [
            (
                item.reason,
                item.type,
                f"{len(found)} {item.what}{'s' if len(found) > 1 else ''} {item.done}: {list_few(found)}",
            )
            for item, found in told.items()
        ]
        events.extend(_transitions(policy, status))
        for reason, kind, message in events:
            try:
                with self._gate.request("Event", "create", policy.key):
                    await self._client.create_event(_event(policy, reason, kind, message))
            except KubeError as error:
                if judge(error).reaction is Reaction.DROP:
                    return  # the namespace is being deleted, and the policy with it
                logger.warning("cannot write Event %s on RoutingPolicy %s: %s", reason, policy.key, error)


def policies_of(change: Change | PlaceholderChange) -> Sequence[Key]:
    """Return the policies on whose behalf a change is made."""
    if isinstance(change, PlaceholderChange):
        return change.policies
    if change.document is not None:
        annotation = change.document["metadata"]["annotations"][names.POLICIES_ANNOTATION]
    else:
        annotation = (change.observed.policies if change.observed is not None else None) or ""
    return [Key(change.target.namespace, name) for name in annotation.split(",") if name]


def _name_of(change: Change | PlaceholderChange) -> str:
    """Return the object's name; placeholders are in other namespaces than the policy."""
    return str(change.target) if isinstance(change, PlaceholderChange) else change.target.name


def _transitions(policy: Policy, status: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return the Events of conditions that turned bad with this status."""
    before = {item.get("type"): item for item in policy.conditions}
    found = []
    for condition in status["conditions"]:
        kind, reason = condition["type"], condition["reason"]
        known = before.get(kind, {})
        if (known.get("status"), known.get("reason")) == (condition["status"], reason):
            continue
        if kind == ConditionType.ACCEPTED and reason == Reason.INVALID_TEMPLATE:
            found.append(("TemplateInvalid", "Warning", condition["message"][:_EVENT_MESSAGE_LIMIT]))
        if kind == ConditionType.RESOLVED_REFS and reason == Reason.REF_NOT_PERMITTED:
            found.append(("ConsentMissing", "Warning", condition["message"][:_EVENT_MESSAGE_LIMIT]))
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
