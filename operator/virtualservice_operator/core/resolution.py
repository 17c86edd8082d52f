"""
A policy seen against the namespaces of the cluster: accepted or not, and which developers live where.

This depends on the policy and the Namespaces only, not on any Service, so it is done once per change of those.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, Final

import re2

from virtualservice_operator.api import names
from virtualservice_operator.api.conditions import Reason
from virtualservice_operator.api.v1alpha1 import DevelopersFrom, Match, RoutingPolicySpec
from virtualservice_operator.core import labels
from virtualservice_operator.core.objects import Finding, Namespace, Policy
from virtualservice_operator.core.variables import NAMES, substitute, unknown_variables

VALUE_LIMIT: Final = 1024
_DEFAULT_MATCHES: Final = (Match(type="Header", name=names.DEFAULT_HEADER),)


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """What the operator was started with, as far as a decision depends on it."""

    cluster_domain: str = "cluster.local"
    istio_namespace: str = "istio-system"
    operator_namespace: str = "virtualservice-operator"
    requires_consent: bool = False

    def is_denied(self, namespace: str) -> bool:
        """Tell whether a namespace is closed to policies and copies: Kubernetes' own, Istio's, the operator's."""
        return namespace.startswith("kube-") or namespace in (self.istio_namespace, self.operator_namespace)


def permits(namespace: Namespace, policy_namespace: str, settings: PlanSettings) -> bool:
    """
    Tell whether policies of one namespace may route to another.

    Where the annotation is absent, routes are permitted, unless the operator was started with --route-consent=Required.
    """
    if namespace.consents_to is None:
        return not settings.requires_consent
    return "*" in namespace.consents_to or policy_namespace in namespace.consents_to


class MatchKind(IntEnum):
    """The kinds of match in the order their rules are written: a prefix `al` must not take alice's requests."""

    EXACT = 0
    PREFIX = 1
    REGEX = 2
    SOURCE = 3


@dataclass(frozen=True, slots=True)
class RequestMatch:
    """
    How a request names one developer: a header compared with a value, or the caller's namespace (no header).

    `value` still holds the Service's variables, if the user wrote any. A member of the baggage and a cookie are exact
    values to the user and regular expressions to Istio: `kind` says where the rule stands, `comparison` how it compares.
    """

    kind: MatchKind
    header: str
    comparison: str
    value: str

    def for_service(self, name: str, namespace: str) -> "RequestMatch":
        """Return the match with the Service's variables replaced."""
        if "{{" not in self.value:
            return self
        values = {"ServiceName": name, "ServiceNamespace": namespace}
        return replace(self, value=substitute(self.value, values, _escape_for(self.comparison)))

    def condition(self) -> dict[str, Any]:
        """Return it as part of a VirtualService's match."""
        if self.kind is MatchKind.SOURCE:
            return {"sourceNamespace": self.value}
        return {"headers": {self.header: {self.comparison: self.value}}}

    def __str__(self) -> str:
        """Return it as it is shown in messages."""
        if self.kind is MatchKind.SOURCE:
            return f"callers in {self.value}"
        return f"{self.header}{_SIGNS[self.comparison]}{self.value}"


_SIGNS: Final = {"exact": "=", "prefix": "=^", "regex": "=~"}


@dataclass(frozen=True, slots=True)
class ResolvedDeveloper:
    """
    A developer with the namespaces that may hold copies, in order, and the matches that name them.

    `home` is the first namespace listed for them, whether it can be used or not.
    """

    name: str
    namespaces: tuple[str, ...]
    matches: tuple[RequestMatch, ...]
    home: str = ""


@dataclass(frozen=True, slots=True)
class ResolvedPolicy:
    """
    A policy ready for planning.

    `rejection` is set where it is not accepted; it then has no developers. `findings` name developers' namespaces
    that could not be used: each costs that developer only. `namespaces` are all that the developers reach.
    """

    policy: Policy
    rejection: Finding | None = None
    developers: tuple[ResolvedDeveloper, ...] = ()
    findings: tuple[Finding, ...] = ()
    namespaces: frozenset[str] = frozenset()

    @property
    def spec(self) -> RoutingPolicySpec:
        """Return the spec of an accepted policy."""
        if self.policy.spec is None:
            raise ValueError(f"{self.policy.key} has no valid spec")
        return self.policy.spec


