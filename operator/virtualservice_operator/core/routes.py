"""
From who gets which request to the http rules of a VirtualService; the catch-all comes last.

Source: Istio takes the first rule that matches, and a port with rules but no catch-all answers 404 (docs/istio.md).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from virtualservice_operator.api import names
from virtualservice_operator.core.blocks import Blocks, route_settings
from virtualservice_operator.core.contest import Candidate, Contest, Target, TargetKind, in_rules
from virtualservice_operator.core.matches import MatchKind, presence_conditions
from virtualservice_operator.core.objects import Service, ServicePort
from virtualservice_operator.core.resolution import ResolvedPolicy
from virtualservice_operator.core.variables import substitute

Rule = dict[str, Any]


@dataclass(frozen=True, slots=True)
class WrittenRule:
    """One rule, and whose requests it takes: the names of policy and developer, and what becomes of them."""

    rule: Rule
    policy: str
    developer: str
    kind: TargetKind
    by_source: bool


@dataclass(frozen=True, slots=True)
class Sections:
    """
    The http rules of a Service, in their order.

    `developers` are those of one developer each, callers' namespaces last; then the rule for unknown developers, then
    the catch-alls.
    """

    developers: tuple[WrittenRule, ...]
    unknown: tuple[Rule, ...]
    default: tuple[Rule, ...]

    def explicit(self) -> tuple[Rule, ...]:
        """Return the rules for what a request says."""
        return tuple(item.rule for item in self.developers if not item.by_source)

    def sources(self) -> tuple[Rule, ...]:
        """Return the rules for where a request comes from."""
        return tuple(item.rule for item in self.developers if item.by_source)

    def all_rules(self) -> tuple[Rule, ...]:
        """Return all of them."""
        return (*self.explicit(), *self.sources(), *self.unknown, *self.default)


def write_rules(
    service: Service, policies: Sequence[ResolvedPolicy], contest: Contest, blocks: Blocks, domain: str
) -> Sections:
    """Return the http rules for a Service: developers', the one for unknown developers, the catch-all."""
    return Sections(
        tuple(
            WrittenRule(
                _developer_rule(service, members, blocks, domain),
                members[0].policy.policy.key.name,
                members[0].developer.name,
                members[0].target.kind,
                members[0].match.kind is MatchKind.SOURCE,
            )
            for members in in_rules(contest.winners, policies)
        ),
        tuple(_unknown_rules(service, policies, blocks)) if blocks.rejects_unknown else (),
        tuple(_default_rules(service, blocks, domain)),
    )


def _developer_rule(service: Service, members: Sequence[Candidate], blocks: Blocks, domain: str) -> Rule:
    first = members[0]
    several = len(service.ports) > 1
    source = ".source" if first.match.kind is MatchKind.SOURCE else ""
    reject = ".reject" if first.target.kind is TargetKind.REJECT else ""
    suffix = f".{first.port.label}" if several else ""
    explicit = several or _needs_port(first.target, first.port)
    port = {"port": first.port.number} if explicit else {}
    return {
        "name": f"{first.policy.policy.key.name}.{first.developer.name}{source}{reject}{suffix}",
        "match": [{**port, **member.match.condition()} for member in members],
        **_answer(service, first, blocks, domain, explicit=explicit),
    }


def _needs_port(target: Target, port: ServicePort) -> bool:
    """Without a port Istio falls back to the client's port number, which the copy may not have (docs/istio.md)."""
    if target.kind is not TargetKind.COPY or target.service is None or target.port is None:
        return False
    return len(target.service.ports) > 1 or target.port.number != port.number


def _answer(service: Service, candidate: Candidate, blocks: Blocks, domain: str, *, explicit: bool) -> Rule:
    target = candidate.target
    if target.service is None:
        values = {
            "DeveloperName": candidate.developer.name,
            "DeveloperNamespace": candidate.developer.home,
        }
        return _direct_response(service, blocks, values)
    settings = blocks.default_route if target.kind is TargetKind.DEFAULT else blocks.developer_route
    destination = _destination(target.service, domain, target.port if explicit else None)
    return {
        **route_settings(settings),
        **_receipt(target.service, blocks),
        "route": [{"destination": destination}],
    }


def _direct_response(service: Service, blocks: Blocks, developer: dict[str, str]) -> Rule:
    values = {"ServiceName": service.key.name, "ServiceNamespace": service.key.namespace, **developer}
    body = substitute(blocks.reject_body, values)
    return {"directResponse": {"status": blocks.reject_status, "body": {"string": body}}}


def _receipt(service: Service, blocks: Blocks) -> Rule:
    """Return the response header that says who answered."""
    if blocks.routed_to_header is None:
        return {}
    return {"headers": {"response": {"set": {blocks.routed_to_header: str(service.key)}}}}


def _destination(service: Service, domain: str, port: ServicePort | None) -> Rule:
    host = names.service_fqdn(service.key.name, service.key.namespace, domain)
    return {"host": host} if port is None else {"host": host, "port": {"number": port.number}}


def _unknown_rules(service: Service, policies: Sequence[ResolvedPolicy], blocks: Blocks) -> Iterator[Rule]:
    """Yield the rule that rejects whoever names a developer at all: the known ones were matched above it."""
    conditions = [condition for policy in policies for condition in presence_conditions(policy.spec)]
    distinct = [item for index, item in enumerate(conditions) if item not in conditions[:index]]
    if not distinct:
        return
    answer = _direct_response(service, blocks, dict.fromkeys(("DeveloperName", "DeveloperNamespace"), "unknown"))
    for port in service.http_ports if len(service.ports) > 1 else (None,):
        suffix = f".{port.label}" if port is not None else ""
        matched = {"port": port.number} if port is not None else {}
        yield {"name": f"unknown-developer{suffix}", "match": [{**matched, **item} for item in distinct], **answer}


def _default_rules(service: Service, blocks: Blocks, domain: str) -> Iterator[Rule]:
    settings = {**route_settings(blocks.default_route), **_receipt(service, blocks)}
    if len(service.ports) == 1:
        yield {"name": "default", **settings, "route": [{"destination": _destination(service, domain, None)}]}
        return
    for port in service.http_ports:
        yield {
            "name": f"default.{port.label}",
            "match": [{"port": port.number}],
            **settings,
            "route": [{"destination": _destination(service, domain, port)}],
        }


# ---- what a rule takes


def is_selective(rule: Rule) -> bool:
    """Tell whether a rule takes some requests of a port only."""
    matches = rule.get("match") or ()
    return bool(matches) and all(map(narrowing, matches))


def narrowing(match: Mapping[str, Any]) -> frozenset[str]:
    """
    Return the fields of a match that leave requests of its port out.

    An empty mapping leaves none out, nor does the beginning that every path has, nor the one gateway that is permitted.
    """
    filled = {key for key, value in match.items() if value not in ({}, {"prefix": "/"})}
    return frozenset(filled - {"port", "name", "gateways", "ignoreUriCase"})
