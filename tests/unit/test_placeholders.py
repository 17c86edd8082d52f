"""A placeholder whose making was interrupted is finished; until it stands, it is remembered that there was a copy."""

from dataclasses import replace
from typing import Any

import pytest

from builders import (
    SETTINGS,
    carry_out,
    developers,
    entry,
    key,
    namespace,
    namespaces,
    plan,
    policy,
    routes,
    service,
    snapshot,
)
from virtualservice_operator.core import plan as planning
from virtualservice_operator.core.changes import Action, Entry, PlaceholderChange, ServicePlan
from virtualservice_operator.core.objects import Key, Policy, Service
from virtualservice_operator.core.plan import plan_service
from virtualservice_operator.core.snapshot import Snapshot
from virtualservice_operator.kube.decode import decode_service

WITHOUT_CONSENT = replace(SETTINGS, requires_placeholder_consent=False, placeholder_delay=5)
LABEL: dict[str, Any] = {"f:labels": {"f:app.kubernetes.io/managed-by": {}}}
FINISHED = {"f:metadata": LABEL}
# As the API server answers a POST: all of it is the poster's, defaults included.
UNFINISHED = {"f:metadata": LABEL, "f:spec": {"f:externalName": {}, "f:type": {}}}


def defaults(mode: str, **spec: Any) -> Policy:
    return policy("shop/defaults", {"developers": [{"name": "alice"}], "placeholder": {"mode": mode}, **spec}, uid="u1")


def standing(fields: dict[str, Any]) -> Service:
    """Return a placeholder of ours in alice's namespace, with what our field manager owns of it."""
    return decode_service(
        {
            "metadata": {
                "name": "reviews",
                "namespace": "alice",
                "uid": "u",
                "resourceVersion": "7",
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "labels": {"app.kubernetes.io/managed-by": "virtualservice-operator"},
                "annotations": {
                    "virtualservice-operator/placeholder-service": "true",
                    "virtualservice-operator/source-service": "reviews.shop.svc.cluster.local",
                    "virtualservice-operator.dev/policies": "shop/defaults",
                },
                "managedFields": [
                    {"manager": "virtualservice-operator", "operation": "Update", "fieldsV1": fields},
                ],
            },
            "spec": {"type": "ExternalName", "externalName": "placeholder.local"},
        }
    )


@pytest.mark.parametrize(("fields", "actions"), [(FINISHED, []), (UNFINISHED, [Action.UPDATE])], ids=["whole", "half"])
def test_what_our_field_manager_has_not_given_up_is_given_up(fields: dict[str, Any], actions: list[Action]) -> None:
    cluster = snapshot(
        defaults("ExternalName"),
        *namespaces("shop", "alice"),
        service("shop/reviews"),
        standing(fields),
        settings=WITHOUT_CONSENT,
    )
    changes = [change for change in plan(cluster).changes if isinstance(change, PlaceholderChange)]
    assert [change.action for change in changes] == actions
    assert all("given up" in change.why for change in changes)


# ---- consent

COMMAND = "kubectl annotate namespace alice --overwrite virtualservice-operator.dev/allow-policies-from="


def refused(*others: str) -> str:
    """Return what is said where alice's namespace is silent, and policies of these namespaces reach it too."""
    reaching = (policy(f"{other}/p", {"developers": [{"name": "alice"}]}) for other in others)
    cluster = snapshot(
        defaults("Alias", placeholder={"mode": "Alias", "createFor": "AllServices"}),
        *namespaces("shop", "alice", *others),
        service("shop/reviews"),
        *reaching,
    )
    return entry(cluster).message


@pytest.mark.parametrize(
    ("others", "listed"), [((), "shop"), (("pay",), "pay,shop"), (("web", "pay"), "pay,shop,web")], ids=str
)
def test_the_command_that_grants_placeholders_keeps_what_others_have(others: tuple[str, ...], listed: str) -> None:
    assert refused(*others).endswith(f"to grant them, which closes it to all but these: {COMMAND}{listed}")


