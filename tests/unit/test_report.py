import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from builders import developers, namespaces, plan, policy, resolved, service, snapshot
from virtualservice_operator.api.conditions import PlannedChange, Reason, ServiceState
from virtualservice_operator.api.v1alpha1 import RoutingPolicyStatus
from virtualservice_operator.core.changes import Entry
from virtualservice_operator.core.objects import ClusterObject, Finding
from virtualservice_operator.core.report import Standing, failed_entry, policy_status
from virtualservice_operator.core.resolution import ResolvedPolicy
from virtualservice_operator.core.wording import cut, stored_size

NOW = "2026-02-02T00:00:00Z"


def entry(
    service_name: str, state: str = "Programmed", reason: str | None = None, message: str = "", **more: Any
) -> Entry:
    return Entry(service_name, ServiceState(state), Reason(reason or state), message, **more)


def given(
    *objects: ClusterObject, spec: Mapping[str, Any] | None = None, generation: int = 2, place: str = "shop/defaults"
) -> ResolvedPolicy:
    found = spec if spec is not None else {"developers": developers("alice")}
    return resolved(snapshot(policy(place, found, generation=generation), *namespaces("alice"), *objects), place)


def status(
    *entries: Entry,
    pending: Collection[str] = (),
    observed: int | None = 2,
    of: ResolvedPolicy | None = None,
    before: Iterable[dict[str, Any]] = (),
) -> dict[str, Any]:
    standing = Standing(of or given(), {entry.service: entry for entry in entries}, pending, observed)
    return policy_status(standing, tuple(before), NOW)


def conditions(found: Mapping[str, Any]) -> dict[str, tuple[str, str, str]]:
    return {item["type"]: (item["status"], item["reason"], item["message"]) for item in found["conditions"]}


def condition(kind: str, *entries: Entry, **more: Any) -> tuple[str, str, str] | None:
    return conditions(status(*entries, **more)).get(kind)


HEADLESS = entry("headless", "Skipped", "Headless", "add a ClusterIP Service")
FAILED = entry("orders", "Failed", "NameConflict", "VirtualService shop/x has the name we need")
FROZEN = entry("frozen", "Frozen", "PolicyNotAccepted", "stays as it is")


def test_the_entries_are_sorted_once() -> None:
    standing = Standing(given(), {name: entry(name) for name in ("b", "c", "a")}, ())
    assert [item.service for item in standing.by_name] == ["a", "b", "c"]
    assert standing.by_name is standing.by_name


# ---- a whole status


def test_the_status_of_a_policy_without_trouble_is_complete() -> None:
    routed = entry("reviews", virtual_service="reviews-virtual-service", developers=("alice",), routes=1)
    found = status(routed, entry("ratings", virtual_service="ratings-virtual-service"))
    assert {name: value for name, value in found.items() if name != "conditions"} == {
        "observedGeneration": 2,
        "servicesReady": "2/2",
        "matchedServices": 2,
        "programmedServices": 2,
        "skippedServices": 0,
        "failedServices": 0,
        "developers": 1,
        "developerRoutes": 1,
        "placeholders": 0,
        "services": [
            {
                "name": "ratings",
                "state": "Programmed",
                "reason": "Programmed",
                "virtualServiceName": "ratings-virtual-service",
            },
            {
                "name": "reviews",
                "state": "Programmed",
                "reason": "Programmed",
                "virtualServiceName": "reviews-virtual-service",
                "developers": ["alice"],
            },
        ],
        "omittedServices": 0,
    }
    assert conditions(found) == {
        "Ready": ("True", "Programmed", "2 of 2 Services programmed"),
        "Accepted": ("True", "Accepted", ""),
        "ResolvedRefs": ("True", "ResolvedRefs", ""),
        "Programmed": ("True", "Programmed", ""),
    }


def test_each_condition_says_of_which_generation_it_speaks() -> None:
    assert {item["observedGeneration"] for item in status(entry("reviews"))["conditions"]} == {2}


