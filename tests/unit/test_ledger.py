"""What is known of each policy between two status writes."""

from dataclasses import replace
from typing import Any

import pytest

from builders import developers, key, managed, namespaces, policy, resolved, service, snapshot
from virtualservice_operator.api.conditions import Reason, ServiceState
from virtualservice_operator.controller.ledger import Ledger, editions_of
from virtualservice_operator.core.changes import Entry
from virtualservice_operator.core.snapshot import Snapshot

REVIEWS = key("shop/reviews")
ENTRY = Entry("reviews", ServiceState.PROGRAMMED, Reason.PROGRAMMED)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


def shop(generation: int = 1, **spec: Any) -> Snapshot:
    found = policy("shop/defaults", {"developers": developers("alice"), **spec}, generation=generation)
    return snapshot(found, service("shop/reviews"), *namespaces("shop", "alice"))


def test_an_entry_that_was_planned_before_an_edit_is_still_to_come(ledger: Ledger) -> None:
    before = editions_of(shop(generation=1), "shop")
    cluster = shop(generation=2)
    ledger.record(REVIEWS, {"defaults": ENTRY}, before)
    assert ledger.standing(cluster, resolved(cluster), 1).pending == {"reviews"}
    ledger.record(REVIEWS, {"defaults": ENTRY}, editions_of(cluster, "shop"))
    assert ledger.standing(cluster, resolved(cluster), 1).pending == set()


def test_news_are_told_once(ledger: Ledger) -> None:
    editions = editions_of(shop(), "shop")
    assert ledger.record(REVIEWS, {"defaults": ENTRY}, editions) == {key("shop/defaults")}
    assert ledger.record(REVIEWS, {"defaults": replace(ENTRY)}, editions) == set()
    assert ledger.record(REVIEWS, {}, editions) == {key("shop/defaults")}


def test_a_suspended_policy_waits_for_what_it_contributed_to(ledger: Ledger) -> None:
    cluster = shop(mode="Suspended")
    cluster.put(managed("shop/reviews-virtual-service"))
    assert ledger.standing(cluster, resolved(cluster), None).pending == {"reviews"}
    frozen = Entry("reviews", ServiceState.FROZEN, Reason.POLICY_SUSPENDED)
    ledger.record(REVIEWS, {"defaults": frozen}, editions_of(cluster, "shop"))
    assert ledger.standing(cluster, resolved(cluster), None).pending == set()


def test_a_suspended_policy_that_contributed_to_nothing_waits_for_nothing(ledger: Ledger) -> None:
    cluster = shop(mode="Suspended")
    assert ledger.standing(cluster, resolved(cluster), None).pending == set()
