"""
Who gets a request: each match on each port goes to one candidate, the first in precedence of the strongest kind.

    copy      a developer's requests go to their copy
    stand-in  they go to the placeholder of a copy that is missing
    reject    they have none, and the policies say to answer at once
    default   they have none, or not on this port, but are known: only wanted where unknown developers are rejected

A copy beats a reject for the same match, whichever policy is first; a later copy that leads elsewhere is overridden.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

from virtualservice_operator.core.blocks import Blocks
from virtualservice_operator.core.copies import CopyChoice
from virtualservice_operator.core.matches import MatchKind, RequestMatch
from virtualservice_operator.core.objects import Finding, Key, Service, ServicePort
from virtualservice_operator.core.precedence import explain_win, is_tie
from virtualservice_operator.core.resolution import ResolvedDeveloper, ResolvedPolicy


class TargetKind(IntEnum):
    """Where requests go, the strongest first."""

    COPY = 0
    PLACEHOLDER = 1
    REJECT = 2
    DEFAULT = 3


@dataclass(frozen=True, slots=True)
class Target:
    """Where a candidate's requests go: a Service and its port, or nowhere (a reject)."""

    kind: TargetKind
    service: Service | None = None
    port: ServicePort | None = None

    @property
    def place(self) -> tuple[TargetKind, str, int]:
        """Return what makes two targets the same."""
        return (
            self.kind,
            str(self.service.key) if self.service is not None else "",
            self.port.number if self.port is not None else 0,
        )


@dataclass(frozen=True, slots=True)
class Candidate:
    """One match of one developer on one port, and where its policy would send it."""

    policy: ResolvedPolicy
    developer: ResolvedDeveloper
    match: RequestMatch
    port: ServicePort
    target: Target

    @property
    def contested(self) -> tuple[RequestMatch, int]:
        """Return what only one candidate can have."""
        return (self.match, self.port.number)

    @property
    def rule(self) -> tuple[MatchKind, int, str, TargetKind, int]:
        """
        Return which rule of its policy it belongs to; they are written in this order.

        Exact values, then prefixes, the longest first, then regular expressions, then callers' namespaces; each by
        developer, then port.
        """
        length = len(self.match.value) if self.match.kind is MatchKind.PREFIX else 0
        return (self.match.kind, -length, self.developer.name, self.target.kind, self.port.number)


@dataclass(frozen=True, slots=True)
class Override:
    """A match that goes where another policy (or an earlier entry of the same) sends it."""

    loser: ResolvedPolicy
    winner: Candidate

    @property
    def is_tie(self) -> bool:
        """Tell whether only the policies' names decided."""
        return self.loser.policy.key != self.winner.policy.policy.key and is_tie(self.winner.policy, self.loser)

    @property
    def how(self) -> str:
        """Return the match, the winner and by what it won."""
        winner = self.winner.policy
        return f"{self.winner.match}: {winner.policy.key.name} wins {explain_win(winner, self.loser)}"

    @property
    def where(self) -> str:
        """Return the match and where its requests go."""
        winner, service = self.winner.policy, self.winner.target.service
        namespace = service.key.namespace if service is not None else "nowhere"
        return f"{self.winner.match} goes to {namespace} by {winner.policy.key.name} (priority {winner.spec.priority})"


@dataclass(frozen=True, slots=True)
class Contest:
    """
    What came of it. All but `winners` and `overrides` are by policy name.

    `developers` are those whose requests a policy sends to a copy, alone or with others; `placed` those whose requests
    go to a placeholder; `rejected` those whose requests it has answered at once.
    """

    winners: tuple[Candidate, ...]
    developers: dict[str, tuple[str, ...]]
    placed: dict[str, tuple[str, ...]]
    rejected: dict[str, tuple[str, ...]]
    overrides: tuple[Override, ...]
    findings: dict[str, tuple[Finding, ...]]

    def leads_elsewhere(self) -> bool:
        """Tell whether some request goes elsewhere than to the default."""
        return any(winner.target.kind is not TargetKind.DEFAULT for winner in self.winners)

    def reached(self) -> frozenset[str]:
        """Return the namespaces that requests go to."""
        services = (winner.target.service for winner in self.winners)
        return frozenset(service.key.namespace for service in services if service is not None)