def test_times_are_kept_where_the_status_of_a_condition_stays() -> None:
    before = [{"type": "Ready", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"}]
    found = {item["type"]: item["lastTransitionTime"] for item in status(entry("a"), before=before)["conditions"]}
    assert (found["Ready"], found["Accepted"]) == ("2020-01-01T00:00:00Z", NOW)


# ---- counts


def test_each_state_counts_where_it_belongs() -> None:
    found = status(
        entry("a"),
        entry("b", "PartiallyProgrammed", "PortMismatch"),
        entry("c", "Overridden", "RouteOverridden"),
        HEADLESS,
        FAILED,
        FROZEN,
        entry("waits", "Pending", "IstioNotInstalled"),
    )
    assert {
        name: found[name]
        for name in ("servicesReady", "matchedServices", "programmedServices", "skippedServices", "failedServices")
    } == {
        "servicesReady": "3/6",
        "matchedServices": 7,
        "programmedServices": 3,
        "skippedServices": 1,
        "failedServices": 1,
    }


def test_services_that_were_not_looked_at_yet_are_matched() -> None:
    found = status(entry("a"), pending={"b", "c"})
    assert (found["matchedServices"], found["servicesReady"]) == (3, "1/3")


def test_a_service_that_is_looked_at_again_counts_once() -> None:
    assert status(entry("a"), pending={"a"})["matchedServices"] == 1


def test_routes_are_counted_over_all_services() -> None:
    routed = [entry(name, developers=("alice", "bob"), routes=2) for name in ("a", "b")]
    assert status(*routed)["developerRoutes"] == 4


def test_developers_count_with_or_without_copies() -> None:
    assert status(of=given(spec={"developers": developers("alice", "bob")}))["developers"] == 2


# ---- entries


def test_problems_come_first_then_names() -> None:
    found = status(
        entry("a"),
        HEADLESS,
        entry("over", "Overridden", "RouteOverridden"),
        entry("part", "PartiallyProgrammed", "PortMismatch"),
        entry("waits", "Pending", "IstioNotInstalled"),
        FROZEN,
        entry("zz", "Failed", "NameConflict"),
        FAILED,
    )
    assert [item["name"] for item in found["services"]] == [
        "orders",
        "zz",
        "frozen",
        "waits",
        "part",
        "over",
        "headless",
        "a",
    ]


def test_sixty_four_services_are_shown_and_the_others_counted() -> None:
    found = status(*(entry(f"s{index:03}") for index in range(70)))
    assert (len(found["services"]), found["omittedServices"], found["matchedServices"]) == (64, 6, 70)


def test_a_failed_service_is_shown_even_among_many() -> None:
    found = status(*(entry(f"a{index:03}") for index in range(70)), FAILED)
    assert found["services"][0]["name"] == "orders"


def test_eight_developers_are_shown_and_the_others_counted() -> None:
    names = tuple(f"d{index:02}" for index in range(11))
    (found,) = status(entry("reviews", developers=names))["services"]
    assert found["developers"] == ["d00", "d01", "d02", "d03", "d04", "d05", "d06", "d07"]
    assert found["omittedDevelopers"] == 3


def test_a_long_message_of_a_service_is_cut() -> None:
    (found,) = status(entry("reviews", "Failed", "ApplyFailed", "x" * 300))["services"]
    assert found["message"] == "x" * 255 + "…"


def test_a_status_fits_its_schema_whatever_is_said() -> None:
    """The API server refuses one that does not, and the policy would be Pending for good."""
    many = tuple("d" * 62 + str(index) for index in range(10))
    said: dict[str, Any] = {"message": "x" * 5000, "developers": ("-bob", *many), "ties": ("t" * 5000,)}
    entries = [
        Entry(f"{state}{index:03}".ljust(237, "s"), state, reason, virtual_service="v" * 253, **said)
        for state in ServiceState
        for index, reason in enumerate(Reason)
    ]
    found = status(*entries, replace(entries[0], service="observed", planned_change=max(PlannedChange, key=len)))
    assert len(RoutingPolicyStatus.model_validate(found).services or ()) > 8
    for entry_of_each in entries:
        RoutingPolicyStatus.model_validate(status(entry_of_each))


# ---- the size of a status


def bytes_of(found: Mapping[str, Any]) -> int:
    """Return the size in the widest form of the same JSON: with spaces, and with every other character escaped."""
    return len(json.dumps(found))


def test_a_status_over_two_thousand_services_with_long_names_stays_under_32_kib() -> None:
    people = tuple("d" * 61 + f"{index:02}" for index in range(12))
    missing = "developer {}: {}/{} has no port grpc (9090); requests for it go to the default; add the port to the copy"
    entries = []
    for index in range(2000):
        name = "s" * 59 + f"{index:04}"
        findings = tuple(Finding(Reason.PORT_MISMATCH, missing.format(who, who, name)) for who in people)
        entries.append(
            entry(
                name,
                "PartiallyProgrammed",
                "PortMismatch",
                "; ".join(finding.message for finding in findings),
                virtual_service=f"{name}-virtual-service",
                developers=people,
                findings=findings,
                ties=tuple(f"{name}: {finding.message}" for finding in findings),
            )
        )
    found = status(*entries, FAILED)
    assert bytes_of(found) < 32 * 1024
    assert found["services"][0]["name"] == "orders"
    assert [item["name"][-4:] for item in found["services"][1:4]] == ["0000", "0001", "0002"]
    assert 15 < len(found["services"]) < 64
    assert len(found["services"]) + found["omittedServices"] == found["matchedServices"] == 2001


def test_the_status_of_many_ordinary_services_shows_sixty_four() -> None:
    routed = [
        entry(f"service-{index:04}", virtual_service=f"service-{index:04}-virtual-service", developers=("alice", "bob"))
        for index in range(2000)
    ]
    found = status(*routed)
    assert (len(found["services"]), found["omittedServices"]) == (64, 1936)


@pytest.mark.parametrize("character", ["x", "ж", "語", "😀", '"', "<", "\x01"])
def test_what_takes_several_bytes_counts_as_such(character: str) -> None:
    said: dict[str, Any] = {"message": character * 5000, "ties": (character * 5000,)}
    failed = [entry(f"s{index:02}", "Failed", "AdmissionRejected", **said) for index in range(64)]
    rejected = Finding(Reason.INVALID_TEMPLATE, character * 5000)
    found = status(*failed, replace(failed[0], rejection=rejected, findings=(rejected,)))
    assert stored_size(found) <= 30 * 1024
    assert len(found["services"]) >= 8


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param({"a": [1, "b"]}, 13, id="without spaces"),
        pytest.param("é", 4, id="two bytes"),
        pytest.param("😀", 6, id="four bytes"),
        pytest.param('"', 4, id="a quote"),
        pytest.param("<", 8, id="escaped by Go"),
        pytest.param("\u2028", 8, id="escaped by Go too"),
    ],
)
def test_the_stored_size_is_in_bytes(value: Any, expected: int) -> None:
    assert stored_size(value) == expected


