"""The differential oracle: what a plan from scratch makes of the cluster, against what is stored there."""

import time

from cluster.world import World
from virtualservice_operator.controller.ledger import Ledger, editions_of
from virtualservice_operator.core.objects import ClusterObject
from virtualservice_operator.core.ownership import assigned_key, digest
from virtualservice_operator.core.plan import plan_service
from virtualservice_operator.core.report import policy_status
from virtualservice_operator.core.resolution import PlanSettings
from virtualservice_operator.core.snapshot import Snapshot
from virtualservice_operator.kube.decode import DECODERS
from virtualservice_operator.kube.informer import PATHS


def everything(world: World) -> Snapshot:
    """Return the cluster as it is stored, from fresh lists."""
    objects: list[ClusterObject] = []
    for kind, path in PATHS.items():
        answer = world.plane.request("GET", path)
        objects.extend(DECODERS[kind](raw) for raw in answer["items"])
    return Snapshot(PlanSettings(), objects)


def left_behind(world: World, *shops: str) -> list[str]:
    """Return where the policies' namespaces are not as a plan from scratch would have them: objects and statuses."""
    cluster = everything(world)
    found, ledger = [], Ledger()
    places = {service.key for shop in shops for service in cluster.services_in(world.ns(shop))}
    places |= {assigned_key(item) for item in cluster.all_virtual_services() if item.marked}
    places |= {source for item in cluster.all_placeholders() if (source := item.placed and item.placed.source)}
    for shop in shops:
        for key in sorted(places):
            if key.namespace == world.ns(shop):
                plan = plan_service(cluster, key, time.time())
                found += [f"{change.action} {change.target}: {change.why}" for change in plan.changes]
                ledger.record(key, plan.entries, editions_of(cluster, key.namespace))
        for resolved in cluster.policies(world.ns(shop)):
            policy = resolved.policy
            standing = ledger.standing(cluster, resolved, policy.observed_generation)
            status = policy_status(standing, policy.conditions, "now")
            if digest(status) != policy.status_digest:
                found.append(f"status of {policy.key}: {status} is stored as {world.status(policy.key.name, shop)}")
    return found
