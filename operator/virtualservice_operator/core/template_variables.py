"""The variables of a template, from what the planner knows of a Service; only those that the template mentions."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from virtualservice_operator.api import names
from virtualservice_operator.core.blocks import Blocks
from virtualservice_operator.core.copies import Copy, CopyChoice
from virtualservice_operator.core.objects import Key, Service
from virtualservice_operator.core.resolution import ResolvedDeveloper, ResolvedPolicy
from virtualservice_operator.core.routes import Sections
from virtualservice_operator.core.template import Template, variables_text


@dataclass(frozen=True, slots=True)
class Led:
    """A developer whose requests can go somewhere of their own: to a copy, or to a placeholder. `key` is its Service."""

    policy: str
    developer: str
    key: Key


@dataclass(frozen=True, slots=True)
class Scene:
    """
    What the VirtualService of one Service is made from; `policies` govern it, in precedence.

    `choices` are the copies and `places` the placeholders, by the names of policy and developer; `sections` the rules that
    the operator would write.
    """

    service: Service
    policies: Sequence[ResolvedPolicy]
    choices: Mapping[tuple[str, str], CopyChoice]
    places: Mapping[tuple[str, str], Key]
    sections: Sections
    blocks: Blocks
    domain: str

    @property
    def own_host(self) -> str:
        """Return the Service's full host name."""
        return self.host(self.service.key)

    def destinations(self) -> frozenset[str]:
        """Return the hosts that requests may be sent to: the Service, its copies, their placeholders."""
        copies = (choice.copy.service.key for choice in self.choices.values() if choice.copy is not None)
        return frozenset((self.own_host, *map(self.host, copies), *map(self.host, self.places.values())))

    def led(self) -> tuple[Led, ...]:
        """Return the developers who are led somewhere, each by the first policy that does; by policy, then name."""
        found: dict[str, Led] = {}
        for policy in self.policies:
            name = policy.policy.key.name
            for developer in sorted(policy.developers, key=lambda item: item.name):
                key = self._goal(name, developer.name)
                if key is not None:
                    found.setdefault(developer.name, Led(name, developer.name, key))
        return tuple(found.values())

    def _goal(self, policy: str, developer: str) -> Key | None:
        copy = self.choices[policy, developer].copy
        return copy.service.key if copy is not None else self.places.get((policy, developer))

    def host(self, key: Key) -> str:
        """Return a Service's full host name."""
        return names.service_fqdn(key.name, key.namespace, self.domain)

    def variables(self, template: Template, more: Mapping[str, Any]) -> str:
        """Return the variables as text, `more` among them; what the template does not mention is left out."""
        known = {name: value(self) for name, value in _VALUES.items() if template.mentions(name)}
        given = {name: value for name, value in more.items() if template.mentions(name)}
        # The helper fqdn needs the domain, mentioned or not.
        return variables_text({**known, **given, "ClusterDomain": self.domain})


def _developers(scene: Scene) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for policy in scene.policies:
        for developer in sorted(policy.developers, key=lambda item: item.name):
            if developer.namespaces:
                copy = scene.choices[policy.policy.key.name, developer.name].copy
                before = found.get(developer.name)
                if before is None or (copy is not None and not before["exists"]):
                    found[developer.name] = _developer(scene, developer, copy)
    return list(found.values())


def _developer(scene: Scene, developer: ResolvedDeveloper, copy: Copy | None) -> dict[str, Any]:
    key = copy.service.key if copy is not None else Key(developer.namespaces[0], scene.service.key.name)
    return {
        "name": developer.name,
        "namespace": key.namespace,
        "host": scene.host(key),
        "exists": copy is not None,
        "ports": list(_copied_ports(copy)) if copy is not None else [],
    }


def _copied_ports(copy: Copy) -> Iterator[dict[str, Any]]:
    """Yield which port of the copy takes the requests of a port of the Service."""
    for mapping in sorted(copy.ports, key=lambda item: item.port.number):
        yield {"name": mapping.port.name, "port": mapping.port.number, "target": mapping.target.number}


def _ports(scene: Scene) -> list[dict[str, Any]]:
    ports = sorted(scene.service.ports, key=lambda port: port.number)
    return [{"name": port.name, "port": port.number, "http": port.http} for port in ports]


_VALUES: Final[Mapping[str, Callable[[Scene], Any]]] = {
    "ServiceName": lambda scene: scene.service.key.name,
    "ServiceNamespace": lambda scene: scene.service.key.namespace,
    "ServiceFQDN": lambda scene: scene.own_host,
    "ServiceLabels": lambda scene: dict(sorted(scene.service.labels.items())),
    "ServiceAnnotations": lambda scene: dict(sorted(scene.service.annotations.items())),
    "ServicePorts": _ports,
    "Developers": _developers,
    "PolicyName": lambda scene: scene.blocks.templated.policy.policy.key.name if scene.blocks.templated else "",
    "SourceRules": lambda scene: list(scene.sections.sources()),
    "UnknownRules": lambda scene: list(scene.sections.unknown),
    "DefaultRules": lambda scene: list(scene.sections.default),
    "DefaultRule": lambda scene: scene.sections.default[0],
}