def test_a_message_of_wide_characters_is_cut_so_that_it_fits() -> None:
    assert cut("ж" * 1024) == "ж" * 1024
    short = cut("語" * 1024)
    assert short == "語" * 681 + "…"
    assert stored_size(short) <= 2 * 1024


# ---- Accepted


def test_a_policy_that_is_not_accepted_says_why_and_stalls() -> None:
    refused = given(place="kube-system/defaults")
    said = "namespace kube-system is a system namespace: no policy is honoured there; move the policy to the namespace"
    found = conditions(status(of=refused))
    for kind, expected in (("Accepted", "False"), ("Ready", "False"), ("Stalled", "True")):
        assert found[kind][:2] == (expected, "NamespaceNotAllowed")
        assert found[kind][2].startswith(said)
    assert found["ResolvedRefs"] == ("Unknown", "Pending", "The policy is not accepted")
    assert found["Programmed"] == ("Unknown", "Pending", "The policy is not accepted")


def test_a_policy_that_is_not_accepted_and_froze_something_says_that_too() -> None:
    refused = given(spec={"priority": 1001})
    found = conditions(status(FROZEN, of=refused))
    assert found["Programmed"][:2] == ("False", "Frozen")
    assert found["Ready"][:2] == ("False", "InvalidSpec")
    assert found["Stalled"][:2] == ("True", "InvalidSpec")


