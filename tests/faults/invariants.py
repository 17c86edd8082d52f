"""
What must hold whatever breaks, each as a function that returns what is wrong; nothing is what a test wants.

    I1 converge        once faults stop, what is stored is what a plan from scratch makes of fresh lists
    I2 no foreign touch only what is planned is written; all else keeps its uid, generation and resourceVersion
    I3 bounded writes  writes <= planned changes + injected failures; no hammering; none at rest
    I4 tenants         at every stored version, destinations lie where the policy may lead, hosts at home
    I5 truthful status Ready says so only of what is true
    I6 no zombie       the process lives, and readiness names what it does not hear of
    I7 blast radius    nobody else's objects or statuses change
    I8 no mass loss    what one list lacks takes nothing away where it is much; test_watches counts the writes
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cluster.from_scratch import left_behind
from cluster.world import ISTIO, POLICIES, World
from faults.journal import Write
from faults.oracle import PLANNED, Outcome, Target, target_of
from operator_process import OperatorProcess

WINDOW_SECONDS = 10.0
WRITES_IN_WINDOW = 3
MARK = ("app.kubernetes.io/managed-by", "virtualservice-operator")

Versions = Mapping[str, tuple[str, int | None, str]]


def i1_converged(world: World, *shops: str) -> list[str]:
    """Return where the cluster is not as planned from scratch."""
    return [f"I1: {item}" for item in left_behind(world, *shops)]


def foreign_versions(world: World) -> Versions:
    """Return uid, generation and resourceVersion of all that is not the operator's in a world."""
    found = {}
    for path in ("/api/v1/namespaces", "/api/v1/services", f"{ISTIO}/virtualservices"):
        for item in world.plane.request("GET", path)["items"]:
            metadata = item["metadata"]
            ours = metadata.get("labels", {}).get(MARK[0]) == MARK[1]
            place = metadata.get("namespace") or metadata["name"]
            if place.startswith(f"{world.prefix}-") and not ours:
                name = f"{path} {place}/{metadata['name']}"
                found[name] = (metadata["uid"], metadata.get("generation"), metadata["resourceVersion"])
    return found


def i2_untouched(before: Versions, after: Versions) -> list[str]:
    """Return which objects that exist before and after are not what they were."""
    return [
        f"I2: {name} was {version} and is {after[name]}"
        for name, version in before.items()
        if name in after and after[name] != version
    ]


def i2_only_planned(writes: Iterable[Write], planned: Iterable[Target]) -> list[str]:
    """Return the writes of VirtualServices and Services that no plan has ever asked for; a POST names nobody."""
    known = set(planned)
    return [
        f"I2: {write.call} is of something that is not ours"
        for write in writes
        if write.call.resource in PLANNED and write.call.name and target_of(write) not in known
    ]


def i3_bounded(clean: Outcome, run: Outcome, injected: int) -> list[str]:
    """Return by how much a run has written more than a clean one and what its faults account for."""
    if not writes_above_plan(clean, run, injected):
        return []
    more = [
        f"{kind} {'/'.join(target)} {count - clean.writes.get((kind, target), 0):+d}"
        for (kind, target), count in sorted(run.writes.items())
        if count != clean.writes.get((kind, target), 0)
    ]
    return [f"I3: {run.total} writes, {clean.total} in a clean run, {injected} faults: {', '.join(more)}"]


def writes_above_plan(clean: Outcome, run: Outcome, injected: int) -> int:
    """Return how many writes went through beyond those of a clean run and one for each injected failure."""
    return max(0, run.total - clean.total - injected)


def i3_not_hammered(writes: Iterable[Write], changes: Sequence[float]) -> list[str]:
    """Return the objects that were written more than 3 times in 10 s; `changes` are when inputs changed."""
    times: defaultdict[Target, list[float]] = defaultdict(list)
    for write in writes:
        if write.went_through and write.call.resource in PLANNED and write.call.name:
            times[target_of(write)].append(write.at)
    found = []
    for target, moments in times.items():
        for first in moments:
            in_window = sum(first <= moment < first + WINDOW_SECONDS for moment in moments)
            allowed = WRITES_IN_WINDOW + sum(first - 1 <= change < first + WINDOW_SECONDS for change in changes)
            if in_window > allowed:
                found.append(f"I3: {'/'.join(target)} was written {in_window} times within {WINDOW_SECONDS:.0f} s")
                break
    return found


