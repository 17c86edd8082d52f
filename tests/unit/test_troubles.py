"""What a policy's owner is warned of: each trouble by itself, whatever stands beside it, and once."""

from typing import Any

import pytest

from builders import developers, namespace, namespaces, policy, resolved, service, snapshot
from virtualservice_operator.api.conditions import Reason, ServiceState
from virtualservice_operator.core.changes import Entry
from virtualservice_operator.core.objects import Finding
from virtualservice_operator.core.report import Standing, policy_status
from virtualservice_operator.core.resolution import ResolvedPolicy
from virtualservice_operator.core.troubles import find_troubles, known_after, said_troubles

CONSENT = (
    "developer bob: namespace bob does not permit policies of shop; to grant it: kubectl annotate namespace bob "
    "--overwrite virtualservice-operator.dev/allow-policies-from=other,shop"
)


def given(*listed: str, **spec: Any) -> ResolvedPolicy:
    """Return a policy for these developers; alice has a namespace, bob's permits others, and nobody else has one."""
    found = policy("shop/defaults", {"developers": developers(*listed), **spec})
    return resolved(snapshot(found, *namespaces("alice"), namespace("bob", allows="other"), service("shop/reviews")))


def standing(*entries: Entry, of: ResolvedPolicy | None = None) -> Standing:
    return Standing(of or given("alice"), {entry.service: entry for entry in entries}, set(), 1)


def failed(name: str, reason: Reason) -> Entry:
    return Entry(name, ServiceState.FAILED, reason, "no")


TAKEN = Entry("taken", ServiceState.SKIPPED, Reason.HOST_TAKEN, "theirs routes it")
TIED = Entry("tied", ServiceState.PROGRAMMED, Reason.PROGRAMMED, ties=("tied: only names decided",))
REFUSED = Finding(Reason.REF_NOT_PERMITTED, "no placeholders there")
BROKEN = Finding(Reason.INVALID_TEMPLATE, "line 2")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(standing(), {}, id="none"),
        pytest.param(standing(of=given("bob")), {"ConsentMissing": CONSENT}, id="consent"),
        pytest.param(
            standing(Entry("a", ServiceState.PARTIALLY_PROGRAMMED, Reason.REF_NOT_PERMITTED, findings=(REFUSED,))),
            {"ConsentMissing": "no placeholders there"},
            id="consent to placeholders",
        ),
        pytest.param(standing(of=given("nobody")), {}, id="a namespace that is not there"),
        pytest.param(standing(TIED), {"RouteTie": "tied: only names decided"}, id="tie"),
        pytest.param(standing(TAKEN), {"HostTaken": "taken: theirs routes it"}, id="host"),
        pytest.param(standing(failed("a", Reason.NAME_CONFLICT)), {"NameConflict": "a: no"}, id="name"),
        pytest.param(standing(failed("a", Reason.ADMISSION_REJECTED)), {"AdmissionRejected": "a: no"}, id="admission"),
        pytest.param(standing(failed("a", Reason.APPLY_FAILED)), {}, id="what is tried again"),
        pytest.param(
            standing(Entry("a", ServiceState.FAILED, Reason.INVALID_TEMPLATE, rejection=BROKEN)),
            {"TemplateInvalid": "line 2"},
            id="template",
        ),
        pytest.param(standing(of=given("bob", priority=1001)), {}, id="a spec that is not accepted"),
    ],
)
def test_each_trouble_has_its_event(found: Standing, expected: dict[str, str]) -> None:
    assert find_troubles(found) == expected


def test_a_consent_that_is_missing_is_said_beside_a_namespace_that_is_not_there() -> None:
    found = standing(of=given("nobody", "bob"))
    assert find_troubles(found) == {"ConsentMissing": CONSENT}
    conditions = {
        item["type"]: item["reason"] for item in policy_status(found, (), "2026-02-02T00:00:00Z")["conditions"]
    }
    assert conditions["ResolvedRefs"] == "NamespaceNotFound"


def test_a_host_that_is_taken_is_said_beside_a_tie() -> None:
    assert find_troubles(standing(TIED, TAKEN)) == {
        "RouteTie": "tied: only names decided",
        "HostTaken": "taken: theirs routes it",
    }


def test_what_is_refused_is_said_beside_a_name_that_is_taken() -> None:
    found = standing(failed("a", Reason.ADMISSION_REJECTED), failed("b", Reason.NAME_CONFLICT))
    assert find_troubles(found) == {"NameConflict": "b: no", "AdmissionRejected": "a: no"}


def test_three_of_a_kind_are_named_and_the_others_counted() -> None:
    found = standing(*(failed(name, Reason.NAME_CONFLICT) for name in "edcba"))
    assert find_troubles(found) == {"NameConflict": "a: no; b: no; c: no; and 2 more"}


# ---- once


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(standing(of=given("bob")), {"ConsentMissing"}, id="consent"),
        pytest.param(standing(TIED), {"RouteTie"}, id="tie"),
        pytest.param(standing(TAKEN), {"HostTaken"}, id="host"),
        pytest.param(standing(failed("a", Reason.NAME_CONFLICT)), {"NameConflict"}, id="name"),
        pytest.param(standing(failed("a", Reason.ADMISSION_REJECTED)), {"AdmissionRejected"}, id="admission"),
        pytest.param(
            standing(Entry("a", ServiceState.FAILED, Reason.INVALID_TEMPLATE, rejection=BROKEN)),
            {"TemplateInvalid"},
            id="template",
        ),
        pytest.param(standing(of=given("nobody")), set(), id="none that has an event"),
    ],
)
def test_what_the_stored_conditions_say_is_no_news_after_a_restart(found: Standing, expected: set[str]) -> None:
    assert said_troubles(policy_status(found, (), "2026-02-02T00:00:00Z")["conditions"]) == expected


@pytest.mark.parametrize(
    ("found", "known", "complete", "expected"),
    [
        pytest.param({"RouteTie"}, set(), True, {"RouteTie"}, id="begun"),
        pytest.param(set(), {"RouteTie"}, True, set(), id="over, so that it is news when it begins again"),
        pytest.param(set(), {"RouteTie"}, False, {"RouteTie"}, id="not looked at yet, so not over"),
        pytest.param({"HostTaken"}, {"RouteTie"}, False, {"HostTaken", "RouteTie"}, id="both"),
    ],
)
def test_a_trouble_is_known_until_it_is_over(
    found: set[str], known: set[str], *, complete: bool, expected: set[str]
) -> None:
    assert known_after(found, frozenset(known), complete=complete) == expected
