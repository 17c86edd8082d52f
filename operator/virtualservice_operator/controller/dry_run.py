"""
Once for each edition of a policy's template, the API server is asked what it says of the first result, before any is written.

Behind it stands Istio's webhook, which knows more than a schema. What it refuses makes the policy not accepted, rather than
one Service after the other fail. Trouble of any other kind is left to the write itself.
"""

from typing import Final

from virtualservice_operator.api import names
from virtualservice_operator.controller.gate import WriteGate
from virtualservice_operator.core.changes import Action, Change, document_of
from virtualservice_operator.core.objects import Key
from virtualservice_operator.core.resolution import ResolvedPolicy
from virtualservice_operator.kube.errors import ApiError, KubeError, Reaction, classify, printable

Edition = tuple[str, int]
_TRIED: Final = (Action.CREATE, Action.UPDATE)


class DryRuns:
    """Remembers which edition of each policy was tried."""

    def __init__(self, gate: WriteGate) -> None:
        self._gate = gate
        self._tried: dict[Key, Edition] = {}

    def is_due(self, policy: ResolvedPolicy, change: Change) -> bool:
        """Tell whether a change is the first that a policy's template has led to."""
        return change.action in _TRIED and self._tried.get(policy.policy.key) != _edition(policy)

    async def refusal(self, policy: ResolvedPolicy, change: Change) -> str | None:
        """Ask, and return what is refused about a change, in words; None where nothing is."""
        uid = change.observed.uid if change.observed is not None else None
        try:
            with self._gate.request("VirtualService", "dry-run", change.target):
                await self._gate.client.try_virtual_service(document_of(change), uid)
        except KubeError as error:
            reaction = classify(error)
            if reaction not in (Reaction.DENIED, Reaction.REFUSED) or _is_quota(error):
                return None
            text = printable(error.message) if isinstance(error, ApiError) else str(error)
            return f"for Service {_service_of(change)}, the API server would refuse what the template makes: {text}"
        self._tried[policy.policy.key] = _edition(policy)
        return None


def _edition(policy: ResolvedPolicy) -> Edition:
    found = policy.policy
    return (found.uid, found.generation)


def _is_quota(error: KubeError) -> bool:
    return isinstance(error, ApiError) and "exceeded quota" in error.message


def _service_of(change: Change) -> str:
    return str(document_of(change)["metadata"]["labels"][names.SERVICE_LABEL])
