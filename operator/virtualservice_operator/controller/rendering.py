"""
Renderings for the planner: it says what it needs, the worker process does it, a thread waits for the worker.

    plan -> needs -> provide -> plan with the results -> ... -> a plan without needs

What is found about a policy's template as such, that it does not compile, or was stopped three times, becomes a verdict
in the store: from then on the policy is not accepted.
"""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from virtualservice_operator.api import names
from virtualservice_operator.api.conditions import Reason
from virtualservice_operator.controller.metrics import Metrics
from virtualservice_operator.controller.store import Store
from virtualservice_operator.controller.tracing import Span, Tracing
from virtualservice_operator.core.objects import Finding, Key
from virtualservice_operator.core.ownership import digest
from virtualservice_operator.core.plan import check_of
from virtualservice_operator.core.resolution import ResolvedPolicy, Verdict
from virtualservice_operator.core.template import Failed, Held, Render, Result, parts_of
from virtualservice_operator.kube.client import KubeClient
from virtualservice_operator.kube.errors import KubeError
from virtualservice_operator.templates.process import Worker
from virtualservice_operator.templates.renderer import Observer, Renderer, Shared, quarantine_message
from virtualservice_operator.templates.schema import strict

logger = logging.getLogger(__name__)

_VIRTUAL_SERVICES: Final = f"virtualservices.{names.ISTIO_GROUP}"
# So long is waited for the schema of the installed Istio before the first template is rendered without it.
_SCHEMA_WAIT: Final = 10.0
# Templates that take long give way to everything else on the machine.
_SLOW_NICE: Final = 10


class NoWorker(Exception):  # noqa: N818 - it says what happened
    """No worker can be started at the moment; nothing is known about the template."""


class _Lane:
    """A worker, and the thread that waits for it. It is started when it is needed."""

    def __init__(self, observe: Observer, shared: Shared, nice: int) -> None:
        self.worker: Final = Worker(log=logger.warning, nice=nice)
        self.renderer: Final = Renderer(self.worker, observe, shared)
        self.thread: Final = ThreadPoolExecutor(1, thread_name_prefix="templates")

    def close(self) -> None:
        """End the worker, also while the thread waits for it."""
        self.renderer.close()
        self.thread.shutdown(wait=False, cancel_futures=True)


