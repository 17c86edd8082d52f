"""
The cluster as the planner sees it: slim, frozen values made by kube/decode.py.

Only what a decision needs is kept: thousands of Services stay in memory at one to two KiB each.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from virtualservice_operator.api.conditions import Reason
from virtualservice_operator.api.v1alpha1 import RoutingPolicySpec


class Key(NamedTuple):
    """A Service's place: the unit of work. Other objects are named by it too."""

    namespace: str
    name: str

    @classmethod
    def parse(cls, text: str) -> "Key":
        """Return the key for namespace/name."""
        namespace, _, name = text.partition("/")
        return cls(sys.intern(namespace), sys.intern(name))

    def __str__(self) -> str:
        """Return namespace/name, as kubectl and Istio write it."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Finding:
    """A user's mistake or a missing piece: a reason of the contract and a message with the remedy."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One port; `http` says whether Istio applies `http` rules to it. An unnamed port has the name ''."""

    name: str
    number: int
    http: bool
    protocol: str = "TCP"
    app_protocol: str | None = None

    @property
    def label(self) -> str:
        """Return the port's name, else its number, as it appears in names of rules."""
        return self.name or str(self.number)


@dataclass(frozen=True, slots=True)
class Placed:
    """
    What is known of a placeholder that we made.

    `source` is the Service it stands for, `policies` are those it was made for; `external_name` is
    None for one without endpoints; `created` in seconds since 1970. `taken_over`: somebody else owns a part of it, or
    has taken a mark off. `unfinished`: our field manager still owns what it gives up after each write.
    """

    source: Key
    policies: tuple[Key, ...]
    uid: str
    created: float
    external_name: str | None = None
    taken_over: bool = False
    unfinished: bool = False


@dataclass(frozen=True, slots=True)
class Service:
    """
    A core/v1 Service. `external_name` and `headless` Services are neither routed nor copies.

    Nor is one with the annotation of a placeholder, whoever made it; `placed` is set for ours. `annotations` are for
    templates: all but what kubectl keeps there for itself.
    """

    key: Key
    version: int
    labels: Mapping[str, str]
    ports: tuple[ServicePort, ...]
    external_name: bool = False
    headless: bool = False
    gateway: bool = False
    placeholder: bool = False
    placed: Placed | None = None
    ignored: bool = False
    copy_of: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def http_ports(self) -> tuple[ServicePort, ...]:
        """Return the ports that `http` rules apply to, by number."""
        return tuple(sorted((port for port in self.ports if port.http), key=lambda port: port.number))


@dataclass(frozen=True, slots=True)
class Namespace:
    """
    A Namespace; one that is being deleted counts as absent.

    `consents_to`: the namespaces whose policies it permits, `*` for all; None where it does not say.
    """

    key: Key
    version: int
    labels: Mapping[str, str]
    terminating: bool = False
    consents_to: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """
    A RoutingPolicy. `problems` is what is wrong with the stored spec; where it does not fit the schema, `spec` is None.

    `departing`: deleted a moment ago. Until its grace is over nothing is written on its account, so that a policy
    that is deleted and made anew (GitOps replace) changes no route. `conditions` and `status_digest` are of the status
    as it is stored, so that nothing is written twice.
    """

    key: Key
    version: int
    uid: str
    generation: int
    spec: RoutingPolicySpec | None
    problems: tuple[str, ...] = ()
    departing: bool = False
    observed_generation: int | None = None
    conditions: tuple[Mapping[str, Any], ...] = ()
    status_digest: str = ""


@dataclass(frozen=True, slots=True)
class VirtualService:
    """
    A VirtualService, ours or foreign.

    `spec_digest` stands for the whole spec: equal digests, equal specs. `policies`, `developers` and
    `deleted_copies` are our annotations as written; `owners` the (name, uid) of RoutingPolicies in ownerReferences; `destinations` the
    namespaces its routes lead to (kept for ours only); `managers` the field managers other than ours. `extras` are the
    labels and annotations that are not the operator's, `applied` those of them that it has written for a template, both
    by `labels/KEY` or `annotations/KEY` (kept for ours only).
    """

    key: Key
    version: int
    uid: str
    created: str
    hosts: tuple[str, ...]
    spec_digest: str
    gateways: tuple[str, ...] = ()
    export_to: tuple[str, ...] = ()
    marked: bool = False
    released: bool = False
    adoptable: bool = False
    service_label: str | None = None
    policies: str | None = None
    developers: str | None = None
    deleted_copies: str | None = None
    owners: frozenset[tuple[str, str]] = frozenset()
    destinations: frozenset[str] = frozenset()
    managers: tuple[str, ...] = ()
    extras: Mapping[str, str] = field(default_factory=dict)
    applied: frozenset[str] = frozenset()

    @property
    def rank(self) -> tuple[str, str, str]:
        """
        Return its place among VirtualServices that claim one host: the smallest owns the host.

        Source: istio/istio:pilot/pkg/model/config.go, sortConfigByCreationTime.
        """
        return (self.created, self.key.name, self.key.namespace)


ClusterObject = Service | Namespace | Policy | VirtualService