def test_running_the_command_takes_nobodys_routes_away() -> None:
    cluster = snapshot(
        defaults("Alias", placeholder={"mode": "Alias", "createFor": "AllServices"}),
        policy("pay/p", {"developers": [{"name": "alice"}]}),
        *namespaces("shop", "pay", "alice"),
        *(service(place) for place in ("shop/reviews", "pay/orders", "alice/orders")),
    )
    before = routes(cluster, "pay/orders")
    cluster.put(namespace("alice", allows=entry(cluster).message.partition(COMMAND)[2]))
    assert entry(cluster).findings == ()
    assert routes(cluster, "pay/orders") == before == ["p.alice -> orders.alice", "default -> orders.pay"]


def test_no_command_is_printed_that_has_no_room() -> None:
    said = refused(*(f"team-{number}" for number in range(8)))
    assert "kubectl" not in said
    assert said.endswith("which closes it to all that are not listed: policies of 9 namespaces reach it now")


# ---- "alice had a copy"

OURS = "shop/reviews-virtual-service"


def after_deletion(found: Policy, now: float = 0) -> Snapshot:
    """Return the cluster in the moment in which alice's copy, which was routed, is deleted."""
    copy = service("alice/reviews")
    cluster = snapshot(
        found, *namespaces("shop", "alice", "team"), service("shop/reviews"), copy, settings=WITHOUT_CONSENT
    )
    carry_out(cluster, plan(cluster))
    cluster.remove(Service, copy.key)
    cluster.note_gone(copy.key, now)
    return cluster


def actions(found: ServicePlan) -> list[str]:
    return [f"{change.action} {change.target}" for change in found.changes]


def remembered(cluster: Snapshot) -> str | None:
    found = cluster.virtual_service(key(OURS))
    return found.developers if found is not None else None


def refuse_placeholders(cluster: Snapshot, found: ServicePlan) -> None:
    """Carry out a plan where the API server refuses placeholders: what is planned for the VirtualService is written."""
    kept = tuple(change for change in found.changes if not isinstance(change, PlaceholderChange))
    carry_out(cluster, replace(found, changes=kept))


@pytest.mark.parametrize("mode", ["Alias", "ExternalName", "NoEndpoints"])
def test_a_placeholder_that_cannot_be_made_is_tried_again(mode: str) -> None:
    cluster = after_deletion(defaults(mode))
    for _ in range(3):
        found = plan_service(cluster, key("shop/reviews"), now=5)
        assert actions(found)[0] == "create alice/reviews"
        refuse_placeholders(cluster, found)
        assert remembered(cluster) == "alice"


def test_while_an_alias_stands_it_is_remembered_why() -> None:
    """So that one plan comes to the end: what was carried out is not written anew once the alias is seen."""
    cluster = after_deletion(defaults("Alias"))
    carry_out(cluster, plan_service(cluster, key("shop/reviews"), now=5))
    assert remembered(cluster) == "alice"
    assert plan_service(cluster, key("shop/reviews"), now=5).changes == ()
    cluster.put(defaults("Disabled"))
    carry_out(cluster, plan_service(cluster, key("shop/reviews"), now=5))
    assert remembered(cluster) is None
    assert cluster.service(key("alice/reviews")) is None


@pytest.mark.parametrize("mode", ["Alias", "ExternalName", "NoEndpoints"])
def test_what_is_delayed_is_remembered_where_only_routed_services_are_written(mode: str) -> None:
    cluster = after_deletion(defaults(mode, virtualServiceFor="RoutedServices"))
    waiting = plan_service(cluster, key("shop/reviews"), now=0)
    assert "delete" not in "".join(actions(waiting))
    assert waiting.due == 5
    carry_out(cluster, waiting)
    assert actions(plan_service(cluster, key("shop/reviews"), now=5))[0] == "create alice/reviews"


def test_where_only_routed_services_are_written_the_virtual_service_stays_while_the_alias_does() -> None:
    routed = {"virtualServiceFor": "RoutedServices"}
    cluster = after_deletion(defaults("Alias", **routed))
    carry_out(cluster, plan_service(cluster, key("shop/reviews"), now=5))
    assert plan_service(cluster, key("shop/reviews"), now=5).changes == ()
    assert cluster.virtual_service(key(OURS)) is not None
    cluster.put(defaults("Disabled", **routed))
    carry_out(cluster, plan_service(cluster, key("shop/reviews"), now=5))
    assert cluster.virtual_service(key(OURS)) is None
    assert cluster.service(key("alice/reviews")) is None


def moved(mode: str, *places: str) -> Policy:
    return defaults(mode, developers=[{"name": "alice", "namespaces": list(places)}])


