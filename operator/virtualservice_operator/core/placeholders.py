"""
Placeholders: Services that stand in a developer's namespace where a copy is missing.

    mode           the Service                                    the developer's requests
    ExternalName   leads to a name that nobody has                503, and the name stays taken
    NoEndpoints    has the ports and nothing behind them          503
    Alias          leads to the default Service                   the default; the short name works in their namespace

Created and never applied; only where the namespace says that it permits them. One that somebody makes their own is let
go. "alice had a copy" is remembered by the VirtualService's annotations and by where its rules lead, and by the placeholder
itself.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from virtualservice_operator.api import names
from virtualservice_operator.api.conditions import Reason
from virtualservice_operator.core.blocks import Blocks
from virtualservice_operator.core.changes import Action, Placeholder, PlaceholderChange
from virtualservice_operator.core.copies import CopyChoice, why_no_copy
from virtualservice_operator.core.objects import Finding, Key, Placed, Service
from virtualservice_operator.core.resolution import (
    ResolvedDeveloper,
    ResolvedPolicy,
    consent_command,
    permits_placeholders,
)
from virtualservice_operator.core.snapshot import Case, Snapshot

# A developer of a policy, by the names of both.
Whom = tuple[str, str]
# A message has room for a command that names as many; half a command would do harm.
_NAMED_IN_COMMAND: Final = 8


class Placement:
    """
    Which placeholders one Service has, and for whom; by `place`.

    `places` and `findings` are by developer of a policy. `remembered` are developers who had a copy, with the placeholder's
    namespace: while it stands, is about to be made, or something is in its way. `delayed` are wanted, and not made yet:
    whoever has just deleted a Service may be about to make it anew (`kubectl replace --force`). `due`: when to look again,
    in seconds since 1970.
    """

    def __init__(self, case: Case, service: Service, blocks: Blocks) -> None:
        observed = case.observed
        self.wanted: dict[Key, Placeholder] = {}
        self.places: dict[Whom, Key] = {}
        self.findings: dict[Whom, Finding] = {}
        self.remembered: set[tuple[str, str]] = set()
        self.delayed: set[Key] = set()
        self.due: float | None = None
        self._case, self._service, self._blocks = case, service, blocks
        # One that was taken over counts until it is let go: the route stays where it will be in a moment.
        self._standing = {item.key: item for item in case.snapshot.placeholders(service.key)}
        self._had_copies, self._copies_were_in = frozenset[str](), frozenset[str]()
        if observed is not None and observed.marked:
            self._had_copies = frozenset((observed.developers or "").split(","))
            self._copies_were_in = observed.destinations.union((observed.deleted_copies or "").split(","))

    def place(self, policies: Sequence[ResolvedPolicy], choices: Mapping[Whom, CopyChoice]) -> None:
        """Find the placeholders that are wanted; `policies` govern the Service, in precedence."""
        if not self._blocks.makes_placeholders:
            return
        # The annotation has developers' names only: whoever has a copy by another policy has lost none.
        self._had_copies -= {developer for (_, developer), choice in choices.items() if choice.copy is not None}
        for policy in policies:
            for developer in policy.developers:
                whom = (policy.policy.key.name, developer.name)
                if choices[whom].copy is None and developer.namespaces:
                    self._consider(policy.policy.key, whom, developer)

    def _key_for(self, developer: ResolvedDeveloper) -> Key:
        """Return where a developer's placeholder stands, else their first namespace."""
        keys = [Key(namespace, self._service.key.name) for namespace in developer.namespaces]
        return next((key for key in keys if key in self._standing), keys[0])

    def _had_copy(self, developer: ResolvedDeveloper) -> bool:
        """Tell whether a copy was routed; whoever was given other namespaces since has lost none there."""
        return developer.name in self._had_copies and not self._copies_were_in.isdisjoint(developer.namespaces)

    def _consider(self, policy: Key, whom: Whom, developer: ResolvedDeveloper) -> None:
        """Want a placeholder where there was a copy, unless its time is over or something is in its way."""
        key = self._key_for(developer)
        standing, taken = self._standing.get(key), self._case.snapshot.service(key)
        if standing is None and not (self._blocks.places_all or self._had_copy(developer)):
            return
        if standing is not None and self._is_over(standing):
            return
        self._remember(whom[1], key)
        if not self._is_permitted(key.namespace):
            self.findings[whom] = self._not_permitted(whom[1], key.namespace)
        elif standing is None and taken is not None:  # what exists is never overwritten
            if (finding := self._name_taken(whom[1], taken)) is not None:
                self.findings[whom] = finding
        else:
            self._want(policy, whom, key)
            if standing is None:
                self._delay(key)

    def _is_over(self, standing: Service) -> bool:
        """Tell whether a placeholder has stood for as long as it may."""
        seconds = self._blocks.placeholder_seconds
        return seconds is not None and not self._is_before(_placed(standing).created + seconds)

    def _delay(self, key: Key) -> None:
        """Leave the name of a Service that was just deleted free for a moment."""
        gone = self._case.snapshot.gone_since(key)
        if gone is not None and self._is_before(gone + self._case.snapshot.settings.placeholder_delay):
            self.delayed.add(key)

    def _is_before(self, moment: float) -> bool:
        """Tell whether a moment is still to come; then it is looked at again when it does."""
        if self._case.now >= moment:
            return False
        self.due = moment if self.due is None else min(self.due, moment)
        return True

    def _want(self, policy: Key, whom: Whom, key: Key) -> None:
        self.places[whom] = key
        before = self.wanted.get(key)
        if before is None:
            self.wanted[key] = Placeholder(key, self._service, self._external_name(), (policy,))
        elif policy not in before.policies:
            self.wanted[key] = replace(before, policies=(*before.policies, policy))

    def _external_name(self) -> str | None:
        match self._blocks.placeholder_mode:
            case "ExternalName":
                return self._blocks.external_name
            case "Alias":
                key = self._service.key
                return names.service_fqdn(key.name, key.namespace, self._case.snapshot.settings.cluster_domain)
            case _:
                return None

    def _remember(self, developer: str, key: Key) -> None:
        """
        Keep in mind that a developer had a copy; where every Service has a placeholder, that does not matter.

        Until the placeholder stands, which may be delayed or refused; then as before, so that nothing is written anew.
        """
        if not self._blocks.places_all:
            self.remembered.add((developer, key.namespace))

    def _is_permitted(self, name: str) -> bool:
        snapshot, namespace = self._case.snapshot, self._case.snapshot.namespace(name)
        return namespace is not None and permits_placeholders(namespace, self._service.key.namespace, snapshot.settings)

    def _not_permitted(self, developer: str, name: str) -> Finding:
        """
        Return the finding for a namespace that says nothing of whose policies it permits.

        They may route there until it says something; so the command that grants placeholders names all that do.
        """
        reaching, permitted = sorted(self._case.snapshot.policy_namespaces_reaching(name)), self._service.key.namespace
        if len(reaching) <= _NAMED_IN_COMMAND:
            remedy = f"to grant them, which closes it to all but these: {consent_command(name, reaching)}"
        else:
            remedy = (
                f"to grant them, annotate it with {names.CONSENT_ANNOTATION}, which closes it to all that are not listed: "
                f"policies of {len(reaching)} namespaces reach it now"
            )
        return Finding(
            Reason.REF_NOT_PERMITTED,
            f"developer {developer}: namespace {name} does not permit placeholders for {permitted}; {remedy}",
        )

    def _name_taken(self, developer: str, taken: Service) -> Finding | None:
        """
        Return the finding for a Service that has the placeholder's name and is no copy.

        Nothing is lost with an alias, which takes no requests; what could be a copy was spoken of when copies were chosen.
        """
        why = why_no_copy(taken, self._service.key)
        if why is None or not self._blocks.routes_placeholders:
            return None
        way_out = "" if taken.placed is not None else "delete or rename it, or "
        return Finding(
            Reason.REF_NOT_PERMITTED,
            f"developer {developer}: Service {taken.key} has the placeholder's name and {why}, so their requests go to "
            f"{self._service.key}; {way_out}set copies.whenMissing: Reject",
        )


