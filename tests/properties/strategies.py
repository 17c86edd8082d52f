"""Random clusters: two policy namespaces that compete for three developers' namespaces, with everything that matters."""

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from builders import namespace, policy, service, virtual_service
from virtualservice_operator.core.objects import ClusterObject, Policy

POLICY_NAMESPACES = ("shop", "pay")
DEVELOPER_NAMESPACES = ("alice", "bob", "team")
SERVICES = ("api", "web", "db")
DEVELOPERS = ("alice", "bob", "carol")

_ports = st.sampled_from([{"http": 80}, {"http": 8080}, {"http": 80, "grpc": 9090}, {"grpc": 9090}, {"tcp": 5432}])
_copy_of = st.sampled_from([None, None, None, "shop/api", "pay/api", "shop/web"])
_developer = st.fixed_dictionaries(
    {"name": st.sampled_from(DEVELOPERS)},
    optional={
        "namespaces": st.lists(
            st.sampled_from((*DEVELOPER_NAMESPACES, "kube-system", "gone")), min_size=1, max_size=3, unique=True
        )
    },
)
_matches = st.lists(
    st.sampled_from(
        [
            {"type": "Header", "name": "x-developer"},
            {"type": "Header", "name": "x-dev", "matchType": "Prefix"},
            {"type": "Header", "name": "x-dev", "matchType": "Prefix", "value": "{{ DeveloperName }}-long"},
            {"type": "Header", "name": "x-ns", "value": "{{ DeveloperNamespace }}.{{ ServiceName }}"},
            {"type": "Header", "name": "x-re", "matchType": "Regex", "value": "{{ DeveloperName }}|x"},
            {"type": "Baggage", "name": "dev"},
            {"type": "Cookie", "name": "dev"},
            {"type": "SourceNamespace"},
        ]
    ),
    min_size=1,
    max_size=3,
    unique_by=str,
)
_bad_matches = [{"type": "Header", "name": "x", "matchType": "Regex", "value": "({{ DeveloperName }}"}]
_spec = st.fixed_dictionaries(
    {},
    optional={
        "priority": st.integers(-1, 1),
        "services": st.sampled_from(
            [{"names": ["api"]}, {"excludedNames": ["web"]}, {"selector": {"matchLabels": {"tier": "a"}}}]
        ),
        "developers": st.lists(_developer, max_size=3, unique_by=lambda item: item["name"]),
        "developersFrom": st.sampled_from([{}, {"namespaceSelector": {"matchLabels": {"sandbox": "yes"}}}]),
        "matches": _matches | st.just(_bad_matches),
        "copies": st.sampled_from([{"whenMissing": "Reject"}, {"unknownDeveloper": "Reject"}]),
        "developerRoute": st.just({"timeout": "5s"}),
        "exportTo": st.just(["."]),
        "routedToHeader": st.just("x-routed-to"),
        "virtualServiceFor": st.sampled_from(["EveryService", "RoutedServices"]),
        "foreignVirtualServices": st.sampled_from(["Yield", "Keep"]),
    },
)
_placeholders = st.sampled_from(
    [
        *[None] * 6,
        {"mode": "ExternalName"},
        {"mode": "NoEndpoints"},
        {"mode": "Alias"},
        {"mode": "Alias", "createFor": "AllServices"},
    ]
)
_modes = st.sampled_from([*["Enforce"] * 8, "Observe", "Suspended"])


@st.composite
def services(draw: st.DrawFn, place: str) -> ClusterObject:
    """Return a Service at a place, sometimes an odd one."""
    annotations = {"virtualservice-operator.dev/ignore": "true"} if draw(st.integers(0, 9)) == 0 else {}
    if (original := draw(_copy_of)) is not None:
        annotations["virtualservice-operator.dev/copy-of"] = original
    labels = draw(st.sampled_from([{}, {"tier": "a"}]))
    return service(place, annotations=annotations, labels=labels, **draw(_ports))


