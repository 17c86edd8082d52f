"""What a copy is, and which one takes a developer's requests."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from virtualservice_operator.api import names
from virtualservice_operator.api.conditions import Reason
from virtualservice_operator.core.objects import Finding, Key, Service, ServicePort
from virtualservice_operator.core.resolution import ResolvedDeveloper, ResolvedPolicy
from virtualservice_operator.core.selection import governs, skip_finding
from virtualservice_operator.core.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class PortMapping:
    """A port of the default Service and the copy's port that takes its requests."""

    port: ServicePort
    target: ServicePort


@dataclass(frozen=True, slots=True)
class Copy:
    """A usable copy: the Service and the ports that map."""

    service: Service
    ports: tuple[PortMapping, ...]

    def target(self, port: ServicePort) -> ServicePort | None:
        """Return the copy's port for a port of the default Service."""
        return next((mapping.target for mapping in self.ports if mapping.port == port), None)


@dataclass(frozen=True, slots=True)
class CopyChoice:
    """The copy that takes a developer's requests, if there is one, and what was found on the way to it."""

    copy: Copy | None
    findings: tuple[Finding, ...] = ()


def choose_copies(
    snapshot: Snapshot, service: Service, policies: Sequence[ResolvedPolicy]
) -> dict[tuple[str, str], CopyChoice]:
    """Return the choice for each developer of each policy, by the names of both."""
    return {
        (policy.policy.key.name, developer.name): choose_copy(snapshot, service, developer)
        for policy in policies
        for developer in policy.developers
    }


def choose_copy(snapshot: Snapshot, service: Service, developer: ResolvedDeveloper) -> CopyChoice:
    """Return the first usable copy in the developer's namespaces, in their order."""
    findings: list[Finding] = []
    for namespace in developer.namespaces:
        candidate = _find_copy(snapshot, service.key, namespace)
        if isinstance(candidate, Finding):
            findings.append(candidate)
        elif candidate is not None:
            copy = Copy(candidate, tuple(map_ports(service, candidate)))
            findings.extend(_port_findings(service, copy))
            if copy.ports:
                return CopyChoice(copy, tuple(findings))
    return CopyChoice(None, tuple(findings))


def map_ports(service: Service, copy: Service) -> Iterator[PortMapping]:
    """
    Yield the ports of a Service that a copy has too: by name, else by number.

    Only ports that both sides declare as HTTP count: Istio applies `http` rules to no other.
    """
    by_name = {port.name: port for port in copy.http_ports}
    by_number = {port.number: port for port in copy.http_ports}
    for port in service.http_ports:
        target = by_name.get(port.name) or by_number.get(port.number)
        if target is not None:
            yield PortMapping(port, target)


def _find_copy(snapshot: Snapshot, key: Key, namespace: str) -> Service | Finding | None:
    """Return the Service in a namespace that is a copy of `key`, why none can be told, or None."""
    annotated = _annotated_in(snapshot, key, namespace)
    if len(annotated) > 1:
        listed = ", ".join(sorted(service.key.name for service in annotated))
        return Finding(
            Reason.AMBIGUOUS_COPY,
            f"{listed} in {namespace} are all annotated {names.COPY_OF_ANNOTATION}={key}; keep the annotation on one",
        )
    if annotated:
        return annotated[0]
    namesake = snapshot.service(Key(namespace, key.name))
    if namesake is None or namesake.copy_of is not None or not _can_be_copy(namesake):
        return None
    rivals = sorted(_rivals(snapshot, key, namespace))
    if rivals:
        return Finding(
            Reason.AMBIGUOUS_COPY,
            f"{namesake.key} could be a copy of {key} or of {rivals[0]}; to decide: kubectl annotate service "
            f"{key.name} -n {namespace} {names.COPY_OF_ANNOTATION}={key}",
        )
    return namesake


def _annotated_in(snapshot: Snapshot, key: Key, namespace: str) -> list[Service]:
    """Return the Services in a namespace that say they are the copy of `key`, and can be one."""
    found = snapshot.annotated_copies(key)
    return [service for service in found if service.key.namespace == namespace and _can_be_copy(service)]


def _can_be_copy(service: Service) -> bool:
    return not (service.placeholder or service.external_name or service.headless or service.ignored)


def why_no_copy(service: Service, key: Key) -> str | None:
    """Return why a Service of the name of `key` is never a copy of it, as a predicate; None where it can be one."""
    if service.placed is not None:
        return f"is the placeholder of {service.placed.source}"
    reasons = (
        (service.placeholder, f"is annotated {names.PLACEHOLDER_ANNOTATION}"),
        (service.ignored, f"is annotated {names.IGNORE_ANNOTATION}"),
        (service.external_name, "is of type ExternalName"),
        (service.headless, "is headless"),
        (service.copy_of not in (None, str(key)), f"is annotated {names.COPY_OF_ANNOTATION}={service.copy_of}"),
    )
    return next((why for applies, why in reasons if applies), None)


def _rivals(snapshot: Snapshot, key: Key, namespace: str) -> Iterator[Key]:
    """Yield Services of the same name whose policies would take the namesake in `namespace` for a copy of theirs."""
    for other in snapshot.policy_namespaces_reaching(namespace):
        rival = snapshot.service(Key(other, key.name))
        if other == key.namespace or rival is None or skip_finding(rival) is not None:
            continue
        if _annotated_in(snapshot, rival.key, namespace):
            continue
        if any(_would_route(policy, rival, namespace) for policy in snapshot.accepted(other)):
            yield rival.key


def _would_route(policy: ResolvedPolicy, service: Service, namespace: str) -> bool:
    """Tell whether a policy looks for copies of a Service in a namespace; a suspended one has not given them up."""
    return not policy.observes and namespace in policy.namespaces and governs(policy.spec, service)


def _port_findings(service: Service, copy: Copy) -> Iterator[Finding]:
    mapped = {mapping.port for mapping in copy.ports}
    missing = [port for port in service.http_ports if port not in mapped]
    if missing:
        listed = ", ".join(f"{port.label} ({port.number})" if port.name else port.label for port in missing)
        yield Finding(
            Reason.PORT_MISMATCH,
            f"{copy.service.key} has no HTTP port named or numbered like {listed}; those requests go to {service.key}",
        )
