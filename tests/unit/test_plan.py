from dataclasses import replace
from typing import Any

import pytest

from builders import (
    as_stored,
    change,
    developers,
    entry,
    key,
    managed,
    namespace,
    namespaces,
    plan,
    policy,
    routes,
    service,
    snapshot,
    virtual_service,
    written,
)
from rendered import plan_rendered
from virtualservice_operator.core.changes import ServicePlan
from virtualservice_operator.core.objects import ClusterObject, Policy, Service, VirtualService
from virtualservice_operator.core.snapshot import Snapshot

DEFAULTS = policy("shop/defaults", {"developers": developers("alice")}, uid="u1")
BROKEN = policy("shop/defaults", {"priority": 1001}, uid="u1")
OURS = "shop/reviews-virtual-service"
HOST = "reviews.shop.svc.cluster.local"
OLD, YOUNG = "2025-01-01T00:00:00Z", "2026-12-12T00:00:00Z"


def given(*objects: ClusterObject, defaults: Policy = DEFAULTS) -> Snapshot:
    """Return a cluster where alice has a copy of reviews."""
    return snapshot(defaults, *namespaces("alice"), service("shop/reviews"), service("alice/reviews"), *objects)


def done(cluster: Snapshot) -> Snapshot:
    """Return the cluster after its plan for reviews was carried out."""
    cluster.put(as_stored(written(cluster)))
    return cluster


def actions(found: ServicePlan) -> list[str]:
    return [f"{change.action} {change.target}: {change.why}" for change in found.changes]


def stands(found: ServicePlan, policy_name: str = "defaults") -> tuple[str, str]:
    entry = found.entries[policy_name]
    return (str(entry.state), str(entry.reason))


# ---- created, updated, deleted


def test_in_a_namespace_that_is_being_deleted_nothing_is_created() -> None:
    cluster = done(given())
    cluster.put(namespace("shop", terminating=True))
    assert actions(plan(cluster)) == []
    cluster.remove(VirtualService, key(OURS))
    assert actions(plan(cluster)) == []


def test_a_governed_service_gets_a_virtual_service() -> None:
    found = plan(given())
    assert actions(found) == [f"create {OURS}: a policy governs the Service"]
    assert stands(found) == ("Programmed", "Programmed")
    assert found.entries["defaults"].virtual_service == "reviews-virtual-service"


def test_what_is_written_names_the_policies_that_contribute_in_precedence() -> None:
    first = policy("shop/z", {"developers": [], "priority": 1}, uid="u2")
    metadata = written(given(first))["metadata"]
    assert metadata["annotations"]["virtualservice-operator.dev/policies"] == "z,defaults"
    assert [owner["uid"] for owner in metadata["ownerReferences"]] == ["u2", "u1"]


def test_a_plan_that_was_carried_out_has_no_changes() -> None:
    found = plan(done(given()))
    assert found.changes == ()
    assert stands(found) == ("Programmed", "Programmed")


def test_another_spec_is_put_right() -> None:
    cluster = done(given())
    cluster.put(managed(OURS, annotations={"virtualservice-operator.dev/developers": "alice"}))
    found = change(cluster)
    assert (found.action, found.why) == ("update", "the routes differ")
    assert found.observed == cluster.virtual_service(key(OURS))


def test_a_service_that_is_gone_takes_its_virtual_service_with_it() -> None:
    cluster = done(given())
    cluster.remove(Service, key("shop/reviews"))
    found = plan(cluster)
    assert actions(found) == [f"delete {OURS}: no policy governs a Service of this name"]
    assert found.entries == {}


def test_a_service_that_no_policy_governs_any_more_loses_its_virtual_service() -> None:
    cluster = done(given())
    cluster.put(policy("shop/defaults", {"services": {"names": ["orders"]}}, uid="u1", generation=2))
    assert actions(plan(cluster)) == [f"delete {OURS}: no policy governs a Service of this name"]


