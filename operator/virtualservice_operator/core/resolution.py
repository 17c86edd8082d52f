"""
A policy seen against the namespaces of the cluster: accepted or not, and which developers live where.

This depends on the policy and the Namespaces only, not on any Service, so it is done once per change of those.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from virtualservice_operator.api import names
from virtualservice_operator.api.conditions import Reason
from virtualservice_operator.api.v1alpha1 import DEVELOPER_NAME, DevelopersFrom, RoutingPolicySpec
from virtualservice_operator.core import labels
from virtualservice_operator.core.matches import RequestMatch, developer_matches, match_problems, matches_of
from virtualservice_operator.core.objects import Finding, Namespace, Policy
from virtualservice_operator.core.reject_body import body_problems


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """
    What the operator was started with, as far as a decision depends on it.

    `placeholder_delay`: for how many seconds the name of a Service that was deleted is left free.
    """

    cluster_domain: str = "cluster.local"
    istio_namespace: str = "istio-system"
    operator_namespace: str = "virtualservice-operator"
    requires_consent: bool = False
    requires_placeholder_consent: bool = True
    placeholder_delay: float = 0.0
    allows_templates: bool = True

    def is_denied(self, namespace: str) -> bool:
        """Tell whether a namespace is closed to policies and copies: Kubernetes' own, Istio's, the operator's."""
        return namespace.startswith("kube-") or namespace in (self.istio_namespace, self.operator_namespace)


def permits(namespace: Namespace, policy_namespace: str, settings: PlanSettings) -> bool:
    """
    Tell whether policies of one namespace may route to another.

    Where the annotation is absent, routes are permitted, unless the operator was started with --route-consent=Required.
    """
    return _permits(namespace, policy_namespace, by_default=not settings.requires_consent)


def permits_placeholders(namespace: Namespace, policy_namespace: str, settings: PlanSettings) -> bool:
    """
    Tell whether policies of one namespace may have placeholders in another.

    Where the annotation is absent they may not, unless the operator was started with --placeholder-consent=Optional.
    """
    if namespace.terminating or settings.is_denied(namespace.key.name):
        return False
    return _permits(namespace, policy_namespace, by_default=not settings.requires_placeholder_consent)


def _permits(namespace: Namespace, policy_namespace: str, *, by_default: bool) -> bool:
    if namespace.consents_to is None:
        return by_default
    return "*" in namespace.consents_to or policy_namespace in namespace.consents_to


def consent_command(namespace: str, permitted: Iterable[str]) -> str:
    """Return the command by which a namespace permits the policies of these namespaces, and of no others."""
    return f"kubectl annotate namespace {namespace} --overwrite {names.CONSENT_ANNOTATION}={','.join(permitted)}"


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
    `unchecked`: it has a template, and nobody has looked yet whether that compiles; until then nothing is decided.
    """

    policy: Policy
    rejection: Finding | None = None
    developers: tuple[ResolvedDeveloper, ...] = ()
    findings: tuple[Finding, ...] = ()
    namespaces: frozenset[str] = frozenset()
    unchecked: bool = False

    @property
    def is_in_force(self) -> bool:
        """Tell whether it contributes: accepted, and in mode Enforce."""
        return self.rejection is None and self.spec.mode == "Enforce"

    @property
    def observes(self) -> bool:
        """Tell whether it only says what it would change."""
        return self.rejection is None and self.spec.mode == "Observe"

    @property
    def freezes(self) -> bool:
        """Tell whether what it contributed to stays as it is: not accepted, or suspended."""
        return self.rejection is not None or self.spec.mode == "Suspended"

    @property
    def spec(self) -> RoutingPolicySpec:
        """Return the spec of an accepted policy."""
        if self.policy.spec is None:
            raise ValueError(f"{self.policy.key} has no valid spec")
        return self.policy.spec


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found about the template of one edition of a policy: `finding` is None where it compiles."""

    uid: str
    generation: int
    finding: Finding | None = None

    def is_about(self, policy: Policy) -> bool:
        """Tell whether it speaks of the policy as it is now."""
        return (self.uid, self.generation) == (policy.uid, policy.generation)


def resolve_policy(
    policy: Policy, namespaces: Mapping[str, Namespace], settings: PlanSettings, verdict: Verdict | None = None
) -> ResolvedPolicy:
    """
    Return the policy with its developers found, or with the reason why it is not accepted.

    `verdict`: on the policy's template, if it has one and somebody has looked.
    """
    if policy.spec is None or policy.problems:
        return ResolvedPolicy(policy, Finding(Reason.INVALID_SPEC, "; ".join(policy.problems)))
    if settings.is_denied(policy.key.namespace):
        return ResolvedPolicy(policy, _denied_policy(policy.key.namespace))
    problems = [*match_problems(policy.spec), *body_problems(policy.spec)]
    if problems:
        return ResolvedPolicy(policy, Finding(Reason.INVALID_SPEC, "; ".join(problems)))
    known = verdict if verdict is not None and verdict.is_about(policy) else None
    if policy.spec.template is not None and not settings.allows_templates:
        return ResolvedPolicy(policy, _TEMPLATES_DISABLED)
    if known is not None and known.finding is not None:
        return ResolvedPolicy(policy, known.finding)
    wanted = _wanted_namespaces(policy.spec, namespaces)
    developers: list[ResolvedDeveloper] = []
    findings: list[Finding] = []
    for name, listed in wanted.items():
        if not re.fullmatch(DEVELOPER_NAME, name):
            findings.extend(_name_finding(name, namespace) for namespace in listed)
            continue
        usable = []
        for namespace in listed:
            finding = _namespace_finding(name, namespace, policy, namespaces, settings)
            if finding is None:
                usable.append(namespace)
            else:
                findings.append(finding)
        matches = [
            found for match in matches_of(policy.spec) for found in developer_matches(match, name, listed, usable)
        ]
        developers.append(ResolvedDeveloper(name, tuple(usable), tuple(matches), listed[0]))
    reached = frozenset(namespace for developer in developers for namespace in developer.namespaces)
    unchecked = policy.spec.template is not None and known is None
    return ResolvedPolicy(policy, None, tuple(developers), tuple(findings), reached, unchecked)


_TEMPLATES_DISABLED: Final = Finding(
    Reason.INVALID_TEMPLATE,
    "spec.template: the operator was started with --templates=Disabled; remove it, or ask the platform team to allow it",
)


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


def _name_finding(developer: str, namespace: str) -> Finding:
    """
    Return why what `stripPrefix` leaves of a namespace's name cannot be a developer's: it begins with a dash.

    A listed name and a label's value never come here: the API server lets no other than good ones pass.
    """
    prefix, longer = namespace.removesuffix(developer), namespace.removesuffix(developer.lstrip("-"))
    return Finding(
        Reason.NAMESPACE_NOT_ALLOWED,
        f"namespace {namespace}: spec.developersFrom.stripPrefix: {prefix} leaves {developer}, which cannot be a "
        f"developer's name: it begins with a dash; write stripPrefix: {longer}",
    )


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
        # Nobody else loses by it: where the annotation is absent, nobody routes there yet.
        command = consent_command(name, (*(namespace.consents_to or ()), policy.key.namespace))
        return Finding(
            Reason.REF_NOT_PERMITTED,
            f"developer {developer}: namespace {name} does not permit policies of {policy.key.namespace}; to grant it: "
            f"{command}",
        )
    return None