class Templates:
    """
    Two workers, and what is known to come of templates. All calls come from one event loop.

    Services take turns. Namespaces whose templates take long wait for the second worker, also with what is left of a turn,
    so that the others do not wait for them.
    """

    def __init__(self, store: Store, metrics: Metrics, tracing: Tracing) -> None:
        self._store = store
        self._metrics = metrics
        self._tracing = tracing
        self._shared = Shared()
        self._quick, self._slow = (_Lane(self._observe, self._shared, nice) for nice in (0, _SLOW_NICE))
        self._starts = 0
        self._wanted, self._looked = asyncio.Event(), asyncio.Event()
        self._trouble, self._schema = "", ""
        self._refused: set[Key] = set()

    def held(self) -> Held:
        """Return what holds the results for one plan, beside what was rendered lately."""
        return Held(self._shared.cache)

    async def provide(self, needs: Sequence[Render], held: Held) -> None:
        """
        Enter what renderings come to: all of them, or the first, after which the planner should look whether it needs the rest.

        Errors: `NoWorker`.
        """
        with self._tracing.span("render") as span:
            count, failed = await self._provide(needs, held)
            if span.is_recording:
                _describe(span, count, failed)

    async def _provide(self, needs: Sequence[Render], held: Held) -> tuple[int, Failed | None]:
        """Return how many were rendered, and the first that failed."""
        self._wanted.set()
        if not self._looked.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._looked.wait(), _SCHEMA_WAIT)
        count, failed = 0, None
        for some in parts_of(needs):
            left = list(some)
            while left:
                for render, result in (await self._render_some(left)).items():
                    if result is None:
                        raise NoWorker("the template worker cannot be started; it is tried again")
                    self._judge(render, result)
                    held.put(render, result)
                    left.remove(render)
                    count += 1
                    failed = failed or (result if isinstance(result, Failed) else None)
                if held.are_enough():
                    return count, failed
        return count, failed

    async def _render_some(self, needs: Sequence[Render]) -> dict[Render, Result | None]:
        """Return what comes of one turn; nothing where the namespace became slow while it waited for the quick worker."""
        lane = self._slow if self._is_slow(needs) else self._quick

        def render() -> dict[Render, Result | None]:
            return {} if lane is self._quick and self._is_slow(needs) else lane.renderer.render_some(needs)

        results = await asyncio.get_running_loop().run_in_executor(lane.thread, render)
        self._count_restarts()
        return results

    def _is_slow(self, needs: Sequence[Render]) -> bool:
        return any(self._shared.is_slow(render.policy.namespace) for render in needs)

    async def check(self, resolved: ResolvedPolicy) -> None:
        """See whether a policy's template compiles, and enter the verdict. Errors: `NoWorker`."""
        while resolved.unchecked:
            await self.provide((check_of(resolved),), self.held())
            found = self._store.snapshot.policy(resolved.policy.key)
            if found is None:
                return
            resolved = found

    def refuse(self, resolved: ResolvedPolicy, message: str) -> None:
        """Enter that the API server refuses what a policy's template makes, until the policy is changed or it is asked again."""
        found = resolved.policy
        finding = Finding(Reason.INVALID_TEMPLATE, f"spec.template: {message}")
        self._refused.add(found.key)
        self._store.put_verdict(found.key, Verdict(found.uid, found.generation, finding))

    async def run(self, client: KubeClient, interval: float) -> None:
        """Keep the schema of the installed VirtualService at hand while templates are in use; ends by cancellation."""
        try:
            await self._wanted.wait()
            while True:
                await self._fetch_schema(client)
                self._looked.set()
                await asyncio.sleep(interval)
                self._ask_again()
        finally:
            for lane in (self._quick, self._slow):
                lane.close()

    def _ask_again(self) -> None:
        """Let what the API server has refused be tried anew: its rules may have changed."""
        refused, self._refused = self._refused, set()
        for key in refused:
            self._store.put_verdict(key, None)

    async def _fetch_schema(self, client: KubeClient) -> None:
        try:
            found = spec_schema(await client.get_crd(_VIRTUAL_SERVICES))
        except KubeError as error:
            if self._trouble != str(error):
                self._trouble = str(error)
                logger.warning(
                    "templates are checked by our own schema only: the one of the installed Istio cannot be read (%s)",
                    error,
                )
            return
        if digest(found) != self._schema:
            self._schema = digest(found)
            for lane in (self._quick, self._slow):
                lane.renderer.use_schema(strict(found) if found is not None else None)

    def _judge(self, render: Render, result: Result) -> None:
        """Enter what a result says about the policy itself, unless it was changed meanwhile."""
        failed = result if isinstance(result, Failed) else None
        if self._quick.renderer.is_quarantined(render):
            self._enter(render, quarantine_message())
        elif render.entry is None and not (failed is not None and failed.killed):
            self._enter(render, failed.message if failed is not None else None)

    def _enter(self, render: Render, message: str | None) -> None:
        resolved = self._store.snapshot.policy(render.policy)
        finding = Finding(Reason.INVALID_TEMPLATE, f"spec.template: {message}") if message is not None else None
        verdict = Verdict(render.uid, render.generation, finding)
        if resolved is not None and verdict.is_about(resolved.policy) and _is_news(resolved, finding):
            self._store.put_verdict(render.policy, verdict)

    def _observe(self, result: str, seconds: float) -> None:
        self._metrics.template_renders.labels(result).inc()
        self._metrics.template_render_seconds.observe(seconds)

    def _count_restarts(self) -> None:
        restarts = sum(max(0, lane.worker.starts - 1) for lane in (self._quick, self._slow))
        self._metrics.template_worker_restarts.inc(restarts - self._starts)
        self._starts = restarts


def _describe(span: Span, count: int, failed: Failed | None) -> None:
    span.say("virtualservice_operator.documents", count)
    if failed is not None:
        span.fail("Killed" if failed.killed else Reason.INVALID_TEMPLATE, failed.message)


def _is_news(resolved: ResolvedPolicy, finding: Finding | None) -> bool:
    return resolved.unchecked or resolved.rejection != finding


def spec_schema(crd: Any) -> Any:
    """Return the schema of the spec in the version that we write; None where the CRD has none."""
    for version in crd.get("spec", {}).get("versions", ()):
        if version.get("name") == names.ISTIO_API_VERSION.rpartition("/")[2]:
            return version.get("schema", {}).get("openAPIV3Schema", {}).get("properties", {}).get("spec")
    return None