def test_a_service_that_cannot_be_routed_any_more_loses_its_virtual_service() -> None:
    cluster = done(given())
    cluster.put(service("shop/reviews", spec={"clusterIP": "None"}))
    found = plan(cluster)
    assert actions(found) == [
        f"delete {OURS}: add a ClusterIP Service to route it: sidecars pass a headless one through"
    ]
    assert stands(found) == ("Skipped", "Headless")


def test_where_there_is_nothing_there_is_nothing_to_do() -> None:
    assert plan(snapshot(), "shop/reviews") == ServicePlan(key("shop/reviews"))


def test_a_service_without_a_policy_is_left_alone() -> None:
    assert plan(snapshot(service("shop/reviews"))) == ServicePlan(key("shop/reviews"))


def test_a_policy_governs_its_own_namespace_only() -> None:
    assert plan(given(), "alice/reviews") == ServicePlan(key("alice/reviews"))


def test_a_developer_without_a_copy_is_not_among_the_developers() -> None:
    both = policy("shop/defaults", {"developers": developers("alice", "bob")})
    assert entry(given(*namespaces("bob"), defaults=both)).developers == ("alice",)


# ---- orphans


def test_an_orphan_is_deleted() -> None:
    assert actions(plan(snapshot(managed("shop/gone-virtual-service")), "shop/gone")) == [
        "delete shop/gone-virtual-service: no policy governs a Service of this name"
    ]


def test_one_of_ours_under_another_name_is_deleted_beside_the_wanted_one() -> None:
    stray = managed("shop/stray", labels={"virtualservice-operator.dev/service": "reviews"})
    assert actions(plan(given(stray))) == [
        f"create {OURS}: a policy governs the Service",
        "delete shop/stray: it has our mark, and no policy wants it",
    ]


def test_a_released_orphan_is_released_not_deleted() -> None:
    stray = managed("shop/gone-virtual-service", annotations={"virtualservice-operator.dev/managed": "false"})
    assert actions(plan(snapshot(stray), "shop/gone")) == [
        "release shop/gone-virtual-service: no policy governs a Service of this name"
    ]


def test_what_lacks_our_mark_is_never_an_orphan() -> None:
    assert plan(snapshot(virtual_service("shop/gone-virtual-service", "gone")), "shop/gone").changes == ()


# ---- departing policies


def test_while_a_policy_departs_nothing_is_decided_for_what_it_governs() -> None:
    found = plan(given(defaults=replace(DEFAULTS, departing=True)))
    assert found == ServicePlan(key("shop/reviews"), waiting=True)


def test_while_a_policy_departs_nothing_is_decided_for_what_it_contributed_to() -> None:
    cluster = done(given())
    narrowed = policy("shop/defaults", {"services": {"names": ["orders"]}})
    cluster.put(replace(narrowed, departing=True))
    assert plan(cluster).waiting


def test_another_departing_policy_does_not_hold_a_service_up() -> None:
    other = replace(policy("shop/other", {"services": {"names": ["orders"]}}), departing=True)
    assert not plan(given(other)).waiting


# ---- foreign VirtualServices in the Service's namespace


def test_a_service_that_somebody_routes_is_theirs() -> None:
    found = plan(given(virtual_service("shop/theirs", "reviews")))
    assert found.changes == ()
    assert stands(found) == ("Skipped", "HostTaken")
    assert found.entries["defaults"].message == (
        "VirtualService shop/theirs routes this host, so the policies leave it alone; delete it to hand over"
    )


@pytest.mark.parametrize("created", [OLD, YOUNG], ids=["older", "younger"])
def test_ours_is_withdrawn_whichever_is_older(created: str) -> None:
    cluster = done(given())
    cluster.put(virtual_service("shop/theirs", HOST, creationTimestamp=created))
    found = plan(cluster)
    assert [str(change.action) for change in found.changes] == ["delete"]
    assert stands(found) == ("Skipped", "HostTaken")


def test_a_foreign_one_that_is_private_to_the_services_namespace_takes_the_service_too() -> None:
    theirs = virtual_service("shop/theirs", "reviews", spec={"exportTo": ["."]})
    assert stands(plan(given(theirs))) == ("Skipped", "HostTaken")


