"""Planning with templates in tests: the real worker, one for all tests of the process."""

import atexit
from typing import Final

from virtualservice_operator.core.changes import ServicePlan
from virtualservice_operator.core.objects import Key
from virtualservice_operator.core.snapshot import Snapshot
from virtualservice_operator.templates.offline import check_templates, plan_offline
from virtualservice_operator.templates.process import Worker
from virtualservice_operator.templates.renderer import Renderer

WORKER: Final = Worker(log=print)
RENDERER: Final = Renderer(WORKER)
atexit.register(RENDERER.close)


def plan_rendered(snapshot: Snapshot, key: Key, now: float = 0.0) -> ServicePlan:
    """Return the plan for one Service, with what its templates come to; `now` in seconds since 1970."""
    check_templates(snapshot, RENDERER)
    return plan_offline(snapshot, key, RENDERER, now)
