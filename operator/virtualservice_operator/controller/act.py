"""One change of a plan carried out: the requests it takes, and what came of it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from virtualservice_operator.api import names
from virtualservice_operator.controller.act_placeholder import carry_out_placeholder
from virtualservice_operator.controller.gate import WriteGate
from virtualservice_operator.controller.store import Store
from virtualservice_operator.core.changes import Action, Change, PlaceholderChange, document_of
from virtualservice_operator.core.objects import Finding, VirtualService
from virtualservice_operator.core.ownership import differs
from virtualservice_operator.kube.client import KubeClient
from virtualservice_operator.kube.decode import decode_virtual_service
from virtualservice_operator.kube.errors import (
    ApiError,
    HeldBack,
    KubeError,
    Reaction,
    StoredOtherwise,
    Verdict,
    asked_wait,
    judge,
    must_wait,
    printable,
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What came of a change. `verdict` is None where it went through; `finding` is for the status.

    `held`: it was not asked for, as others before it failed; `firm`: the next try is not to be hurried.
    """

    change: Change | PlaceholderChange
    verdict: Verdict | None = None
    finding: Finding | None = None
    retry_after: float | None = None
    held: bool = False
    firm: bool = False

    @property
    def reaction(self) -> Reaction | None:
        """Return what to do about it; None where it went through."""
        return self.verdict.reaction if self.verdict is not None else None

    @property
    def is_open(self) -> bool:
        """Tell whether nothing can be said yet: the world moved, and the next plan will know."""
        return self.verdict is not None and self.finding is None


async def carry_out(gate: WriteGate, store: Store, change: Change | PlaceholderChange) -> Outcome:
    """Carry out one change; every answer enters the store, so that the watch's echo makes no second write."""
    try:
        with gate.request(kind_of(change), change.action, change.target):
            if isinstance(change, PlaceholderChange):
                await carry_out_placeholder(gate.client, store, change)
            else:
                await _ACTIONS[change.action](gate.client, store, change)
    except KubeError as error:
        return failed(change, error)
    return Outcome(change)


def kind_of(change: Change | PlaceholderChange) -> str:
    """Return the kind of what is written."""
    return "Service" if isinstance(change, PlaceholderChange) else "VirtualService"


# The API server names the object first, at length; this is where it comes to the point.
_WHO_DENIES: Final = re.compile(r"(ValidatingAdmissionPolicy|admission webhook|exceeded quota).*", re.DOTALL)


async def _create(client: KubeClient, store: Store, change: Change) -> None:
    await _settle(client, store, change, await client.create_virtual_service(document_of(change)))


async def _update(client: KubeClient, store: Store, change: Change) -> None:
    observed = _observed(change)
    answer = await client.update_virtual_service(document_of(change), observed.uid)
    if decode_virtual_service(answer).adoptable:
        # It has done its work; left there, nobody could take the object over again by removing our label.
        answer = await client.remove_adoption(change.target, answer["metadata"]["resourceVersion"])
    await _settle(client, store, change, answer)


async def _settle(client: KubeClient, store: Store, change: Change, answer: Mapping[str, Any]) -> None:
    """Enter the answer; where somebody added fields that an apply leaves alone, replace the whole spec once."""
    document, written = document_of(change), decode_virtual_service(answer)
    if differs(document, change.spec_digest, written) is not None:
        version = answer["metadata"]["resourceVersion"]
        answer = await client.replace_virtual_service_spec(change.target, document["spec"], version)
        written = decode_virtual_service(answer)
    store.put_written(written)
    remaining = differs(document, change.spec_digest, written)
    if remaining is not None:
        raise StoredOtherwise(
            f"VirtualService {change.target} is not stored as it was sent ({remaining}): is Istio's CRD older than "
            "1.22, or does a webhook change it?"
        )


async def _delete(client: KubeClient, store: Store, change: Change) -> None:
    observed = _observed(change)
    await client.delete_virtual_service(observed)
    store.forget_deleted(observed)


async def _release(client: KubeClient, store: Store, change: Change) -> None:
    stored = await client.get_virtual_service(change.target)
    owners = [owner for owner in stored["metadata"].get("ownerReferences") or () if owner.get("kind") != names.KIND]
    store.put_written(decode_virtual_service(await client.release_virtual_service(_observed(change), owners)))


_ACTIONS = {Action.CREATE: _create, Action.UPDATE: _update, Action.DELETE: _delete, Action.RELEASE: _release}


def failed(change: Change | PlaceholderChange, error: KubeError) -> Outcome:
    """Return the outcome of a change that met an error."""
    verdict = judge(error)
    finding = Finding(verdict.says, _message(change, verdict, error)) if verdict.says is not None else None
    return Outcome(change, verdict, finding, asked_wait(error), held=isinstance(error, HeldBack), firm=must_wait(error))


def _message(change: Change | PlaceholderChange, verdict: Verdict, error: KubeError) -> str:
    what = "the placeholder" if isinstance(change, PlaceholderChange) else "VirtualService"
    plain = f"cannot {change.action} {what} {change.target}: {error}"
    match error:
        case HeldBack():
            return f"cannot {change.action} {what} {change.target} yet{_remedy(change, verdict)}: {error}"
        case StoredOtherwise():
            return str(error)
    if isinstance(change, PlaceholderChange):
        return plain + _remedy(change, verdict)
    return _by_reaction(change, verdict, error) or plain


def _remedy(change: Change | PlaceholderChange, verdict: Verdict) -> str:
    """Return the command that grants a missing right, to append; nothing for another trouble."""
    if verdict.reaction is not Reaction.FORBIDDEN:
        return ""
    where = "overlays/placeholders" if isinstance(change, PlaceholderChange) else "base"
    return f"; grant it: kubectl apply -k kustomize/{where}"


def _by_reaction(change: Change, verdict: Verdict, error: KubeError) -> str | None:
    match verdict.reaction:
        case Reaction.FORBIDDEN:
            return (
                f"the operator may not {change.action} VirtualServices in {change.target.namespace}"
                f"{_remedy(change, verdict)} ({error})"
            )
        case Reaction.NOT_INSTALLED:
            return "VirtualServices are not known to this cluster; install Istio 1.22 or later"
        case Reaction.DENIED:
            found = _WHO_DENIES.search(error.message) if isinstance(error, ApiError) else None
            return f"VirtualService {change.target} is refused: {printable(found[0]) if found else error}"
    return None


def _observed(change: Change) -> VirtualService:
    if change.observed is None:
        raise ValueError(f"{change.action} of {change.target} starts from nothing observed")
    return change.observed
