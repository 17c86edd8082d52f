"""
From the policies that govern a Service, and the copies there are, to the http rules of its VirtualService.

    candidates   each policy x developer x match x port, in precedence
    winners      the first candidate of each (match, port); a later one that leads elsewhere is overridden
    rules        winners of one policy, kind, developer and port become one rule; the catch-all comes last

Source: Istio takes the first rule that matches, and a port with rules but no catch-all answers 404 (docs/istio.md).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from virtualservice_operator.api import names
from virtualservice_operator.core.copies import Copy, CopyChoice, choose_copy
from virtualservice_operator.core.objects import Finding, Service, ServicePort
from virtualservice_operator.core.precedence import explain_win, is_tie
from virtualservice_operator.core.resolution import MatchKind, RequestMatch, ResolvedPolicy
from virtualservice_operator.core.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Candidate:
    """One match of one developer on one port, and where its policy would send it."""

    policy: ResolvedPolicy
    developer: str
    match: RequestMatch
    port: ServicePort
    copy: Copy
    target: ServicePort

    @property
    def contest(self) -> tuple[RequestMatch, int]:
        """Return what only one candidate can have."""
        return (self.match, self.port.number)

    @property
    def destination(self) -> tuple[str, int]:
        """Return where the requests go; the same destination twice is no conflict."""
        return (str(self.copy.service.key), self.target.number)

    @property
    def rule(self) -> tuple[MatchKind, int, str, int]:
        """
        Return which rule of its policy it belongs to; they are written in this order.

        Exact values, then prefixes, the longest first, then regular expressions, then callers' namespaces; each by
        developer, then port.
        """
        length = len(self.match.value) if self.match.kind is MatchKind.PREFIX else 0
        return (self.match.kind, -length, self.developer, self.port.number)


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
        winner = self.winner.policy
        namespace = self.winner.copy.service.key.namespace
        return f"{self.winner.match} goes to {namespace} by {winner.policy.key.name} (priority {winner.spec.priority})"


@dataclass(frozen=True, slots=True)
class Routing:
    """
    What all policies together want of one Service.

    `developers` of each policy (by name) are those whose requests it sends to a copy, alone or with others.
    """

    http: tuple[dict[str, Any], ...]
    developers: dict[str, tuple[str, ...]]
    overrides: tuple[Override, ...]
    findings: dict[str, tuple[Finding, ...]]


def route(snapshot: Snapshot, service: Service, policies: Sequence[ResolvedPolicy]) -> Routing:
    """Return the http rules for a Service; `policies` are those that govern it, in precedence."""
    domain = snapshot.settings.cluster_domain
    choices = {
        (policy.policy.key.name, developer.name): choose_copy(snapshot, service, developer)
        for policy in policies
        for developer in policy.developers
    }
    candidates = [found for policy in policies for found in _candidates(service, policy, choices)]
    winners: dict[tuple[RequestMatch, int], Candidate] = {}
    credited: dict[str, set[str]] = {policy.policy.key.name: set() for policy in policies}
    overrides = []
    for candidate in candidates:
        winner = winners.setdefault(candidate.contest, candidate)
        if winner.destination == candidate.destination:
            credited[candidate.policy.policy.key.name].add(candidate.developer)
        else:
            overrides.append(Override(candidate.policy, winner))
    return Routing(
        http=(*_developer_rules(service, policies, winners.values(), domain), *_default_rules(service, domain)),
        developers={name: tuple(sorted(found)) for name, found in credited.items()},
        overrides=tuple(overrides),
        findings={name: tuple(_findings(name, choices)) for name in credited},
    )


def _candidates(
    service: Service, policy: ResolvedPolicy, choices: dict[tuple[str, str], CopyChoice]
) -> Iterator[Candidate]:
    """Yield what a policy would route: by developer (list order, then name), match, port."""
    for developer in policy.developers:
        copy = choices[policy.policy.key.name, developer.name].copy
        if copy is None:
            continue
        for match in developer.matches:
            rendered = match.for_service(service.key.name, service.key.namespace)
            for mapping in sorted(copy.ports, key=lambda mapping: mapping.port.number):
                yield Candidate(policy, developer.name, rendered, mapping.port, copy, mapping.target)


def _findings(policy: str, choices: dict[tuple[str, str], CopyChoice]) -> Iterator[Finding]:
    for (name, _), choice in choices.items():
        if name == policy:
            yield from choice.findings


def _developer_rules(
    service: Service, policies: Sequence[ResolvedPolicy], winners: Iterable[Candidate], domain: str
) -> Iterator[dict[str, Any]]:
    """
    Yield the rules by policy in precedence, and those for callers' namespaces after every explicit one.

    Otherwise alice's own pods could not ask for bob's copy.
    """
    order = {policy.policy.key.name: index for index, policy in enumerate(policies)}
    rules: dict[tuple[Any, ...], list[Candidate]] = {}
    for candidate in winners:
        is_source = candidate.match.kind is MatchKind.SOURCE
        place = (is_source, order[candidate.policy.policy.key.name], *candidate.rule)
        rules.setdefault(place, []).append(candidate)
    for _, members in sorted(rules.items(), key=lambda item: item[0]):
        yield _developer_rule(service, members, domain)


def _developer_rule(service: Service, members: Sequence[Candidate], domain: str) -> dict[str, Any]:
    first = members[0]
    several = len(service.ports) > 1
    source = ".source" if first.match.kind is MatchKind.SOURCE else ""
    suffix = f".{first.port.label}" if several else ""
    # Without a port Istio falls back to the client's port number, which the copy may not have (docs/istio.md).
    explicit = several or len(first.copy.service.ports) > 1 or first.target.number != first.port.number
    port = {"port": first.port.number} if explicit else {}
    return {
        "name": f"{first.policy.policy.key.name}.{first.developer}{source}{suffix}",
        "match": [{**port, **member.match.condition()} for member in members],
        "route": [{"destination": _destination(first.copy.service, domain, first.target if explicit else None)}],
    }


def _destination(service: Service, domain: str, port: ServicePort | None) -> dict[str, Any]:
    host = names.service_fqdn(service.key.name, service.key.namespace, domain)
    return {"host": host} if port is None else {"host": host, "port": {"number": port.number}}


def _default_rules(service: Service, domain: str) -> Iterator[dict[str, Any]]:
    if len(service.ports) == 1:
        yield {"name": "default", "route": [{"destination": _destination(service, domain, None)}]}
        return
    for port in service.http_ports:
        yield {
            "name": f"default.{port.label}",
            "match": [{"port": port.number}],
            "route": [{"destination": _destination(service, domain, port)}],
        }
