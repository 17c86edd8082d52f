"""A small world that is changed step by step, with the operator's part done on the keys that each step touches."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from hypothesis import strategies as st

from builders import SETTINGS, entries_of, namespace, outcome, policy, service, virtual_service
from virtualservice_operator.api import names
from virtualservice_operator.controller.ledger import Ledger, editions_of
from virtualservice_operator.controller.store import KINDS, Store
from virtualservice_operator.core.changes import Action, Change, PlaceholderChange, ServicePlan
from virtualservice_operator.core.objects import ClusterObject, Key, Namespace, Policy, Service, VirtualService
from virtualservice_operator.core.plan import plan_service
from virtualservice_operator.core.report import policy_status
from virtualservice_operator.core.snapshot import Snapshot

POLICY_NAMESPACES: Final = ("shop", "pay")
DEVELOPER_NAMESPACES: Final = ("alice", "bob")
SERVICES: Final = ("api", "web")
PLACES: Final = [Key(where, name) for where in (*POLICY_NAMESPACES, *DEVELOPER_NAMESPACES) for name in SERVICES]
KEYS: Final = [*PLACES, Key("shop", "stray")]
_MARK: Final = {names.MANAGED_BY_LABEL: names.OPERATOR}


class World:
    """A cluster, and the operator's store, planner and ledger, which work on touched keys only, as fast as they come."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.changes: list[Change | PlaceholderChange] = []
        self.reviewed: set[Key] = set()
        self._touched: set[Key] = set()
        self._now = 0
        self._store = Store(SETTINGS, self._touched.add, self.reviewed.add)
        for kind in KINDS:
            self._store.replace_all(kind, (), 0)

    @property
    def cluster(self) -> Snapshot:
        return self._store.snapshot

    def apply(self, step: "Step") -> None:
        """Let one object come, change or go, and the operator do what follows from it. What is not there cannot go."""
        self._now += 1
        known = next((item for item in self.cluster.all_of(type(step.item)) if item.key == step.item.key), None)
        if not step.goes:
            self._store.put(self._stored(step.item, known))
        elif known is not None:
            self._store.drop(replace(known, version=self._now))
            if isinstance(known, Policy):
                self.ledger.forget(known.key)  # as the status writer does
        while self._touched:
            key = min(self._touched)
            self._touched.remove(key)
            self._work(key)

    def told(self) -> dict[Key, dict[str, tuple[Any, ...]]]:
        """Return what the policies were told of each Service; one that is not accepted, of what it froze."""
        found: dict[Key, dict[str, tuple[Any, ...]]] = {}
        for resolved in self.cluster.all_policies():
            policy = resolved.policy.key
            for name, entry in self.ledger.standing(self.cluster, resolved, None).entries.items():
                if resolved.rejection is None or entry.state == "Frozen":
                    found.setdefault(Key(policy.namespace, name), {})[policy.name] = entries_of(entry)
        return found

    def statuses(self) -> dict[Key, dict[str, Any]]:
        """Return what the status of each policy that is here to stay would be, but for its generation."""
        return {
            resolved.policy.key: policy_status(self.ledger.standing(self.cluster, resolved, 0), (), "now")
            for resolved in self.cluster.all_policies()
            if not resolved.policy.departing
        }

    def _stored(self, item: ClusterObject, known: ClusterObject | None) -> ClusterObject:
        """Return an object with what the API server gives it: versions, and generations of policies."""
        if isinstance(item, Policy):
            uid = known.uid if isinstance(known, Policy) else f"uid-{self._now}"
            return replace(item, version=self._now, generation=self._now, uid=uid)
        if isinstance(item, VirtualService):
            uid = known.uid if isinstance(known, VirtualService) else f"uid-{self._now}"
            return replace(item, version=self._now, uid=uid)
        return replace(item, version=self._now)

    def _work(self, key: Key) -> None:
        plan = plan_service(self.cluster, key, time.time())
        if plan.waiting:
            return
        self.changes += plan.changes
        for change in plan.changes:
            self._now += 1
            if change.action is not Action.DELETE:
                self._enter(self._written(change))
            elif isinstance(change.observed, VirtualService):
                self._store.forget_deleted(change.observed)
            elif change.observed is not None:
                self._store.forget_placeholder(change.observed)
        self.reviewed |= self.ledger.record(key, plan.entries, editions_of(self.cluster, key.namespace))

    def _enter(self, written: VirtualService | Service) -> None:
        if isinstance(written, Service):
            self._store.put_answer(written)
        else:
            self._store.put_written(written)

    def _written(self, change: Change | PlaceholderChange) -> VirtualService | Service:
        """Return what the API server would store."""
        found = outcome(change)
        assert found is not None
        if isinstance(found, Service):
            return replace(found, version=self._now)
        observed = change.observed if isinstance(change.observed, VirtualService) else None
        uid = f"uid-{self._now}" if observed is None else observed.uid
        created = f"2026-01-01T{self._now:06}" if observed is None else observed.created
        return replace(found, version=self._now, uid=uid, created=created)