@pytest.mark.parametrize(
    "theirs",
    [
        pytest.param(virtual_service("shop/theirs", "ratings"), id="another host"),
        pytest.param(virtual_service("shop/theirs", "reviews", spec={"gateways": ["a/b"]}), id="a gateway only"),
        pytest.param(virtual_service("shop/theirs", "*.shop.svc.cluster.local"), id="a wildcard"),
        pytest.param(virtual_service("alice/theirs", "reviews"), id="a short name of another namespace"),
        pytest.param(virtual_service("alice/theirs", HOST, spec={"exportTo": ["."]}), id="private elsewhere"),
    ],
)
def test_one_that_does_not_claim_the_host_is_no_obstacle(theirs: ClusterObject) -> None:
    assert stands(plan(given(theirs))) == ("Programmed", "Programmed")


# ---- foreign VirtualServices of other namespaces


def test_ours_is_not_created_where_another_namespace_claims_the_host() -> None:
    found = plan(given(virtual_service("market/theirs", HOST)))
    assert found.changes == ()
    assert stands(found) == ("Failed", "HostConflict")
    assert "VirtualService market/theirs claims reviews.shop.svc.cluster.local too" in found.entries["defaults"].message
    assert "exportTo: ['.']" in found.entries["defaults"].message


def test_ours_is_kept_current_where_an_older_one_of_another_namespace_claims_the_host() -> None:
    cluster = done(given())
    cluster.put(virtual_service("market/theirs", HOST, creationTimestamp=OLD))
    cluster.remove(Service, key("alice/reviews"))
    found = plan(cluster)
    assert [str(change.action) for change in found.changes] == ["update"]
    assert stands(found) == ("Failed", "HostConflict")


def test_a_younger_one_of_another_namespace_is_dead_and_we_say_so() -> None:
    cluster = done(given())
    cluster.put(virtual_service("market/theirs", HOST, creationTimestamp=YOUNG))
    found = plan(cluster)
    assert stands(found) == ("Programmed", "Programmed")
    assert "market/theirs" in found.entries["defaults"].message
    assert "younger" in found.entries["defaults"].message


def test_of_several_claims_the_first_ranked_is_named() -> None:
    cluster = given(
        virtual_service("market/young", HOST, creationTimestamp=YOUNG),
        virtual_service("other/old", HOST, creationTimestamp=OLD),
    )
    assert "VirtualService other/old" in entry(cluster).message


KEEPING = policy("shop/defaults", {"developers": developers("alice"), "foreignVirtualServices": "Keep"}, uid="u1")


@pytest.mark.parametrize(
    ("created", "scopes", "expected"),
    [
        pytest.param(OLD, [], ("Failed", "ranks first"), id="older"),
        pytest.param(YOUNG, [], ("Programmed", "is younger, so Istio ignores it"), id="younger"),
        pytest.param(
            YOUNG,
            ["."],
            ("Failed", "goes first for clients in shop, to which alone it is exported"),
            id="younger and private",
        ),
    ],
)
def test_who_keeps_is_never_told_to_make_one_of_the_same_namespace_private(
    created: str, scopes: list[str], expected: tuple[str, str]
) -> None:
    cluster = done(given(defaults=KEEPING))
    spec = {"exportTo": scopes} if scopes else {}
    cluster.put(virtual_service("shop/theirs", HOST, spec=spec, creationTimestamp=created))
    found = entry(cluster)
    state, rank = expected
    assert found.state == state
    assert found.message == (
        f"VirtualService shop/theirs claims {HOST} too and {rank}; "
        "delete it, or leave the Service to it with foreignVirtualServices: Yield"
    )


# ---- who sees both


def exported(*scopes: str, **more: Any) -> Policy:
    """Return the policy with what it is exported to."""
    return policy("shop/defaults", {"developers": developers("alice"), "exportTo": list(scopes), **more}, uid="u1")


def seen_in(place: str, *scopes: str) -> VirtualService:
    """Return an old foreign VirtualService on our host that is exported to these."""
    return virtual_service(place, HOST, spec={"exportTo": list(scopes)}, creationTimestamp=OLD)