@pytest.mark.parametrize("mode", ["Alias", "ExternalName", "NoEndpoints"])
def test_who_is_given_another_namespace_has_lost_no_copy_there(mode: str) -> None:
    cluster = after_deletion(defaults(mode))
    cluster.put(service("alice/reviews"))
    cluster.put(moved(mode, "team"))
    found = plan(cluster)
    assert actions(found) == [f"update {OURS}"]
    carry_out(cluster, found)
    assert remembered(cluster) is None


@pytest.mark.parametrize("mode", ["Alias", "ExternalName", "NoEndpoints"])
def test_a_placeholder_stays_behind_no_more_than_a_copy_does(mode: str) -> None:
    cluster = after_deletion(defaults(mode))
    for _ in range(2):
        carry_out(cluster, plan_service(cluster, key("shop/reviews"), now=5))
    assert cluster.service(key("alice/reviews")) is not None
    cluster.put(moved(mode, "team"))
    carry_out(cluster, plan_service(cluster, key("shop/reviews"), now=5))
    assert cluster.service(key("alice/reviews")) is None
    assert plan_service(cluster, key("shop/reviews"), now=5).changes == ()


@pytest.mark.parametrize("mode", ["Alias", "ExternalName", "NoEndpoints"])
def test_a_copy_in_any_of_the_developers_namespaces_counts(mode: str) -> None:
    cluster = after_deletion(defaults(mode))
    cluster.put(moved(mode, "team", "alice"))
    assert actions(plan_service(cluster, key("shop/reviews"), now=5))[0] == "create team/reviews"


@pytest.mark.parametrize("mode", ["Alias", "ExternalName", "NoEndpoints"])
def test_what_is_remembered_where_no_rule_leads_is_of_its_namespace(mode: str) -> None:
    cluster = after_deletion(defaults(mode))
    taken = service("alice/reviews", spec={"clusterIP": "None"})
    cluster.put(taken)
    carry_out(cluster, plan(cluster))
    found = cluster.virtual_service(key(OURS))
    assert found is not None
    assert found.destinations == {"shop"}
    assert (found.developers, found.deleted_copies) == ("alice", "alice")
    cluster.put(moved(mode, "team"))
    assert actions(plan(cluster)) == [f"update {OURS}"]
    cluster.put(defaults(mode))
    cluster.remove(Service, taken.key)
    assert actions(plan(cluster))[0] == "create alice/reviews"


# ---- mode Observe


def observed(*found: Policy, consent: str | None = "shop", copies: tuple[str, ...] = ()) -> Entry:
    """Return what `trial`, which observes, says of a Service of which others are in force."""
    places = [namespace(name, allows=consent) for name in ("alice", "bob")]
    cluster = snapshot(*found, *namespaces("shop"), *places, service("shop/reviews"), *map(service, copies))
    carry_out(cluster, plan(cluster))
    return entry(cluster, policy_name="trial")


def trial(place: dict[str, Any], **spec: Any) -> Policy:
    return policy("shop/trial", {"mode": "Observe", "developers": developers("alice"), "placeholder": place, **spec})


ALIASES = {"mode": "Alias", "createFor": "AllServices"}
IN_FORCE = policy("shop/defaults", {"developers": developers("alice")})
WITH_ALIASES = policy("shop/defaults", {"developers": developers("alice", "bob"), "placeholder": ALIASES})


def test_observe_says_which_placeholder_would_be_created() -> None:
    found = observed(IN_FORCE, trial(ALIASES))
    assert (found.planned_change, found.message) == ("update", "would create placeholder alice/reviews")


def test_observe_names_placeholders_for_developers_of_other_policies_too() -> None:
    """The block is for the Service, whoever has set it."""
    found = observed(policy("shop/defaults", {"developers": developers("bob")}), trial(ALIASES))
    assert found.message == "would create placeholder alice/reviews, bob/reviews"


def test_observe_says_so_beside_a_virtual_service_that_would_be_created() -> None:
    found = observed(trial(ALIASES))
    assert found.planned_change == "create"
    assert found.message == "would create a VirtualService with default; create placeholder alice/reviews"


def test_observe_says_which_placeholders_would_be_removed() -> None:
    found = observed(WITH_ALIASES, trial({"mode": "Disabled"}, priority=1))
    assert (found.planned_change, found.message) == (
        "update",
        "would remove placeholder alice/reviews, bob/reviews",
    )


