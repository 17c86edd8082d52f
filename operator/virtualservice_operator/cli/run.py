"""`vso run`: the operator."""

import asyncio
import secrets
import socket

import click

from virtualservice_operator.cli import parameters
from virtualservice_operator.controller.run import run_operator
from virtualservice_operator.controller.telemetry import configure_logging
from virtualservice_operator.core.lease import LONGEST_DURATION, LeaseTiming
from virtualservice_operator.core.objects import Key
from virtualservice_operator.core.resolution import PlanSettings
from virtualservice_operator.kube.connection import Source
from virtualservice_operator.kube.errors import ConfigurationError
from virtualservice_operator.kube.informer import Timing
from virtualservice_operator.kube.lease import Election
from virtualservice_operator.settings import Settings


def _lease_timing(duration: int, deadline: float, retry: float) -> LeaseTiming:
    """Return how a Lease is held. A deadline must have room for two tries, and end well before others take the Lease."""
    if not 2 * retry < deadline < duration:
        raise click.UsageError(
            f"--lease-retry {retry:g}, --lease-renew-deadline {deadline:g} and --lease-duration {duration} do not fit: the "
            "deadline must be more than twice the first and less than the last, as 2, 10 and 15 are"
        )
    return LeaseTiming(duration, deadline, retry)


@click.command(context_settings={"auto_envvar_prefix": "VSO", "show_default": True})
@click.option("--kubeconfig", metavar="FILE", help="Kubeconfig; else $KUBECONFIG, the Pod's account, ~/.kube/config.")
@click.option("--context", metavar="NAME", help="Context of the kubeconfig.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info")
@click.option("--log-format", type=click.Choice(["json", "text"]), default="json")
@click.option(
    "--cluster-domain", default="cluster.local", callback=parameters.domain, help="Domain of Services' host names."
)
@click.option(
    "--istio-namespace", default="istio-system", callback=parameters.namespace, help="Istio's namespace; never routed."
)
@click.option(
    "--namespace",
    "operator_namespace",
    envvar=["VSO_NAMESPACE", "POD_NAMESPACE"],
    default="virtualservice-operator",
    callback=parameters.namespace,
    help="The operator's own namespace; never routed.",
)
@click.option(
    "--route-consent",
    type=click.Choice(["Optional", "Required"]),
    default="Optional",
    help="Whether a developer's namespace must permit routes with the annotation allow-policies-from.",
)
@click.option(
    "--placeholder-consent",
    type=click.Choice(["Optional", "Required"]),
    default="Required",
    help="Whether a developer's namespace must permit placeholders with the annotation allow-policies-from.",
)
@click.option(
    "--placeholder-delay",
    type=click.FloatRange(0),
    default=5,
    help="Seconds for which the name of a deleted Service is left free before a placeholder takes it.",
)
@click.option(
    "--templates",
    type=click.Choice(["Enabled", "Disabled"]),
    default="Enabled",
    help="Disabled refuses every policy with a template.",
)
@click.option(
    "--leader-election/--no-leader-election",
    envvar=["VSO_LEADER_ELECTION", "LEADER_ELECTION_ENABLED"],
    default=True,
    help="Whether to write only while holding a Lease; without, one process at most may run.",
)
@click.option(
    "--leader-election-id",
    envvar=["VSO_LEADER_ELECTION_ID", "LEADER_ELECTION_ID"],
    default="virtualservice-operator-leader",
    callback=parameters.lease_name,
    help="Name of the Lease, in the operator's own namespace.",
)
@click.option(
    "--lease-duration",
    type=click.IntRange(2, LONGEST_DURATION),
    default=15,
    help="Seconds after its last renewal for which a Lease is left to its holder.",
)
@click.option(
    "--lease-renew-deadline",
    type=click.FloatRange(0.1),
    default=10,
    help="Seconds after the last renewal for which the holder writes; less than --lease-duration.",
)
@click.option(
    "--lease-retry",
    type=click.FloatRange(0.01),
    default=2,
    help="Seconds between renewals; less than half of --lease-renew-deadline.",
)
@click.option(
    "--identity",
    envvar=["VSO_IDENTITY", "POD_NAME"],
    help="Name of this replica in the Lease; else $POD_NAME, else made from the host's name.",
)
@click.option("--host", default="0.0.0.0", help="Address for probes and metrics.")  # noqa: S104 - probes come from outside the Pod
@click.option("--port", type=click.IntRange(1, 65535), default=8080, help="Port for probes and metrics.")
@click.option("--workers", type=click.IntRange(1, 64), default=8, help="Services reconciled at a time.")
@click.option("--resync", type=click.FloatRange(1), default=600, help="Seconds between full lists.")
@click.option("--policy-list", type=click.FloatRange(0.1), default=30, help="Seconds between lists of policies.")
@click.option(
    "--policy-delete-grace",
    type=click.FloatRange(0),
    default=5,
    help="Seconds in which a deleted policy may come back before its routes are taken away.",
)
def run(  # noqa: PLR0913 - one parameter per flag
    *,
    kubeconfig: str | None,
    context: str | None,
    log_level: str,
    log_format: str,
    cluster_domain: str,
    istio_namespace: str,
    operator_namespace: str,
    route_consent: str,
    placeholder_consent: str,
    placeholder_delay: float,
    templates: str,
    leader_election: bool,
    leader_election_id: str,
    lease_duration: int,
    lease_renew_deadline: float,
    lease_retry: float,
    identity: str | None,
    host: str,
    port: int,
    workers: int,
    resync: float,
    policy_list: float,
    policy_delete_grace: float,
) -> None:
    """Run the operator until SIGTERM. Each flag can also be set as VSO_<FLAG>."""
    configure_logging(log_level, log_format)
    election = Election(
        Key(operator_namespace, leader_election_id),
        identity or f"{socket.gethostname()}-{secrets.token_hex(4)}",
        _lease_timing(lease_duration, lease_renew_deadline, lease_retry),
    )
    settings = Settings(
        source=Source(kubeconfig, context),
        plan=PlanSettings(
            cluster_domain,
            istio_namespace,
            operator_namespace,
            requires_consent=route_consent == "Required",
            requires_placeholder_consent=placeholder_consent == "Required",
            placeholder_delay=placeholder_delay,
            allows_templates=templates == "Enabled",
        ),
        timing=Timing(resync=resync),
        election=election if leader_election else None,
        host=host,
        port=port,
        workers=workers,
        policy_list_interval=policy_list,
        policy_delete_grace=policy_delete_grace,
    )
    try:
        asyncio.run(run_operator(settings))
    except ConfigurationError as error:
        raise click.ClickException(str(error)) from error
    except ExceptionGroup as group:
        configuration, others = group.split(ConfigurationError)
        if configuration is None or others is not None:
            raise
        raise click.ClickException(str(configuration.exceptions[0])) from group