@pytest.mark.parametrize("place", ["shop/theirs", "market/theirs"])
def test_one_that_no_client_of_ours_sees_is_no_obstacle(place: str) -> None:
    found = plan(given(seen_in(place, "third"), defaults=exported(".")))
    assert stands(found) == ("Programmed", "Programmed")
    assert found.entries["defaults"].message == ""


def test_one_that_is_private_to_the_services_namespace_takes_nothing_where_ours_is_for_others() -> None:
    assert stands(plan(given(seen_in("shop/theirs", "."), defaults=exported("alice")))) == ("Programmed", "Programmed")


def test_what_is_exported_by_name_is_written_beside_an_older_public_one_which_comes_after_it() -> None:
    found = plan(given(seen_in("market/theirs", "*"), defaults=exported(".")))
    assert [str(change.action) for change in found.changes] == ["create"]
    assert stands(found) == ("Programmed", "Programmed")
    assert "ranks after ours, so whoever sees ours ignores it" in found.entries["defaults"].message


def test_an_older_one_that_a_client_of_ours_sees_by_name_comes_first() -> None:
    found = plan(given(seen_in("market/theirs", "alice"), defaults=exported(".", "alice")))
    assert stands(found) == ("Failed", "HostConflict")


@pytest.mark.parametrize(
    ("theirs", "ours", "why"),
    [
        (["client"], [], "goes first for clients in client, to which alone it is exported; take"),
        (
            ["d", "c", "b", "a"],
            [],
            "goes first for clients in a, b, c and 1 more, to which alone it is exported; take",
        ),
        ([".", "alice"], ["market", "alice"], "goes first for clients in its own namespace, market; take"),
        (["alice"], ["alice"], "is older; take"),
        ([], [], "is older; take"),
    ],
    ids=["by name", "to many", "private there", "both by name", "both public"],
)
@pytest.mark.parametrize("is_written", [False, True], ids=["yet to be written", "written"])
def test_why_a_foreign_one_goes_first_is_said_as_it_is(
    theirs: list[str], ours: list[str], why: str, *, is_written: bool
) -> None:
    cluster = given(defaults=exported(*ours) if ours else DEFAULTS)
    if is_written:
        done(cluster)
        why = why.replace("is older", "ranks first")
    cluster.put(seen_in("market/theirs", *theirs))
    assert f"claims {HOST} too and {why}" in plan(cluster).entries["defaults"].message


def test_a_template_may_export_to_anybody_so_every_claim_counts() -> None:
    template = {"virtualService": "apiVersion: networking.istio.io/v1\nkind: VirtualService\nspec: {}\n"}
    cluster = given(seen_in("shop/theirs", "third"), defaults=exported(".", template=template))
    assert plan(cluster).needs
    assert stands(plan_rendered(cluster, key("shop/reviews"))) == ("Skipped", "HostTaken")


def test_who_sees_a_frozen_one_is_what_stands_in_the_cluster() -> None:
    held = exported(".", mode="Suspended")
    for theirs, expected in (("third", []), ("alice", ["delete"])):
        ours = replace(managed(OURS), export_to=("alice",))
        found = plan(given(ours, seen_in("shop/theirs", theirs), defaults=held))
        assert [str(change.action) for change in found.changes] == expected


# ---- our name taken, adopted, released


def test_our_name_taken_by_another_is_left_untouched() -> None:
    found = plan(given(virtual_service(OURS, "elsewhere")))
    assert found.changes == ()
    assert stands(found) == ("Failed", "NameConflict")
    assert found.entries["defaults"].message == (
        "VirtualService shop/reviews-virtual-service has the name we need and not our mark; rename it, or hand it over: "
        "kubectl annotate virtualservice reviews-virtual-service -n shop virtualservice-operator.dev/adopt=true"
    )


def test_who_takes_the_mark_off_takes_the_object_over() -> None:
    cluster = done(given())
    unmarked = as_stored({**written(given()), "metadata": {"name": "reviews-virtual-service", "namespace": "shop"}})
    cluster.put(unmarked)
    assert stands(plan(cluster)) == ("Failed", "NameConflict")