def test_observe_says_nothing_of_placeholders_that_stand_anyway() -> None:
    found = observed(WITH_ALIASES, trial(ALIASES))
    assert (found.planned_change, found.message) == ("none", "would change nothing")


def test_observe_says_nothing_of_a_placeholder_where_there_is_a_copy() -> None:
    found = observed(IN_FORCE, trial(ALIASES), copies=("alice/reviews",))
    assert found.planned_change == "none"


def test_observe_says_what_keeps_a_placeholder_from_being_created() -> None:
    found = observed(IN_FORCE, trial(ALIASES), consent=None)
    assert found.planned_change == "none"
    assert found.message.startswith(
        "would change nothing; developer alice: namespace alice does not permit placeholders"
    )


def test_observe_looks_again_when_the_name_of_a_deleted_service_is_no_longer_left_free() -> None:
    cluster = after_deletion(policy("shop/trial", {"mode": "Observe", "developers": developers("alice")}))
    cluster.put(trial(ALIASES))
    waiting = plan_service(cluster, key("shop/reviews"), now=0)
    assert waiting.due == 5
    found = plan_service(cluster, key("shop/reviews"), now=5)
    assert found.due is None
    assert found.entries["trial"].message.endswith("create placeholder alice/reviews")


def test_placeholders_are_foreseen_only_for_policies_that_observe(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[str]()

    def foresee(_: Snapshot, found: Key, __: object) -> dict[Key, str | None]:
        asked.append(str(found))
        return {}

    monkeypatch.setattr(planning, "placeholders_after", foresee)
    observed(WITH_ALIASES, trial(ALIASES))
    assert asked
    asked.clear()
    cluster = snapshot(WITH_ALIASES, *namespaces("shop", "alice", "bob"), service("shop/reviews"))
    plan(cluster)
    assert asked == []


# ---- the name is taken

ANNOTATED = "virtualservice-operator.dev/ignore"
COPY_OF = "virtualservice-operator.dev/copy-of"


@pytest.mark.parametrize("mode", ["ExternalName", "NoEndpoints"])
@pytest.mark.parametrize(
    ("taken", "why"),
    [
        (service("alice/reviews", spec={"clusterIP": "None"}), "is headless"),
        (service("alice/reviews", spec={"type": "ExternalName"}), "is of type ExternalName"),
        (service("alice/reviews", annotations={ANNOTATED: "true"}), f"is annotated {ANNOTATED}"),
        (service("alice/reviews", annotations={COPY_OF: "pay/web"}), f"is annotated {COPY_OF}=pay/web"),
    ],
    ids=["headless", "ExternalName", "ignored", "another's copy"],
)
def test_what_is_in_the_way_of_a_placeholder_is_named_with_the_remedy(mode: str, taken: Service, why: str) -> None:
    cluster = after_deletion(defaults(mode))
    cluster.put(taken)
    for _ in range(2):
        found = entry(cluster)
        assert (found.state, found.reason) == ("PartiallyProgrammed", "RefNotPermitted")
        assert found.message == (
            f"developer alice: Service alice/reviews has the placeholder's name and {why}, so their requests go to "
            "shop/reviews; delete or rename it, or set copies.whenMissing: Reject"
        )
        carry_out(cluster, plan(cluster))
    cluster.remove(Service, taken.key)
    assert entry(cluster).findings == ()


def test_who_comes_second_for_a_placeholder_is_told_who_has_it() -> None:
    spec = {"developers": [{"name": "alice"}], "placeholder": {"mode": "ExternalName"}}
    copies = [service(f"alice/{place}", annotations={COPY_OF: f"{place}/reviews"}) for place in ("shop", "pay")]
    cluster = snapshot(
        *(policy(f"{place}/defaults", spec) for place in ("shop", "pay")),
        *(service(f"{place}/reviews") for place in ("shop", "pay")),
        *namespaces("shop", "pay", "alice"),
        *copies,
        settings=WITHOUT_CONSENT,
    )
    for place in ("shop", "pay"):
        carry_out(cluster, plan(cluster, f"{place}/reviews"))
    for copy in copies:
        cluster.remove(Service, copy.key)
    for place in ("shop", "pay"):
        carry_out(cluster, plan(cluster, f"{place}/reviews"))
    assert entry(cluster).findings == ()
    assert entry(cluster, "pay/reviews").message == (
        "developer alice: Service alice/reviews has the placeholder's name and is the placeholder of shop/reviews, so their "
        "requests go to pay/reviews; set copies.whenMissing: Reject"
    )


@pytest.mark.parametrize(
    ("spec", "taken"),
    [
        ({"mode": "Alias"}, service("alice/reviews", spec={"clusterIP": "None"})),
        ({"mode": "Alias", "createFor": "AllServices"}, service("alice/reviews", spec={"clusterIP": "None"})),
        ({"mode": "ExternalName"}, service("alice/reviews")),
    ],
    ids=["an alias takes no requests", "nor for all", "a copy"],
)
def test_where_nothing_is_lost_nothing_is_said(spec: dict[str, Any], taken: Service) -> None:
    cluster = after_deletion(defaults("", placeholder=spec))
    cluster.put(taken)
    assert entry(cluster).state == "Programmed"


def test_who_never_had_a_copy_has_lost_none() -> None:
    cluster = snapshot(
        defaults("ExternalName"),
        *namespaces("shop", "alice"),
        service("shop/reviews"),
        service("alice/reviews", spec={"clusterIP": "None"}),
        settings=WITHOUT_CONSENT,
    )
    assert entry(cluster).state == "Programmed"


def test_a_copy_that_has_no_fitting_port_is_spoken_of_once() -> None:
    cluster = after_deletion(defaults("ExternalName"))
    cluster.put(service("alice/reviews", grpc=9090))
    assert [finding.reason for finding in entry(cluster).findings] == ["PortMismatch"]


# ---- its time


def kept(mode: str, seconds: int | None = 60) -> Policy:
    return defaults(mode, placeholder={"mode": mode, **({"ttlSeconds": seconds} if seconds else {})})


CREATED_AT = 1767225600.0  # 2026-01-01T00:00:00Z, when everything here was created
MODES = ["Alias", "ExternalName", "NoEndpoints"]


def with_placeholder(found: Policy) -> Snapshot:
    """Return the cluster in which alice's copy was deleted and its placeholder stands."""
    cluster = after_deletion(found, CREATED_AT - 5)
    carry_out(cluster, plan_service(cluster, key("shop/reviews"), now=CREATED_AT))
    assert cluster.service(key("alice/reviews")) is not None
    return cluster


@pytest.mark.parametrize("mode", MODES)
def test_a_placeholder_stays_until_its_time_is_over(mode: str) -> None:
    cluster = with_placeholder(kept(mode))
    found = plan_service(cluster, key("shop/reviews"), now=CREATED_AT + 59)
    assert (actions(found), found.due) == ([], CREATED_AT + 60)


@pytest.mark.parametrize("mode", MODES)
def test_a_placeholder_goes_when_its_time_is_over_and_does_not_come_back(mode: str) -> None:
    cluster = with_placeholder(kept(mode))
    found = plan_service(cluster, key("shop/reviews"), now=CREATED_AT + 60)
    assert actions(found) == [f"update {OURS}", "delete alice/reviews"]
    assert found.due is None
    carry_out(cluster, found)
    assert remembered(cluster) is None
    assert plan_service(cluster, key("shop/reviews"), now=CREATED_AT + 60).changes == ()
    document = found.wanted
    assert document is not None
    assert [rule["name"] for rule in document["spec"]["http"]] == ["default"]


@pytest.mark.parametrize("mode", MODES)
def test_without_a_time_a_placeholder_stays_for_good(mode: str) -> None:
    found = plan_service(with_placeholder(kept(mode, None)), key("shop/reviews"), now=CREATED_AT + 10**9)
    assert (actions(found), found.due) == ([], None)


@pytest.mark.parametrize("mode", MODES)
def test_where_its_time_is_over_a_placeholder_goes_though_it_is_not_permitted_either(mode: str) -> None:
    cluster = with_placeholder(kept(mode))
    cluster.put(namespace("alice", allows="shop"))
    assert actions(plan_service(cluster, key("shop/reviews"), now=CREATED_AT + 59)) == []
    cluster.settings = SETTINGS
    cluster.put(namespace("alice"))
    found = plan_service(cluster, key("shop/reviews"), now=CREATED_AT + 60)
    assert actions(found) == [f"update {OURS}", "delete alice/reviews"]
    assert found.entries["defaults"].findings == ()
