"""VirtualServices that others wrote and that have our name or claim our host: what is said of each."""

from virtualservice_operator.api import names
from virtualservice_operator.api.conditions import Reason
from virtualservice_operator.core.blocks import Blocks
from virtualservice_operator.core.objects import Finding, Key, VirtualService
from virtualservice_operator.core.ownership import is_private, outranks
from virtualservice_operator.core.snapshot import Snapshot, virtual_service_key


def name_conflict(key: Key, observed: VirtualService | None) -> Finding | None:
    """Return the finding for one of our name without our mark, unless its owner hands it over."""
    if observed is None or observed.marked or observed.adoptable:
        return None
    return Finding(
        Reason.NAME_CONFLICT,
        f"VirtualService {observed.key} has the name we need and not our mark; rename it, or hand it over: kubectl "
        f"annotate virtualservice {observed.key.name} -n {key.namespace} {names.ADOPT_ANNOTATION}=true",
    )


def host_taken(snapshot: Snapshot, key: Key) -> Finding | None:
    """Return the finding for a foreign VirtualService in the Service's own namespace: the Service is theirs."""
    own_name = virtual_service_key(key)
    for claim in snapshot.claims(key):
        if claim.key.namespace == key.namespace and claim.key != own_name:
            return Finding(
                Reason.HOST_TAKEN,
                f"VirtualService {claim.key} routes this host, so the policies leave it alone; delete it to hand over",
            )
    return None


def find_rival(snapshot: Snapshot, key: Key, observed: VirtualService | None, blocks: Blocks) -> VirtualService | None:
    """
    Return a foreign VirtualService that claims our host and to which we do not yield; one that outranks ours first.

    Those of other namespaces, but for private ones, and with Keep those of the Service's own.
    """
    rivals = [
        claim
        for claim in snapshot.claims(key)
        if claim.key != virtual_service_key(key)
        and (blocks.keeps if claim.key.namespace == key.namespace else not is_private(claim))
    ]
    stronger = (claim for claim in rivals if observed is None or outranks(claim, observed))
    return next(stronger, rivals[0] if rivals else None)


def host_conflict(rival: VirtualService, snapshot: Snapshot, key: Key, rank: str) -> Finding:
    """Return the finding for a rival; `rank` says how it stands against ours."""
    host = names.service_fqdn(key.name, key.namespace, snapshot.settings.cluster_domain)
    return Finding(
        Reason.HOST_CONFLICT,
        f"VirtualService {rival.key} claims {host} too and {rank}; take the host out of it or give it exportTo: ['.']",
    )