def test_a_command_is_never_cut_within_a_word() -> None:
    """Half a list of namespaces, pasted, would close a namespace to all that did not fit."""
    said = "to grant it: kubectl annotate namespace alice " + "x" * 300
    (found,) = status(entry("reviews", "PartiallyProgrammed", "RefNotPermitted", said))["services"]
    assert found["message"] == "to grant it: kubectl annotate namespace alice…"


def test_a_long_reason_is_cut() -> None:
    refused = given(spec={"unknown" + "x" * 2000: 1})
    said = conditions(status(of=refused))["Accepted"][2]
    assert (len(said), said[-1]) == (1024, "…")


# ---- ResolvedRefs


def test_a_developer_without_a_namespace_is_said_and_ready_stays() -> None:
    found = conditions(status(entry("a"), of=given(spec={"developers": developers("bob")})))
    assert found["ResolvedRefs"] == (
        "False",
        "NamespaceNotFound",
        "developer bob: there is no namespace bob; create it, or correct the entry in spec.developers",
    )
    assert found["Ready"][0] == "True"


def test_findings_of_services_are_said_after_those_of_the_policy() -> None:
    finding = Finding(Reason.PORT_MISMATCH, "alice/a has no port")
    found = condition("ResolvedRefs", entry("a", findings=(finding,)), of=given(spec={"developers": developers("bob")}))
    assert found is not None
    assert found[1] == "NamespaceNotFound"
    assert found[2].endswith("; alice/a has no port")


def test_the_same_finding_is_said_once() -> None:
    finding = Finding(Reason.AMBIGUOUS_COPY, "which one?")
    assert condition("ResolvedRefs", entry("a", findings=(finding, finding)), entry("b", findings=(finding,))) == (
        "False",
        "AmbiguousCopy",
        "which one?",
    )


def test_three_findings_are_said_and_the_others_counted() -> None:
    findings = tuple(Finding(Reason.PORT_MISMATCH, text) for text in "abcde")
    found = condition("ResolvedRefs", entry("a", findings=findings))
    assert found is not None
    assert found[2] == "a; b; c; and 2 more"


# ---- Programmed


def test_one_failed_service_fails_the_policy() -> None:
    said = "orders: VirtualService shop/x has the name we need"
    found = conditions(status(entry("a"), FAILED))
    assert found["Programmed"] == ("False", "NameConflict", said)
    assert found["Ready"] == ("False", "NameConflict", said)


def test_three_failed_services_are_named_and_the_others_counted() -> None:
    failed = [entry(name, "Failed", "ApplyFailed", "no") for name in "edcba"]
    assert condition("Programmed", *failed) == ("False", "ApplyFailed", "a: no; b: no; c: no; and 2 more")


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        pytest.param([FAILED, FROZEN, entry("w", "Pending", "IstioNotInstalled")], "NameConflict", id="failed first"),
        pytest.param([FROZEN, entry("w", "Pending", "IstioNotInstalled")], "Frozen", id="then frozen"),
        pytest.param([entry("w", "Pending", "IstioNotInstalled"), entry("a")], "IstioNotInstalled", id="then pending"),
    ],
)
def test_the_worst_state_is_the_reason(entries: list[Entry], reason: str) -> None:
    found = condition("Programmed", *entries)
    assert found is not None
    assert found[:2] == ("False", reason)