def test_one_that_its_owner_offers_is_adopted() -> None:
    offered = virtual_service(OURS, "reviews", annotations={"virtualservice-operator.dev/adopt": "true"})
    found = plan(given(offered))
    assert actions(found) == [f"update {OURS}: adopted: its owner asked for it"]
    assert stands(found) == ("Programmed", "Programmed")


def released(**more: Any) -> ClusterObject:
    return managed(OURS, annotations={"virtualservice-operator.dev/managed": "false"}, **more)


def test_one_that_its_owner_takes_back_is_released_and_the_service_is_theirs() -> None:
    found = plan(given(released()))
    assert [f"{change.action} {change.target}" for change in found.changes] == [f"release {OURS}"]
    assert stands(found) == ("Skipped", "HostTaken")
    assert found.entries["defaults"].message == (
        "VirtualService shop/reviews-virtual-service was released; to hand it back: kubectl annotate virtualservice "
        "reviews-virtual-service -n shop virtualservice-operator.dev/managed- virtualservice-operator.dev/adopt=true"
    )


def test_one_that_was_released_stays_released() -> None:
    unmarked = virtual_service(OURS, HOST, annotations={"virtualservice-operator.dev/managed": "false"})
    found = plan(given(unmarked))
    assert found.changes == ()
    assert stands(found) == ("Skipped", "HostTaken")


def test_a_released_one_is_released_even_if_no_policy_is_accepted() -> None:
    found = plan(given(released(), defaults=BROKEN))
    assert [str(change.action) for change in found.changes] == ["release"]


# ---- frozen


def frozen(*more: ClusterObject) -> Snapshot:
    """Return a cluster whose policy contributed and is not accepted any more."""
    return given(managed(OURS, leads_to=["alice", "shop"]), *more, defaults=BROKEN)


def test_what_a_policy_contributed_to_stays_while_it_is_not_accepted() -> None:
    found = plan(frozen())
    assert found.changes == ()
    assert stands(found) == ("Frozen", "PolicyNotAccepted")
    assert found.entries["defaults"].virtual_service == "reviews-virtual-service"
    assert found.entries["defaults"].message == (
        "stays as it is until policy defaults is accepted again (mend or delete it)"
    )


def test_other_policies_wait_too_and_are_told_for_whom() -> None:
    found = plan(frozen(policy("shop/second", {"developers": []})))
    assert found.changes == ()
    assert stands(found, "second") == ("Frozen", "PolicyNotAccepted")
    assert "defaults" in found.entries["second"].message


def test_a_frozen_virtual_service_outlives_its_service() -> None:
    cluster = frozen()
    cluster.remove(Service, key("shop/reviews"))
    assert plan(cluster).changes == ()


def test_a_policy_that_contributed_nothing_freezes_nothing() -> None:
    broken = policy("shop/broken", {"priority": 1001})
    found = plan(given(broken))
    assert [str(change.action) for change in found.changes] == ["create"]
    assert list(found.entries) == ["defaults"]


def test_a_policy_that_is_deleted_freezes_nothing() -> None:
    found = plan(given(managed(OURS, policies="gone,defaults")))
    assert [str(change.action) for change in found.changes] == ["update"]


def test_what_leads_to_a_system_namespace_is_made_anew_without_the_policy_that_froze_it() -> None:
    unsafe = managed(OURS, policies="broken,defaults", leads_to=["kube-system"])
    cluster = given(unsafe, policy("shop/broken", {"priority": 1001}))
    assert routes(cluster) == ["defaults.alice -> reviews.alice", "default -> reviews.shop"]


def test_what_leads_to_a_system_namespace_is_deleted_where_nobody_else_wants_it() -> None:
    unsafe = managed(OURS, leads_to=["kube-system"])
    assert [str(change.action) for change in plan(given(unsafe, defaults=BROKEN)).changes] == ["delete"]


def test_a_foreign_virtual_service_takes_even_a_frozen_one() -> None:
    found = plan(frozen(virtual_service("shop/theirs", "reviews"), policy("shop/second", {"developers": []})))
    assert [str(change.action) for change in found.changes] == ["delete"]
    assert stands(found, "second") == ("Skipped", "HostTaken")