@dataclass(frozen=True)
class Step:
    """An object that comes (or takes the place of the one that was there), or goes."""

    item: ClusterObject
    goes: bool = False

    def __repr__(self) -> str:
        kind, shown = type(self.item).__name__, [f"{self.item.key}"]
        if not self.goes:
            values = ((name, getattr(self.item, name)) for name in self.item.__slots__ if name not in _DULL)
            shown += [f"{name}={value}" for name, value in values if value]
        return f"{'-' if self.goes else '+'} {kind} {', '.join(shown)}"


_DULL: Final = {"key", "version", "uid", "spec_digest", "status_digest", "generation"}


def plan_all(world: World) -> Iterator[ServicePlan]:
    """Yield the plan of every key there may be, made anew."""
    for key in KEYS:
        yield plan_service(world.cluster, key, time.time())


def said(plan: ServicePlan) -> dict[str, tuple[Any, ...]]:
    """Return all that a plan says to its policies, in values that can be compared."""
    return {name: entries_of(entry) for name, entry in plan.entries.items()}


# ---- steps

_ports = st.sampled_from([{"http": 80}, {"http": 8080}, {"http": 80, "grpc": 9090}, {"tcp": 5432}])
_annotations = st.sampled_from(
    [
        *[{}] * 5,
        {names.COPY_OF_ANNOTATION: "shop/api"},
        {names.COPY_OF_ANNOTATION: "pay/api"},
        {names.COPY_OF_ANNOTATION: "pay/api", names.IGNORE_ANNOTATION: "true"},
        {names.IGNORE_ANNOTATION: "true"},
        {names.PLACEHOLDER_ANNOTATION: "true"},
        {
            names.PLACEHOLDER_ANNOTATION: "true",
            names.SOURCE_ANNOTATION: "api.shop.svc.cluster.local",
            names.POLICIES_ANNOTATION: "shop/p",
        },
    ]
)
_placeholders = st.sampled_from(
    [
        {"mode": "ExternalName"},
        {"mode": "NoEndpoints"},
        {"mode": "Alias"},
        {"mode": "Alias", "createFor": "AllServices"},
        {"mode": "Disabled"},
    ]
)
_matches = st.sampled_from(
    [
        [{"type": "Header", "name": "x-developer"}],
        [{"type": "Header", "name": "x", "matchType": "Prefix"}, {"type": "Header", "name": "y", "matchType": "Regex"}],
        [{"type": "Baggage", "name": "dev"}, {"type": "Cookie", "name": "dev"}],
        [{"type": "Header", "name": "x", "value": "{{ Developer }}"}],
        [{"type": "Header", "name": "x", "matchType": "Regex", "value": "(?=x){{ DeveloperName }}"}],
        [{"type": "Header", "name": "x", "value": "{{ DeveloperNamespace }}"}],
        [{"type": "Header", "name": "x-developer"}, {"type": "SourceNamespace"}],
    ]
)
_developer = st.fixed_dictionaries(
    {"name": st.sampled_from(["alice", "bob"])},
    optional={
        "namespaces": st.sampled_from([["alice"], ["bob", "alice"], ["alice", "bob"], ["gone", "kube-x", "bob"]])
    },
)
_specs = st.fixed_dictionaries(
    {},
    optional={
        "priority": st.sampled_from([-1, 0, 1]),
        "services": st.sampled_from(
            [{"names": ["api"]}, {"excludedNames": ["api"]}, {"selector": {"matchLabels": {"tier": "a"}}}]
        ),
        "developers": st.lists(_developer, max_size=2, unique_by=lambda item: item["name"]),
        "developersFrom": st.sampled_from([{}, {"namespaceSelector": {"matchLabels": {"sandbox": "yes"}}}]),
        "matches": _matches,
        "copies": st.sampled_from([{"whenMissing": "Reject"}, {"unknownDeveloper": "Reject"}]),
        "exportTo": st.just(["."]),
        "placeholder": _placeholders,
        "virtualServiceFor": st.sampled_from(["EveryService", "RoutedServices"]),
        "foreignVirtualServices": st.sampled_from(["Yield", "Keep"]),
    },
)