def resolve_policy(policy: Policy, namespaces: Mapping[str, Namespace], settings: PlanSettings) -> ResolvedPolicy:
    """Return the policy with its developers found, or with the reason why it is not accepted."""
    if policy.spec is None:
        return ResolvedPolicy(policy, Finding(Reason.INVALID_SPEC, "; ".join(policy.problems)))
    if settings.is_denied(policy.key.namespace):
        return ResolvedPolicy(policy, _denied_policy(policy.key.namespace))
    problems = [*_match_problems(policy.spec)]
    if problems:
        return ResolvedPolicy(policy, Finding(Reason.INVALID_SPEC, "; ".join(problems)))
    wanted = _wanted_namespaces(policy.spec, namespaces)
    developers, findings = [], []
    for name, listed in wanted.items():
        usable = []
        for namespace in listed:
            finding = _namespace_finding(name, namespace, policy, namespaces, settings)
            if finding is None:
                usable.append(namespace)
            else:
                findings.append(finding)
        matches = [
            found for match in _matches(policy.spec) for found in _developer_matches(match, name, listed, usable)
        ]
        developers.append(ResolvedDeveloper(name, tuple(usable), tuple(matches), listed[0]))
    reached = frozenset(namespace for developer in developers for namespace in developer.namespaces)
    return ResolvedPolicy(policy, None, tuple(developers), tuple(findings), reached)


def depends_on_namespace(policy: Policy, versions: Iterable[Namespace]) -> bool:
    """Tell whether a Namespace, in any of these versions, can change what the policy resolves to."""
    spec = policy.spec
    if spec is None:
        return False
    source = _source(spec)
    return any(
        (source is not None and _is_selected(source, namespace))
        or any(namespace.key.name in (developer.namespaces or (developer.name,)) for developer in spec.developers or ())
        for namespace in versions
    )


def _matches(spec: RoutingPolicySpec) -> tuple[Match, ...]:
    return spec.matches or _DEFAULT_MATCHES


def _source(spec: RoutingPolicySpec) -> DevelopersFrom | None:
    """Return where developers are found by label: by default, only when none are listed."""
    return spec.developers_from or (DevelopersFrom() if spec.developers is None else None)


def _wanted_namespaces(spec: RoutingPolicySpec, namespaces: Mapping[str, Namespace]) -> dict[str, tuple[str, ...]]:
    """Return each developer's namespaces: the listed ones in their order, then the labelled ones by name."""
    wanted = {developer.name: developer.namespaces or (developer.name,) for developer in spec.developers or ()}
    source = _source(spec)
    found = _labelled(source, namespaces) if source is not None else ()
    for developer, namespace in sorted(found):
        known = wanted.get(developer, ())
        if namespace not in known:
            wanted[developer] = (*known, namespace)
    return wanted


def _labelled(source: DevelopersFrom, namespaces: Mapping[str, Namespace]) -> Iterator[tuple[str, str]]:
    label = source.name_label or names.DEVELOPER_LABEL
    for name, namespace in namespaces.items():
        if not namespace.terminating and _is_selected(source, namespace):
            yield namespace.labels.get(label) or name.removeprefix(source.strip_prefix or "") or name, name


def _is_selected(source: DevelopersFrom, namespace: Namespace) -> bool:
    if source.namespace_selector is not None:
        return labels.matches(source.namespace_selector, namespace.labels)
    return (source.name_label or names.DEVELOPER_LABEL) in namespace.labels


def _developer_matches(
    match: Match, developer: str, listed: tuple[str, ...], usable: Sequence[str]
) -> list[RequestMatch]:
    """
    Return how one developer is named by one entry of `spec.matches`; a caller's namespace must be a usable one.

    `listed` are the developer's namespaces in order, `usable` those of them that exist and are allowed.
    """
    match match.type:
        case "Baggage":
            return [RequestMatch(MatchKind.EXACT, "baggage", "regex", _member(match.name or "", developer))]
        case "Cookie":
            return [RequestMatch(MatchKind.EXACT, "cookie", "regex", _cookie(match.name or "", developer))]
        case "SourceNamespace":
            return [RequestMatch(MatchKind.SOURCE, "", "", listed[0])] if listed[0] in usable else []
        case "Header":
            comparison = (match.match_type or "Exact").lower()
            values = {"DeveloperName": developer, "DeveloperNamespace": listed[0]}
            value = substitute(match.value or names.DEVELOPER_NAME_VARIABLE, values, _escape_for(comparison))
            return [RequestMatch(MatchKind[comparison.upper()], match.name or "", comparison, value)]


