"""
One key: plan, act, record. The whole operator on one screen.

    queue -> plan_service -> changes, each carried out -> ledger -> status writer
                                   |
                                   +-> trouble: back into the queue, later
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from virtualservice_operator.api.conditions import Reason, ServiceState
from virtualservice_operator.controller.act import Outcome, carry_out, failed
from virtualservice_operator.controller.drift import RepairLog
from virtualservice_operator.controller.dry_run import DryRuns
from virtualservice_operator.controller.gate import WriteGate
from virtualservice_operator.controller.ledger import Edition, Ledger, editions_of
from virtualservice_operator.controller.queue import KeyQueue
from virtualservice_operator.controller.rendering import NoWorker, Templates
from virtualservice_operator.controller.retries import Retries
from virtualservice_operator.controller.status import StatusWriter
from virtualservice_operator.controller.store import Store
from virtualservice_operator.controller.summary import (
    action_without_write,
    describe,
    entries_of,
    log_fields,
    result_of,
)
from virtualservice_operator.controller.tracing import Span
from virtualservice_operator.controller.workers import Crew
from virtualservice_operator.core.changes import Action, Change, Entry, PlaceholderChange, ServicePlan
from virtualservice_operator.core.objects import Finding, Key
from virtualservice_operator.core.plan import plan_service
from virtualservice_operator.kube.errors import RARELY, ApiError, judge

logger = logging.getLogger(__name__)

_DONE: Final = {
    Action.CREATE: "created",
    Action.UPDATE: "updated",
    Action.DELETE: "deleted",
    Action.RELEASE: "deleted",
}
# Seconds until a template is rendered again that was stopped, or for which there was no worker.
_RENDER_AGAIN: Final = 1.0
# So often a plan may be overtaken by what others write before the status says that it does not get through.
_OPEN_TRIES: Final = 5
_NO_KIND: Final = ApiError(404, "", "404 page not found")
# As long as the informer knows that Istio is absent, a try would tell nothing: its list brings the keys back.
_NOT_INSTALLED: Final = replace(judge(_NO_KIND), backoff=None)
_FIGHT: Final = judge(ApiError(409, "Conflict", "somebody else writes it too"))


class Reconciler:
    """Works on keys of the queue, any number at a time, each key by one worker."""

    def __init__(
        self, store: Store, gate: WriteGate, queue: KeyQueue, status: StatusWriter, templates: Templates
    ) -> None:
        self._store = store
        self._queue = queue
        self._status = status
        self._gate = gate
        self._templates = templates
        self._dry_runs = DryRuns(gate)
        self._metrics = gate.metrics
        self._tracing = gate.tracing
        self._ledger: Final[Ledger] = status.ledger
        self._retries = Retries()
        self._written: dict[Key, str] = {}
        self._repairs = RepairLog()

    def forget(self) -> None:
        """Begin anew: another replica may have written since."""
        self._retries = Retries()
        self._written.clear()
        self._repairs = RepairLog()

    def crew(self) -> Crew:
        """Return who reconciles keys until the queue is closed."""
        return Crew(self._queue, self._handle)

    async def _handle(self, key: Key) -> None:
        try:
            await self.reconcile(key)
        except Exception:
            # A bug of ours, loud; one Service must not stop the others.
            logger.exception("bug: Service %s cannot be reconciled; please report this", key)
            self._queue.add_after(key, RARELY.first)
            self._record_bug(key)

    async def reconcile(self, key: Key) -> None:
        """Bring one Service's VirtualService to what all policies together want, and tell the policies."""
        with self._tracing.span("reconcile") as span:
            span.say("k8s.namespace.name", key.namespace)
            span.say("virtualservice_operator.service", key.name)
            await self._reconcile(key, span)

    async def _reconcile(self, key: Key, span: Span) -> None:
        started = time.monotonic()
        plan, editions = await self._plan(key)
        if plan.waiting or plan.needs or await self._is_refused(plan):
            return
        outcomes = await self._carry_out_all(plan.changes)
        if self._retries.tries(key) >= _OPEN_TRIES or not any(outcome.is_open for outcome in outcomes):
            self._status.review(*self._ledger.record(key, entries_of(plan, outcomes), editions))
        self._retry(key, outcomes)
        if plan.due is not None:
            self._queue.add_after(key, max(0.0, plan.due - time.time()))
        self._count(plan, outcomes, time.monotonic() - started)
        if span.is_recording:
            describe(span, plan, outcomes)

    async def _plan(self, key: Key) -> tuple[ServicePlan, dict[Key, Edition]]:
        """
        Return the plan, with what it needs rendered first, and the editions of the policies it was made from.

        Where nothing can be rendered, the key comes back later.
        """
        held = self._templates.held()
        while True:
            snapshot = self._store.snapshot
            plan = plan_service(snapshot, key, time.time(), held)
            if not plan.needs:
                if held.was_killed:  # once is chance, three times is the template
                    self._queue.add_after(key, _RENDER_AGAIN)
                return plan, editions_of(snapshot, key.namespace)
            try:
                await self._templates.provide(plan.needs, held)
            except NoWorker:
                self._queue.add_after(key, _RENDER_AGAIN)
                return plan, {}

    async def _is_refused(self, plan: ServicePlan) -> bool:
        """Tell whether the API server would refuse what a template leads to; then the policy is not accepted any more."""
        policy = self._store.snapshot.policy(plan.templated) if plan.templated is not None else None
        changes = [change for change in plan.changes if isinstance(change, Change) and change.target.name in _own(plan)]
        if policy is None or not changes or not self._store.is_istio_installed:
            return False
        if not self._dry_runs.is_due(policy, changes[0]):
            return False
        refusal = await self._dry_runs.refusal(policy, changes[0])
        if refusal is None:
            return False
        self._templates.refuse(policy, refusal)
        self._queue.add(plan.key)
        return True

    def _record_bug(self, key: Key) -> None:
        """Say so in the status; where the bug is in the policies themselves, the log has to do."""
        self._metrics.reconciliation_seconds.labels(key.namespace, "error").observe(0)
        entry = Entry(
            key.name, ServiceState.FAILED, Reason.APPLY_FAILED, "the operator has a bug here; its log says more"
        )
        with contextlib.suppress(Exception):
            editions = editions_of(self._store.snapshot, key.namespace)
            entries = {policy.name: entry for policy in editions}
            self._status.review(*self._ledger.record(key, entries, editions))

    async def _carry_out_all(self, changes: Sequence[Change | PlaceholderChange]) -> list[Outcome]:
        """Carry out each; a placeholder goes only once the VirtualService leads there no more."""
        outcomes: list[Outcome] = []
        for change in changes:
            if isinstance(change, Change):
                outcomes.append(await self._carry_out(change))
            elif change.action is not Action.DELETE or all(outcome.reaction is None for outcome in outcomes):
                outcomes.append(await self._carry_out_placeholder(change))
        return outcomes

    async def _carry_out_placeholder(self, change: PlaceholderChange) -> Outcome:
        outcome = await carry_out(self._gate, self._store, change)
        if outcome.verdict is not None:
            self._log_trouble(outcome)
        else:
            done = _DONE[change.action]
            logger.info("%s placeholder %s: %s", done, change.target, change.why, extra=log_fields(change, done))
            self._status.tell(change)
        return outcome

    async def _carry_out(self, change: Change) -> Outcome:
        if not self._store.is_istio_installed:
            return Outcome(change, _NOT_INSTALLED, failed(change, _NO_KIND).finding)
        drifted = self._is_drift(change)
        if drifted and (wait := self._repairs.wait(change.target, time.monotonic())):
            return Outcome(change, _FIGHT, _fight(change), retry_after=wait, firm=True)
        outcome = await carry_out(self._gate, self._store, change)
        if outcome.verdict is not None:
            self._log_trouble(outcome)
            return outcome
        if change.document is not None:
            self._written[change.target] = _fingerprint(change)
        else:
            self._written.pop(change.target, None)
        if drifted:
            self._repairs.add(change.target, time.monotonic())
        done, hand = _DONE[change.action], " by hand" if drifted else ""
        fields = log_fields(change, done)
        logger.info("%s VirtualService %s: %s%s", done, change.target, change.why, hand, extra=fields)
        self._status.tell(change, drifted=drifted)
        return outcome

    def _is_drift(self, change: Change) -> bool:
        """Tell whether somebody changed or deleted what we wrote: we want the same as then, and it is not there."""
        written = self._written.get(change.target)
        if written is None or written != _fingerprint(change):
            return False
        return change.observed.marked if change.observed is not None else change.action is Action.CREATE

    def _retry(self, key: Key, outcomes: Sequence[Outcome]) -> None:
        """Bring the key back after trouble, later each time; a key without trouble starts anew."""
        troubles = [(outcome.verdict, outcome.retry_after) for outcome in outcomes if outcome.verdict is not None]
        found = self._retries.add(key, troubles)
        if found is not None:
            delay, verdict = found
            is_firm = all(outcome.firm for outcome in outcomes if outcome.verdict is not None)
            self._queue.add_again(key, delay, firm=is_firm)
            self._metrics.queue_retries.labels("services", verdict.situation).inc()

    def _log_trouble(self, outcome: Outcome) -> None:
        if outcome.finding is not None:
            # Why others are held back was said when that began.
            level = logging.DEBUG if outcome.held else logging.WARNING
            logger.log(level, "%s", outcome.finding.message, extra=log_fields(outcome.change, "failed"))

    def _count(self, plan: ServicePlan, outcomes: Sequence[Outcome], seconds: float) -> None:
        namespace = plan.key.namespace
        actions = [
            _DONE[outcome.change.action]
            for outcome in outcomes
            if outcome.reaction is None and isinstance(outcome.change, Change)
        ]
        for action in actions or [action_without_write(plan, outcomes)]:
            self._metrics.services_processed.labels(namespace, action).inc()
        created = actions.count("created")
        if created:
            self._metrics.virtual_services_created.labels(namespace).inc(created)
        if any(outcome.verdict is None for outcome in outcomes):
            latency = asyncio.get_running_loop().time() - self._queue.marked_at(plan.key)
            self._metrics.event_to_write_seconds.observe(latency)
        result = result_of(outcomes)
        self._metrics.reconciliation_seconds.labels(namespace, result).observe(seconds)


def _own(plan: ServicePlan) -> tuple[str, ...]:
    """Return the name of the VirtualService that is wanted."""
    return (plan.wanted["metadata"]["name"],) if plan.wanted is not None else ()


def _fingerprint(change: Change) -> str:
    """Return what stands for the whole wanted document: two equal ones in a row mean that somebody interfered."""
    metadata = change.document["metadata"] if change.document is not None else {}
    return f"{change.spec_digest} {metadata.get('annotations')} {metadata.get('ownerReferences')}"


def _fight(change: Change) -> Finding:
    managers = ", ".join(change.observed.managers) if change.observed is not None else ""
    return Finding(
        Reason.APPLY_FAILED,
        f"{managers or 'somebody'} keeps changing or deleting VirtualService {change.target}; it is repaired once a minute. "
        "Change the policy instead, or take the VirtualService over by removing our label",
    )