# ---- changes


def placeholder_changes(
    snapshot: Snapshot, key: Key, wanted: Sequence[Placeholder] | None
) -> tuple[list[PlaceholderChange], list[PlaceholderChange]]:
    """
    Return what is done before the VirtualService is written, and what after.

    A placeholder is there before the VirtualService forgets its reason, and goes after the last rule that leads to it.
    `wanted`: None where those that stand stay, as far as their namespaces permit it.
    """
    before, after = [], []
    by_key = {item.key: item for item in wanted or ()}
    for standing in snapshot.placeholders(key):
        placed = _placed(standing)
        item = by_key.pop(standing.key, None)
        if placed.taken_over:
            before.append(_change(Action.RELEASE, standing, "somebody has made it their own"))
        elif item is not None:
            before.extend(_adjustment(item, standing, snapshot.settings.cluster_domain))
        elif not _stays(snapshot, key, standing, frozen=wanted is None):
            after.append(_change(Action.DELETE, standing, "nothing refers to it"))
    before.extend(_creation(item, snapshot.settings.cluster_domain) for item in by_key.values())
    return before, after


def placeholders_after(snapshot: Snapshot, key: Key, wanted: Sequence[Placeholder] | None) -> dict[Key, str | None]:
    """Return the placeholders that stand once these changes went through, each with the name that it leads to."""
    before, after = placeholder_changes(snapshot, key, wanted)
    found = {item.key: _placed(item).external_name for item in snapshot.placeholders(key)}
    for change in (*before, *after):
        if change.document is None:
            del found[change.target]
        else:
            found[change.target] = change.document["spec"].get("externalName")
    return dict(sorted(found.items()))