@st.composite
def _some_service(draw: st.DrawFn) -> Service:
    marked = {names.MANAGED_BY_LABEL: names.OPERATOR}
    return service(
        str(draw(st.sampled_from(PLACES))),
        annotations=draw(_annotations),
        labels=draw(st.sampled_from([{}, {"tier": "a"}, marked])),
        **draw(_ports),
    )


@st.composite
def _some_namespace(draw: st.DrawFn) -> Namespace:
    name = draw(st.sampled_from([*DEVELOPER_NAMESPACES * 3, "aa", "kube-x", "shop"]))
    labels = draw(
        st.sampled_from([{}, {"sandbox": "yes"}, {names.DEVELOPER_LABEL: "alice"}, {names.DEVELOPER_LABEL: "bob"}])
    )
    found = namespace(name, labels=labels, terminating=draw(st.integers(0, 7)) == 0)
    return replace(found, consents_to=draw(st.sampled_from([None, (), ("pay",), ("shop",), ("*",), ("*",)])))


@st.composite
def _some_policy(draw: st.DrawFn) -> Policy:
    place = draw(st.sampled_from(["shop/p", "shop/q", "pay/p"]))
    return replace(policy(place, draw(_specs)), departing=draw(st.integers(0, 9)) == 0)


@st.composite
def _some_virtual_service(draw: st.DrawFn) -> VirtualService:
    place = draw(
        st.sampled_from(["shop/by-hand", "pay/by-hand", "alice/by-hand", "shop/api-virtual-service", "shop/stray"])
    )
    host = draw(st.sampled_from(["api", "web.shop.svc.cluster.local", "api.pay.svc.cluster.local", "stray"]))
    scopes = draw(st.sampled_from([[], [], ["."], ["shop"]]))
    annotations = draw(st.sampled_from([{}, {}, {names.ADOPT_ANNOTATION: "true"}, {names.MANAGED_ANNOTATION: "false"}]))
    labels = draw(st.sampled_from([{}, {}, _MARK, {**_MARK, names.SERVICE_LABEL: "api"}]))
    day = draw(st.sampled_from(["2025-01-01", "2026-12-12"]))
    return virtual_service(
        place,
        host,
        spec={"exportTo": scopes} if scopes else {},
        labels=labels,
        annotations={**annotations, names.POLICIES_ANNOTATION: draw(st.sampled_from(["p", "p,q", "gone"]))},
        creationTimestamp=f"{day}T00:00:00Z",
    )


_objects: st.SearchStrategy[ClusterObject] = st.one_of(
    _some_service(), _some_service(), _some_namespace(), _some_policy(), _some_policy(), _some_virtual_service()
)
steps: st.SearchStrategy[list[Step]] = st.lists(
    st.builds(Step, _objects, st.sampled_from([False, False, False, True])), min_size=1, max_size=25
)


def beginning() -> World:
    """Return a world with what most steps need: two policies that compete for one developer's copies."""
    world = World()
    for item in (
        *(namespace(name, developer=name) for name in DEVELOPER_NAMESPACES),
        *(policy(place) for place in ("shop/p", "pay/p")),
        *(service(place) for place in ("shop/api", "pay/api", "shop/web", "alice/api")),
    ):
        world.apply(Step(item))
    return world
