"""The order of policies that govern one Service. No ages: what is in Git decides (api: docs/policies.md)."""

from collections.abc import Iterable
from enum import IntEnum

from virtualservice_operator.api.v1alpha1 import RoutingPolicySpec
from virtualservice_operator.core.resolution import ResolvedPolicy


class Specificity(IntEnum):
    """How narrowly a policy says what it governs; the smaller goes first."""

    NAMED = 0
    SELECTED = 1
    ALL = 2


def specificity(spec: RoutingPolicySpec) -> Specificity:
    """Return how narrowly a policy selects."""
    if spec.services is not None and spec.services.names is not None:
        return Specificity.NAMED
    if spec.services is not None and spec.services.selector is not None:
        return Specificity.SELECTED
    return Specificity.ALL


def in_precedence(policies: Iterable[ResolvedPolicy]) -> tuple[ResolvedPolicy, ...]:
    """Return accepted policies of one namespace, the one that goes first at the front."""
    return tuple(sorted(policies, key=lambda item: (-item.spec.priority, specificity(item.spec), item.policy.key.name)))


def is_tie(first: ResolvedPolicy, second: ResolvedPolicy) -> bool:
    """Tell whether only the names decide between two policies."""
    return first.spec.priority == second.spec.priority and specificity(first.spec) == specificity(second.spec)


def explain_win(winner: ResolvedPolicy, loser: ResolvedPolicy) -> str:
    """Return by what one policy goes before another, for a message."""
    if winner.policy.key == loser.policy.key:
        return "by its place in the policy"
    if winner.spec.priority != loser.spec.priority:
        return f"by priority {winner.spec.priority} over {loser.spec.priority}"
    if not is_tie(winner, loser):
        return "by naming the Service" if specificity(winner.spec) is Specificity.NAMED else "by selecting by label"
    return "by name only; give one of them a higher priority"
