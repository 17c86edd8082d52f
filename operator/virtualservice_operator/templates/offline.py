"""Planning without a cluster: the same planner and the same worker, in a loop, for `vso render` and for tests."""

from collections import ChainMap

from virtualservice_operator.api.conditions import Reason
from virtualservice_operator.core.changes import ServicePlan
from virtualservice_operator.core.objects import Finding, Key
from virtualservice_operator.core.plan import check_of, plan_service
from virtualservice_operator.core.resolution import Verdict
from virtualservice_operator.core.snapshot import Snapshot
from virtualservice_operator.core.template import Failed, Render, Result
from virtualservice_operator.templates.renderer import Renderer


class NoWorker(Exception):  # noqa: N818 - it says what happened
    """The worker cannot be started here."""


def check_templates(snapshot: Snapshot, renderer: Renderer) -> None:
    """Enter a verdict on the template of each policy that has one."""
    unchecked = [policy for policy in snapshot.all_policies() if policy.unchecked]
    _judge(snapshot, _render(renderer, [check_of(policy) for policy in unchecked]))


def plan_offline(snapshot: Snapshot, key: Key, renderer: Renderer, now: float = 0.0) -> ServicePlan:
    """Return the plan for one Service, with all that it needs rendered. Errors: `NoWorker`."""
    results: dict[Render, Result] = {}
    while True:
        plan = plan_service(snapshot, key, now, ChainMap(results, renderer.cache))  # type: ignore[arg-type]
        if not plan.needs:
            return plan
        found = _render(renderer, plan.needs)
        _judge(snapshot, found)
        results |= found


def _render(renderer: Renderer, needs: list[Render] | tuple[Render, ...]) -> dict[Render, Result]:
    found = renderer.render(needs)
    if len(found) < len(set(needs)):
        raise NoWorker("the template worker cannot be started on this machine")
    return found


def _judge(snapshot: Snapshot, found: dict[Render, Result]) -> None:
    for render, result in found.items():
        if render.entry is None:
            message = f"spec.template: {result.message}" if isinstance(result, Failed) else None
            finding = Finding(Reason.INVALID_TEMPLATE, message) if message is not None else None
            snapshot.put_verdict(render.policy, Verdict(render.uid, render.generation, finding))