@pytest.mark.parametrize(
    ("state", "reason"), [("PartiallyProgrammed", "PortMismatch"), ("Overridden", "RouteOverridden")]
)
def test_a_service_that_is_not_wholly_as_asked_makes_it_partial(state: str, reason: str) -> None:
    found = conditions(status(entry("a"), entry("b", state, reason, "less than asked")))
    assert found["Programmed"] == ("True", "PartiallyProgrammed", "b: less than asked")
    assert found["Ready"] == ("True", "PartiallyProgrammed", "2 of 2 Services programmed")


def test_a_policy_that_governs_nothing_is_ready() -> None:
    said = "namespace shop has no Service that the policy selects"
    found = conditions(status())
    assert found["Programmed"] == ("True", "NoMatchingServices", said)
    assert found["Ready"] == ("True", "NoMatchingServices", said)


def test_names_that_no_service_has_are_said() -> None:
    named = given(spec={"services": {"names": ["a", "b", "c", "d"]}})
    found = condition("Programmed", of=named)
    assert found is not None
    assert found[2] == "namespace shop has no Service named a or b or c"


def test_skipped_services_leave_the_policy_ready_and_are_counted() -> None:
    found = conditions(status(entry("a"), HEADLESS))
    assert found["Ready"] == ("True", "Programmed", "1 of 1 Services programmed; 1 skipped")


def test_a_policy_all_of_whose_services_are_skipped_is_ready() -> None:
    found = status(HEADLESS)
    assert found["servicesReady"] == "0/0"
    assert conditions(found)["Ready"] == ("True", "Programmed", "0 of 0 Services programmed; 1 skipped")


# ---- overridden routes


def overridden(*listed: str) -> Entry:
    cluster = snapshot(
        policy("shop/defaults", {"developers": developers(**{name: ["alice"] for name in listed})}),
        policy("shop/strict", {"priority": 10, "developers": developers(**{name: ["qa"] for name in listed})}),
        *namespaces("alice", "qa"),
        service("shop/payments"),
        service("alice/payments"),
        service("qa/payments"),
    )
    return plan(cluster, "shop/payments").entries["defaults"]


def test_an_overridden_route_is_said_with_where_its_requests_go() -> None:
    found = conditions(status(overridden("alice"), entry("reviews")))
    assert found["Programmed"] == (
        "True",
        "PartiallyProgrammed",
        "payments: x-developer=alice goes to qa by strict (priority 10)",
    )
    assert found["Ready"] == ("True", "PartiallyProgrammed", "2 of 2 Services programmed; 1 route overridden")


def test_several_overridden_routes_are_counted() -> None:
    found = condition("Ready", overridden("alice", "bob"))
    assert found is not None
    assert found[2] == "1 of 1 Services programmed; 2 routes overridden"


def test_what_was_overridden_on_purpose_is_no_conflict() -> None:
    assert condition("Conflicted", overridden("alice")) is None


# ---- Conflicted


def test_a_tie_is_a_conflict_and_ready_stays() -> None:
    found = conditions(status(entry("a", ties=("a: only names decided",))))
    assert found["Conflicted"] == ("True", "RouteTie", "a: only names decided")
    assert found["Ready"][0] == "True"


def test_the_same_tie_is_said_once() -> None:
    found = condition("Conflicted", entry("a", ties=("x",)), entry("b", ties=("x", "y")))
    assert found == ("True", "RouteTie", "x; y")


def test_a_host_that_is_taken_is_a_conflict_and_ready_stays() -> None:
    found = conditions(status(entry("a", "Skipped", "HostTaken", "theirs routes it")))
    assert found["Conflicted"] == ("True", "HostTaken", "a: theirs routes it")
    assert found["Ready"][0] == "True"


def test_a_tie_is_named_before_a_host_that_is_taken() -> None:
    found = condition("Conflicted", entry("a", "Skipped", "HostTaken", "theirs"), entry("b", ties=("tie",)))
    assert found == ("True", "RouteTie", "tie; a: theirs")