def _stays(snapshot: Snapshot, key: Key, standing: Service, *, frozen: bool) -> bool:
    """Tell whether one that no policy in force wants stays: frozen, and still permitted."""
    namespace = snapshot.namespace(standing.key.namespace)
    if namespace is None or not permits_placeholders(namespace, key.namespace, snapshot.settings):
        return False
    policies = (snapshot.policy(policy) for policy in _placed(standing).policies)
    return frozen or any(policy is not None and policy.freezes for policy in policies)


def _adjustment(item: Placeholder, standing: Service, domain: str) -> Iterator[PlaceholderChange]:
    """Yield what makes a placeholder as it is wanted. Its type cannot be changed, so then it is made anew."""
    placed = _placed(standing)
    if (placed.external_name is None) != (item.external_name is None):
        yield _change(Action.DELETE, standing, "another mode")
        yield _creation(item, domain)
    elif (why := _shortcoming(item, standing)) is not None:
        document = placeholder_document(item, domain)
        yield PlaceholderChange(Action.UPDATE, item.key, why, document, standing, item.policies)


def _shortcoming(item: Placeholder, standing: Service) -> str | None:
    """Return what of a placeholder of the right type is not as it is wanted, or None."""
    placed = _placed(standing)
    if (placed.external_name, placed.policies) != (item.external_name, item.policies) or (
        item.external_name is None and standing.ports != item.source.ports
    ):
        return "it differs from what is wanted"
    return "its fields were not given up, so deploying it would conflict" if placed.unfinished else None


def _creation(item: Placeholder, domain: str) -> PlaceholderChange:
    document = placeholder_document(item, domain)
    why = f"{item.source.key} has no copy there"
    return PlaceholderChange(Action.CREATE, item.key, why, document, None, item.policies)


def _change(action: Action, standing: Service, why: str) -> PlaceholderChange:
    return PlaceholderChange(action, standing.key, why, None, standing, _placed(standing).policies)


def placeholder_document(item: Placeholder, domain: str) -> dict[str, Any]:
    """Return a placeholder as it is created."""
    source = item.source.key
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": item.key.name,
            "namespace": item.key.namespace,
            "labels": {names.MANAGED_BY_LABEL: names.OPERATOR},
            "annotations": {
                names.PLACEHOLDER_ANNOTATION: "true",
                names.SOURCE_ANNOTATION: names.service_fqdn(source.name, source.namespace, domain),
                names.POLICIES_ANNOTATION: ",".join(map(str, item.policies)),
            },
        },
        "spec": _spec(item),
    }


def _spec(item: Placeholder) -> dict[str, Any]:
    if item.external_name is not None:
        return {"type": "ExternalName", "externalName": item.external_name}
    ports = [
        {
            **({"name": port.name} if port.name else {}),
            "port": port.number,
            "protocol": port.protocol,
            **({"appProtocol": port.app_protocol} if port.app_protocol else {}),
        }
        for port in item.source.ports
    ]
    return {"type": "ClusterIP", "ports": ports}


def _placed(service: Service) -> Placed:
    if service.placed is None:
        raise ValueError(f"{service.key} is no placeholder of ours")
    return service.placed