def i4_tenants(world: World, since: str, reachable: Iterable[str]) -> list[str]:
    """
    Return the stored versions of our VirtualServices that lead where their policies may not, or claim others' hosts.

    `since`: the resourceVersion from which on every version is looked at; `reachable`: namespaces by short name.
    """
    path = f"{ISTIO}/virtualservices?watch=1&timeoutSeconds=1&resourceVersion={since}"
    events = [json.loads(line) for line in world.plane.fetch("GET", path).text.splitlines()]
    allowed = {world.ns(name) for name in reachable}
    found = []
    for event in events:
        if event["type"] == "ERROR":
            return [f"I4: the history from {since} on is gone: {event['object'].get('message')}"]
        item = event["object"]
        if item["metadata"].get("labels", {}).get(MARK[0]) == MARK[1] and event["type"] != "DELETED":
            found += _tenant_trouble(item, allowed)
    return found


def _tenant_trouble(item: Mapping[str, Any], allowed: set[str]) -> list[str]:
    own = item["metadata"]["namespace"]
    name = f"{own}/{item['metadata']['name']} at {item['metadata']['resourceVersion']}"
    if not any(own.split("-")[0] == namespace.split("-")[0] for namespace in allowed):
        return []  # another world's
    hosts = [host for host in item["spec"]["hosts"] if _namespace_of(host) != own]
    leads = [
        destination["destination"]["host"]
        for rule in item["spec"]["http"]
        for destination in rule.get("route", ())
        if _namespace_of(destination["destination"]["host"]) not in {own, *allowed}
    ]
    return [f"I4: {name} claims {host}" for host in hosts] + [f"I4: {name} leads to {host}" for host in leads]


def _namespace_of(host: str) -> str:
    return host.split(".")[1] if "." in host else ""


def i5_truthful(world: World, *shops: str) -> list[str]:
    """Return the policies that say Ready of their present generation while something of theirs is not as planned."""
    left = left_behind(world, *shops)
    found = []
    for shop in shops:
        if not any(f"{world.ns(shop)}/" in item for item in left):
            continue
        policies = world.plane.request("GET", f"{POLICIES}/namespaces/{world.ns(shop)}/routingpolicies")["items"]
        ready = (item["metadata"]["name"] for item in policies if _says_ready(item))
        found += [f"I5: {name} is Ready, and left is {left}" for name in ready]
    return found


def _says_ready(item: Mapping[str, Any]) -> bool:
    generation = item["metadata"]["generation"]
    return any(
        (condition["type"], condition["status"], condition.get("observedGeneration")) == ("Ready", "True", generation)
        for condition in item.get("status", {}).get("conditions", ())
    )


def i6_alive(operator: OperatorProcess) -> list[str]:
    """Return what is wrong with the process as a kubelet sees it."""
    found = [] if operator.alive else ["I6: the process has ended"]
    if operator.alive and (verdict := operator.get("/healthz")) != "ok\n":
        found.append(f"I6: /healthz says {verdict!r}")
    return found


def i6_said(operator: OperatorProcess) -> list[str]:
    """Return what is wrong where every watch has been down for over half a minute: readiness has to say so."""
    verdict = operator.get("/readyz")
    return [] if "down for" in verdict else [f"I6: /readyz says {verdict!r}"]


def versions_in(world: World, *namespaces: str) -> dict[str, str]:
    """Return the resourceVersion of each VirtualService and policy of some namespaces, for `i7_unharmed`."""
    found = {}
    for namespace in map(world.ns, namespaces):
        for path, resource in ((ISTIO, "virtualservices"), (POLICIES, "routingpolicies")):
            for item in world.plane.request("GET", f"{path}/namespaces/{namespace}/{resource}")["items"]:
                found[f"{resource} {namespace}/{item['metadata']['name']}"] = item["metadata"]["resourceVersion"]
    return found


def i7_unharmed(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return what of the others was written, or is gone."""
    return [
        f"I7: {name} was at {version}, is at {after.get(name, 'nothing')}"
        for name, version in before.items()
        if after.get(name) != version
    ]
