"""Planning without a cluster: the same planner and the same worker, in a loop, for `vso render` and for tests."""

from collections.abc import Sequence

from virtualservice_operator.api.conditions import Reason
from virtualservice_operator.core.changes import ServicePlan
from virtualservice_operator.core.objects import Finding, Key
from virtualservice_operator.core.plan import check_of, plan_service
from virtualservice_operator.core.resolution import Verdict
from virtualservice_operator.core.snapshot import Snapshot
from virtualservice_operator.core.template import Failed, Held, Render, Result, parts_of
from virtualservice_operator.templates.renderer import Renderer


class NoWorker(Exception):  # noqa: N818 - it says what happened
    """The worker cannot be started here."""


def check_templates(snapshot: Snapshot, renderer: Renderer) -> None:
    """Enter a verdict on the template of each policy that has one."""
    unchecked = [check_of(policy) for policy in snapshot.all_policies() if policy.unchecked]
    while unchecked:
        found = _render_some(renderer, unchecked)
        _judge(snapshot, found)
        unchecked = [render for render in unchecked if render not in found]


def plan_offline(snapshot: Snapshot, key: Key, renderer: Renderer, now: float = 0.0) -> ServicePlan:
    """Return the plan for one Service, with all that it needs rendered. Errors: `NoWorker`."""
    held = Held(renderer.cache)
    while True:
        plan = plan_service(snapshot, key, now, held)
        if not plan.needs:
            return plan
        for some in parts_of(plan.needs):
            found = _render_some(renderer, some)
            _judge(snapshot, found)
            for render, result in found.items():
                held.put(render, result)
            if held.are_enough() or len(found) < len(some):
                break


def _render_some(renderer: Renderer, needs: Sequence[Render]) -> dict[Render, Result]:
    """Return what the first of them come to, one at least."""
    found = {render: result for render, result in renderer.render_some(needs).items() if result is not None}
    if not found:
        raise NoWorker("the template worker cannot be started on this machine")
    return found


def _judge(snapshot: Snapshot, found: dict[Render, Result]) -> None:
    for render, result in found.items():
        if render.entry is None:
            message = f"spec.template: {result.message}" if isinstance(result, Failed) else None
            finding = Finding(Reason.INVALID_TEMPLATE, message) if message is not None else None
            snapshot.put_verdict(render.policy, Verdict(render.uid, render.generation, finding))