@st.composite
def namespaces(draw: st.DrawFn, name: str) -> ClusterObject:
    """Return a Namespace, sometimes labelled for a developer, sometimes on its way out."""
    labels = draw(
        st.sampled_from(
            [{}, {"sandbox": "yes"}, *({"virtualservice-operator.dev/developer": item} for item in DEVELOPERS)]
        )
    )
    found = namespace(name, labels=labels, terminating=draw(st.integers(0, 9)) == 0)
    return replace(found, consents_to=draw(st.sampled_from([None, None, None, ("shop",), ("*",), ()])))


@st.composite
def policies(draw: st.DrawFn, place: str) -> ClusterObject:
    """Return a policy, sometimes one that is not accepted, or not in force."""
    spec = {**draw(_spec), "mode": draw(_modes)}
    if (placeholder := draw(_placeholders)) is not None:
        spec["placeholder"] = placeholder
    return policy(place, spec)


@st.composite
def held_policies(draw: st.DrawFn, known: Policy) -> Policy:
    """Return a policy with an edit that holds it: suspended, or not accepted any more."""
    assert known.spec is not None
    spec = known.spec.model_dump(by_alias=True, exclude_none=True, mode="json")
    edit: dict[str, Any] = draw(st.sampled_from([{"mode": "Suspended"}, {"matches": _bad_matches}]))
    return policy(str(known.key), {**spec, **edit}, generation=2)


@st.composite
def foreign(draw: st.DrawFn, place: str) -> ClusterObject:
    """Return a VirtualService without our mark."""
    host = draw(st.sampled_from(["api", "web.shop.svc.cluster.local", "api.pay.svc.cluster.local", "*.shop"]))
    scopes = draw(st.sampled_from([[], ["."], ["shop"], ["*"]]))
    return virtual_service(place, host, spec={"exportTo": scopes} if scopes else {})


def _maybe(draw: st.DrawFn, strategy: Any, chance: int) -> list[ClusterObject]:
    return [draw(strategy)] if draw(st.integers(0, 9)) < chance else []


@st.composite
def clusters(draw: st.DrawFn) -> list[ClusterObject]:
    """Return the objects of a cluster, each place taken once."""
    found: list[ClusterObject] = [namespace("shop"), namespace("pay")]
    for name in DEVELOPER_NAMESPACES:
        found += _maybe(draw, namespaces(name), 8)
    for where in (*POLICY_NAMESPACES, *DEVELOPER_NAMESPACES):
        for name in SERVICES:
            found += _maybe(draw, services(f"{where}/{name}"), 6)
    for where in POLICY_NAMESPACES:
        for name in ("p", "q"):
            found += _maybe(draw, policies(f"{where}/{name}"), 7)
    for place in ("shop/by-hand", "pay/by-hand", "alice/by-hand", "shop/api-virtual-service"):
        found += _maybe(draw, foreign(place), 1)
    return found


@st.composite
def changes(draw: st.DrawFn, objects: list[ClusterObject]) -> tuple[str, ClusterObject]:
    """Return one change: an object that is put in place of whatever stands there, or one that is removed."""
    if objects and draw(st.booleans()):
        return "remove", draw(st.sampled_from(objects))
    where = draw(st.sampled_from((*POLICY_NAMESPACES, *DEVELOPER_NAMESPACES)))
    kind = draw(st.sampled_from(["service", "namespace", "policy", "foreign"]))
    if kind == "service":
        return "put", draw(services(f"{where}/{draw(st.sampled_from(SERVICES))}"))
    if kind == "namespace":
        return "put", draw(namespaces(draw(st.sampled_from(DEVELOPER_NAMESPACES))))
    if kind == "policy":
        return "put", draw(policies(f"{draw(st.sampled_from(POLICY_NAMESPACES))}/{draw(st.sampled_from(('p', 'q')))}"))
    return "put", draw(foreign(f"{where}/by-hand"))
