"""What the process was started with: parsed once, frozen."""

from dataclasses import dataclass, field

from virtualservice_operator.core.resolution import PlanSettings
from virtualservice_operator.kube.connection import Source
from virtualservice_operator.kube.informer import Timing
from virtualservice_operator.kube.lease import Election


@dataclass(frozen=True, slots=True)
class Settings:
    """
    Settings of `vso run`; the command line documents each.

    Units: seconds. `election` is None where only one process runs. `workers` is the number of Services reconciled at a time, so also of writes in flight.
    """

    source: Source = field(default_factory=Source)
    plan: PlanSettings = field(default_factory=PlanSettings)
    timing: Timing = field(default_factory=Timing)
    election: Election | None = None
    host: str = "0.0.0.0"  # noqa: S104 - probes and Prometheus come from outside the Pod
    port: int = 8080
    workers: int = 8
    policy_list_interval: float = 30.0
    policy_delete_grace: float = 5.0
    status_interval: float = 1.0