def contend(
    service: Service,
    policies: Sequence[ResolvedPolicy],
    choices: Mapping[tuple[str, str], CopyChoice],
    places: Mapping[tuple[str, str], Key],
    blocks: Blocks,
) -> Contest:
    """
    Return who gets which request to a Service.

    `policies` govern it, in precedence; `choices` are the copies and `places` the placeholders, by the names of policy
    and developer.
    """
    winners: dict[tuple[RequestMatch, int], Candidate] = {}
    credited: dict[TargetKind, dict[str, set[str]]] = {
        kind: {policy.policy.key.name: set() for policy in policies} for kind in TargetKind
    }
    overrides = []
    for candidate in _candidates(service, policies, choices, places, blocks):
        winner = winners.setdefault(candidate.contested, candidate)
        kind = candidate.target.kind
        if winner.target.place == candidate.target.place and (winner is candidate or kind is not TargetKind.REJECT):
            credited[kind][candidate.policy.policy.key.name].add(candidate.developer.name)
        elif kind is TargetKind.COPY:
            overrides.append(Override(candidate.policy, winner))
    return Contest(
        winners=tuple(winners.values()),
        developers=_by_policy(credited[TargetKind.COPY]),
        placed=_by_policy(credited[TargetKind.PLACEHOLDER]),
        rejected=_by_policy(credited[TargetKind.REJECT]),
        overrides=tuple(overrides),
        findings={policy.policy.key.name: tuple(_findings(policy.policy.key.name, choices)) for policy in policies},
    )


def _by_policy(credited: Mapping[str, set[str]]) -> dict[str, tuple[str, ...]]:
    return {policy: tuple(sorted(developers)) for policy, developers in credited.items()}


def _candidates(
    service: Service,
    policies: Sequence[ResolvedPolicy],
    choices: Mapping[tuple[str, str], CopyChoice],
    places: Mapping[tuple[str, str], Key],
    blocks: Blocks,
) -> Iterator[Candidate]:
    """Yield copies by precedence, then placeholders, then what else stands in for missing copies."""
    everyone = [(policy, developer) for policy in policies for developer in policy.developers]
    yield from _expand(
        service,
        (
            (policy, developer, mapping.port, Target(TargetKind.COPY, copy.service, mapping.target))
            for policy, developer in everyone
            if (copy := choices[policy.policy.key.name, developer.name].copy) is not None
            for mapping in sorted(copy.ports, key=lambda mapping: mapping.port.number)
        ),
    )
    if blocks.routes_placeholders:
        yield from _expand(
            service,
            (
                (policy, developer, port, Target(TargetKind.PLACEHOLDER, replace(service, key=key), port))
                for policy, developer in everyone
                if (key := places.get((policy.policy.key.name, developer.name))) is not None
                for port in service.http_ports
            ),
        )
    if blocks.rejects_missing:
        yield from _expand(
            service,
            (
                (policy, developer, port, Target(TargetKind.REJECT))
                for policy, developer in everyone
                if choices[policy.policy.key.name, developer.name].copy is None
                for port in service.http_ports
            ),
        )
    if blocks.rejects_unknown:
        yield from _expand(
            service,
            (
                (policy, developer, port, Target(TargetKind.DEFAULT, service, port))
                for policy, developer in everyone
                for port in _unserved_ports(service, choices[policy.policy.key.name, developer.name])
            ),
        )


def _unserved_ports(service: Service, choice: CopyChoice) -> Iterator[ServicePort]:
    """Yield the ports of a Service that a developer has no copy for: all of them, or those that the copy lacks."""
    for port in service.http_ports:
        if choice.copy is None or choice.copy.target(port) is None:
            yield port


def _expand(
    service: Service, found: Iterable[tuple[ResolvedPolicy, ResolvedDeveloper, ServicePort, Target]]
) -> Iterator[Candidate]:
    """Yield one candidate for each of the developer's matches, in their order."""
    for policy, developer, port, target in found:
        for match in developer.matches:
            rendered = match.for_service(service.key.name, service.key.namespace)
            yield Candidate(policy, developer, rendered, port, target)


def _findings(policy: str, choices: Mapping[tuple[str, str], CopyChoice]) -> Iterator[Finding]:
    for (name, _), choice in choices.items():
        if name == policy:
            yield from choice.findings


Place = tuple[Any, ...]


def in_rules(winners: Iterable[Candidate], policies: Sequence[ResolvedPolicy]) -> list[list[Candidate]]:
    """
    Return the winners by rule: by policy in precedence, callers' namespaces after every explicit rule.

    Otherwise alice's own pods could not ask for bob's copy.
    """
    order = {policy.policy.key.name: index for index, policy in enumerate(policies)}
    rules: dict[Place, list[Candidate]] = {}
    for candidate in winners:
        is_source = candidate.match.kind is MatchKind.SOURCE
        place = (is_source, order[candidate.policy.policy.key.name], *candidate.rule)
        rules.setdefault(place, []).append(candidate)
    return [members for _, members in sorted(rules.items(), key=lambda item: item[0])]
