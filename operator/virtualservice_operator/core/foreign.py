"""VirtualServices that others wrote and that have our name or claim our host: what is said of each."""

from dataclasses import dataclass

from virtualservice_operator.api import names
from virtualservice_operator.api.conditions import Reason
from virtualservice_operator.core.blocks import Blocks
from virtualservice_operator.core.objects import Finding, Key, VirtualService
from virtualservice_operator.core.ownership import clients, clients_of, is_private, outranks, share_clients
from virtualservice_operator.core.snapshot import Snapshot, virtual_service_key
from virtualservice_operator.core.wording import list_few


def name_conflict(key: Key, observed: VirtualService | None) -> Finding | None:
    """Return the finding for one of our name without our mark, unless its owner hands it over."""
    if observed is None or observed.marked or observed.adoptable:
        return None
    return Finding(
        Reason.NAME_CONFLICT,
        f"VirtualService {observed.key} has the name we need and not our mark; rename it, or hand it over: kubectl "
        f"annotate virtualservice {observed.key.name} -n {key.namespace} {names.ADOPT_ANNOTATION}=true",
    )


def who_sees_ours(key: Key, blocks: Blocks, frozen: VirtualService | None = None) -> frozenset[str] | None:
    """
    Return the namespaces whose clients see ours as it will be, or as it stays where it is frozen; None for all.

    A template that makes the whole VirtualService may say anything, and it is rendered later.
    """
    if frozen is not None:
        return clients_of(frozen)
    if blocks.templated is not None and blocks.templated.template.has_virtual_service:
        return None
    return clients(key.namespace, blocks.export_to)


def host_taken(snapshot: Snapshot, key: Key, seen: frozenset[str] | None) -> Finding | None:
    """
    Return the finding for a foreign VirtualService in the Service's own namespace: the Service is theirs.

    `seen`: who sees ours; one that none of them sees takes nothing.
    """
    own_name = virtual_service_key(key)
    for claim in snapshot.claims(key):
        is_there = claim.key.namespace == key.namespace and claim.key != own_name
        if is_there and share_clients(clients_of(claim), seen):
            return Finding(
                Reason.HOST_TAKEN,
                f"VirtualService {claim.key} routes this host, so the policies leave it alone; delete it to hand over",
            )
    return None


@dataclass(frozen=True, slots=True)
class Rival:
    """A foreign VirtualService that claims our host too; `is_first`: Istio takes it before ours; `rank` says why."""

    claim: VirtualService
    is_first: bool
    rank: str


def find_rival(snapshot: Snapshot, key: Key, observed: VirtualService | None, blocks: Blocks) -> Rival | None:
    """
    Return a foreign VirtualService that claims our host and to which we do not yield; one that outranks ours first.

    Those of other namespaces, but for private ones, and with Keep those of the Service's own. One that no client of
    ours sees is no rival.
    """
    seen = who_sees_ours(key, blocks)
    rivals = [
        claim
        for claim in snapshot.claims(key)
        if claim.key != virtual_service_key(key)
        and (blocks.keeps if claim.key.namespace == key.namespace else not is_private(claim))
        and share_clients(clients_of(claim), seen)
    ]
    rank = observed.rank if observed is not None else None
    first = next((claim for claim in rivals if outranks(claim, key.namespace, seen, rank)), None)
    if first is not None:
        return Rival(first, is_first=True, rank=_lead(first, key.namespace, seen, is_written=observed is not None))
    why = "is younger, so Istio ignores it" if seen is None else "ranks after ours, so whoever sees ours ignores it"
    return Rival(rivals[0], is_first=False, rank=why) if rivals else None


def _lead(rival: VirtualService, namespace: str, seen: frozenset[str] | None, *, is_written: bool) -> str:
    """Return why a rival goes before ours, by the rules of `outranks`."""
    theirs = clients_of(rival)
    if theirs is not None and seen is None:
        return f"goes first for clients in {list_few(sorted(theirs))}, to which alone it is exported"
    if theirs is not None and seen is not None and rival.key.namespace in (theirs & seen) - {namespace}:
        return f"goes first for clients in its own namespace, {rival.key.namespace}"
    return "ranks first" if is_written else "is older"


def host_conflict(rival: Rival, snapshot: Snapshot, key: Key) -> Finding:
    """Return the finding for a rival; to make one private to the Service's own namespace would put it first."""
    host = names.service_fqdn(key.name, key.namespace, snapshot.settings.cluster_domain)
    elsewhere = rival.claim.key.namespace != key.namespace
    remedy = (
        "take the host out of it or give it exportTo: ['.']"
        if elsewhere
        else "delete it, or leave the Service to it with foreignVirtualServices: Yield"
    )
    return Finding(
        Reason.HOST_CONFLICT, f"VirtualService {rival.claim.key} claims {host} too and {rival.rank}; {remedy}"
    )