def presence_conditions(spec: RoutingPolicySpec) -> Iterator[dict[str, Any]]:
    """
    Yield conditions that hold where a request names any developer at all, by an exact header, baggage or a cookie.

    Other matches have no such thing: a prefix or a pattern says nothing of requests it does not match.
    """
    for match in _matches(spec):
        if match.type == "Baggage":
            yield {"headers": {"baggage": {"regex": rf"(.*,)?\s*{re.escape(match.name or '')}=.*"}}}
        elif match.type == "Cookie":
            yield {"headers": {"cookie": {"regex": rf"(.*;\s*)?{re.escape(match.name or '')}=.*"}}}
        elif match.type == "Header" and match.match_type in (None, "Exact"):
            yield {"headers": {match.name: {"regex": ".+"}}}


def _member(name: str, value: str) -> str:
    """
    Return the regular expression for a member of the baggage header, with boundaries: ann is not annabel.

    Source: W3C Baggage: members are parted by commas, their properties by semicolons, white space around is allowed.
    """
    return rf"(.*,)?\s*{re.escape(name)}={re.escape(value)}\s*([,;].*)?"


def _cookie(name: str, value: str) -> str:
    """Return the regular expression for a cookie. Source: RFC 6265, pairs are parted by a semicolon and a space."""
    return rf"(.*;\s*)?{re.escape(name)}={re.escape(value)}(;.*)?"


def _escape_for(comparison: str) -> Callable[[str], str]:
    return re.escape if comparison == "regex" else str


def _denied_policy(namespace: str) -> Finding:
    return Finding(
        Reason.NAMESPACE_NOT_ALLOWED,
        f"namespace {namespace} is a system namespace: no policy is honoured there; move the policy to the namespace "
        "of the Services it is for",
    )


def _namespace_finding(
    developer: str, name: str, policy: Policy, namespaces: Mapping[str, Namespace], settings: PlanSettings
) -> Finding | None:
    """Return why a developer's namespace cannot be used, or None."""
    if name == policy.key.namespace:
        return Finding(
            Reason.NAMESPACE_NOT_ALLOWED,
            f"developer {developer}: {name} is the policy's own namespace; copies live in namespaces of their own",
        )
    if settings.is_denied(name):
        return Finding(
            Reason.NAMESPACE_NOT_ALLOWED,
            f"developer {developer}: {name} is a system namespace; copies live in namespaces of their own",
        )
    namespace = namespaces.get(name)
    if namespace is None or namespace.terminating:
        return Finding(
            Reason.NAMESPACE_NOT_FOUND,
            f"developer {developer}: there is no namespace {name}; create it, or correct the entry in spec.developers",
        )
    if not permits(namespace, policy.key.namespace, settings):
        granted = ",".join((*(namespace.consents_to or ()), policy.key.namespace))
        return Finding(
            Reason.REF_NOT_PERMITTED,
            f"developer {developer}: namespace {name} does not permit policies of {policy.key.namespace}; to grant it: "
            f"kubectl annotate namespace {name} --overwrite {names.CONSENT_ANNOTATION}={granted}",
        )
    return None


def _match_problems(spec: RoutingPolicySpec) -> Iterator[str]:
    """Yield what is wrong with `spec.matches` and the schema cannot see. It depends on no developer and no Service."""
    for index, match in enumerate(_matches(spec)):
        field = f"spec.matches[{index}].value"
        value = match.value or names.DEVELOPER_NAME_VARIABLE
        if unknown := unknown_variables(value):
            yield f"{field}: {{{{ {unknown[0]} }}}} is not a variable; use one of {', '.join(NAMES)}"
            continue
        # A name has 63 characters at the most; in a Regex each of them may need a backslash.
        longest = 126 if match.match_type == "Regex" else 63
        length = len(substitute(value, dict.fromkeys(NAMES, "n" * longest)))
        if length > VALUE_LIMIT:
            yield (
                f"{field}: {length} characters when each variable takes {longest}; Istio takes {VALUE_LIMIT}; shorten it"
            )
        elif match.match_type == "Regex":
            yield from _regex_problems(field, value)


def _regex_problems(field: str, value: str) -> Iterator[str]:
    try:
        re2.compile(substitute(value, dict.fromkeys(NAMES, "x")), _quiet())
    except re2.error as error:
        yield f"{field}: {value!r} is not an RE2 regular expression: {_text(error)}; Istio knows no other kind"


def _quiet() -> "re2.Options":
    options = re2.Options()
    options.log_errors = False
    return options


def _text(error: Exception) -> str:
    argument = error.args[0] if error.args else error
    return argument.decode() if isinstance(argument, bytes) else str(argument)