def test_a_foreign_virtual_service_takes_a_frozen_one_that_no_other_policy_wants() -> None:
    found = plan(frozen(virtual_service("shop/theirs", "reviews")))
    assert [str(change.action) for change in found.changes] == ["delete"]


TYPO = [{"type": "Header", "name": "x-developer", "value": "{{ Developer }}"}]


@pytest.mark.parametrize("held", [{"mode": "Suspended"}, {"matches": TYPO}], ids=["suspended", "not accepted"])
def test_what_keep_wrote_beside_a_foreign_one_stays_while_its_policy_is_held(held: dict[str, Any]) -> None:
    keeping = policy("shop/defaults", {"foreignVirtualServices": "Keep", **held})
    found = plan(given(managed(OURS), virtual_service("shop/theirs", "reviews"), defaults=keeping))
    assert found.changes == ()
    assert stands(found)[0] == "Frozen"


def test_of_a_held_policy_and_one_in_force_the_first_that_says_so_decides_whether_the_service_is_left_to_others() -> (
    None
):
    held = policy("shop/defaults", {"foreignVirtualServices": "Keep", "mode": "Suspended", "priority": 1})
    for priority, expected in ((0, []), (2, ["delete"])):
        second = policy("shop/second", {"foreignVirtualServices": "Yield", "developers": [], "priority": priority})
        found = plan(given(managed(OURS), second, virtual_service("shop/theirs", "reviews"), defaults=held))
        assert [str(change.action) for change in found.changes] == expected


# ---- refused


def test_a_value_that_istio_would_refuse_is_not_written() -> None:
    refused = policy(
        "shop/defaults", {"developers": developers("alice"), "matches": [{"type": "Header", "name": "uri"}]}
    )
    found = plan(given(defaults=replace(refused, problems=())))  # as if nothing had looked at the policy
    assert found.changes == ()
    assert stands(found) == ("Failed", "OutputNotAllowed")
    assert "uri is part of the request line" in found.entries["defaults"].message


# ---- findings


def test_a_finding_makes_the_service_partially_programmed() -> None:
    cluster = given(service("shop/orders", http=80, grpc=9090), service("alice/orders", http=80))
    found = entry(cluster, "shop/orders")
    assert (found.state, found.reason, found.developers) == ("PartiallyProgrammed", "PortMismatch", ("alice",))
    assert found.message == (
        "alice/orders has no HTTP port named or numbered like grpc (9090); those requests go to shop/orders"
    )


def test_nothing_is_touched_in_a_system_namespace() -> None:
    cluster = snapshot(managed("istio-system/reviews-virtual-service"), service("kube-system/dns"))
    assert plan(cluster, "istio-system/reviews").changes == ()
    assert plan(cluster, "kube-system/dns").changes == ()


# ---- only what is routed


def test_who_cannot_be_known_to_be_unknown_needs_no_virtual_service() -> None:
    """Of a prefix it cannot be told that nobody's was sent, so there is no rule for unknown developers."""
    prefix = [{"type": "Header", "name": "x-developer", "matchType": "Prefix"}]
    spec = {"virtualServiceFor": "RoutedServices", "copies": {"unknownDeveloper": "Reject"}, "matches": prefix}
    for listed in ([], developers("bob")):
        cluster = given(*namespaces("bob"), defaults=policy("shop/defaults", {**spec, "developers": listed}))
        assert stands(plan(cluster)) == ("Skipped", "NothingToRoute")
    alice = policy("shop/defaults", {**spec, "developers": developers("alice", "bob")})
    assert stands(plan(given(*namespaces("bob"), defaults=alice))) == ("Programmed", "Programmed")


def test_a_rule_for_unknown_developers_is_something_to_route() -> None:
    spec = {"virtualServiceFor": "RoutedServices", "copies": {"unknownDeveloper": "Reject"}, "developers": []}
    cluster = given(defaults=policy("shop/defaults", spec))
    assert [rule["name"] for rule in written(cluster)["spec"]["http"]] == ["unknown-developer", "default"]