def test_without_conflict_the_condition_is_absent() -> None:
    assert condition("Conflicted", entry("a"), FAILED, HEADLESS) is None


# ---- Reconciling and Stalled


@pytest.mark.parametrize("reason", ["Forbidden", "AdmissionRejected", "ApplyFailed"])
def test_what_is_tried_again_reconciles_and_does_not_stall(reason: str) -> None:
    found = conditions(status(entry("a", "Failed", reason, "later")))
    assert found["Reconciling"] == ("True", "ProgressingWithRetry", "a: later")
    assert "Stalled" not in found


def test_waiting_for_istio_reconciles_and_does_not_stall() -> None:
    found = conditions(status(entry("a", "Pending", "IstioNotInstalled", "install it")))
    assert found["Reconciling"] == ("True", "ProgressingWithRetry", "a: install it")
    assert "Stalled" not in found


@pytest.mark.parametrize("reason", ["HostConflict", "NameConflict", "OutputNotAllowed"])
def test_what_waits_for_somebody_stalls(reason: str) -> None:
    found = conditions(status(entry("a", "Failed", reason, "do something")))
    assert found["Stalled"] == ("True", reason, "a: do something")
    assert "Reconciling" not in found


def test_what_is_frozen_by_another_policy_does_not_stall() -> None:
    found = conditions(status(FROZEN))
    assert found["Ready"] == ("False", "Frozen", "frozen: stays as it is")
    assert "Stalled" not in found


def test_where_all_is_done_neither_is_there() -> None:
    assert list(conditions(status(entry("a")))) == ["Ready", "Accepted", "ResolvedRefs", "Programmed"]


# ---- while Services are still to be looked at


def test_the_generation_moves_only_when_nothing_is_pending() -> None:
    found = status(entry("a"), pending={"b"}, observed=1)
    assert found["observedGeneration"] == 1
    assert {item["observedGeneration"] for item in found["conditions"]} == {1}


def test_work_that_goes_on_is_counted() -> None:
    assert condition("Reconciling", entry("a"), pending={"b"}, observed=1) == (
        "True",
        "Progressing",
        "1 of 2 Services to go",
    )


def test_a_policy_that_was_never_carried_out_is_unknown_until_all_is_done() -> None:
    found = status(entry("a"), pending={"b"}, observed=None)
    assert "observedGeneration" not in found
    assert conditions(found)["Programmed"] == ("Unknown", "Pending", "Waiting for the operator")
    assert conditions(found)["Ready"] == ("Unknown", "Pending", "Waiting for the operator")


def test_a_failure_is_said_even_while_others_are_pending() -> None:
    found = conditions(status(FAILED, pending={"b"}, observed=None))
    assert found["Programmed"][:2] == ("False", "NameConflict")


def test_a_policy_that_is_being_carried_out_does_not_stall() -> None:
    assert condition("Stalled", FAILED, pending={"b"}, observed=1) is None


# ---- failed entries


def test_a_change_that_did_not_go_through_fails_the_service() -> None:
    finding = Finding(Reason.FORBIDDEN, "grant it")
    before = entry("a", developers=("alice",), virtual_service="a-virtual-service", findings=(finding,), ties=("t",))
    assert failed_entry(before, finding) == entry(
        "a", "Failed", "Forbidden", "grant it", findings=(finding,), ties=("t",)
    )


def test_without_istio_the_service_waits() -> None:
    finding = Finding(Reason.ISTIO_NOT_INSTALLED, "install it")
    assert failed_entry(entry("a"), finding) == entry("a", "Pending", "IstioNotInstalled", "install it")


@pytest.mark.parametrize("state", ["Observed", "Frozen"])
def test_a_failure_is_none_of_a_policys_business_that_had_no_part_in_it(state: str) -> None:
    found = entry("reviews", state, "Observed" if state == "Observed" else "PolicySuspended")
    assert failed_entry(found, Finding(Reason.FORBIDDEN, "no")) == found
