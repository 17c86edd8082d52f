"""Whose policies may route to a namespace, by what it says and by --route-consent."""

from dataclasses import replace

import pytest

from builders import SETTINGS, developers, entry, namespace, namespaces, policy, resolved, routes, service, snapshot
from virtualservice_operator.core.snapshot import Snapshot

REQUIRED = replace(SETTINGS, requires_consent=True)
COMMAND = "kubectl annotate namespace alice --overwrite virtualservice-operator.dev/allow-policies-from="


def given(allows: str | None, *, required: bool) -> Snapshot:
    """Return a cluster where alice has a copy of reviews, and her namespace says this."""
    return snapshot(
        policy("shop/defaults", {"developers": developers("alice")}),
        *namespaces("shop"),
        namespace("alice", allows=allows),
        *(service(place) for place in ("shop/reviews", "alice/reviews")),
        settings=REQUIRED if required else SETTINGS,
    )


@pytest.mark.parametrize(
    ("allows", "required", "permitted"),
    [
        (None, False, True),
        (None, True, False),
        ("", False, False),
        ("pay", False, False),
        ("pay", True, False),
        ("pay, shop", True, True),
        ("*", True, True),
    ],
)
def test_a_route_is_written_where_the_namespace_permits_it(
    allows: str | None, *, required: bool, permitted: bool
) -> None:
    to_alice = ["defaults.alice -> reviews.alice"] if permitted else []
    assert routes(given(allows, required=required)) == [*to_alice, "default -> reviews.shop"]


@pytest.mark.parametrize(
    ("allows", "required", "granted"),
    [(None, True, "shop"), ("", False, "shop"), ("pay", False, "pay,shop"), ("web,pay", True, "web,pay,shop")],
)
def test_the_message_grants_it_and_keeps_what_was_granted(allows: str | None, granted: str, *, required: bool) -> None:
    cluster = given(allows, required=required)
    (finding,) = resolved(cluster).findings
    assert (finding.reason, finding.message) == (
        "RefNotPermitted",
        f"developer alice: namespace alice does not permit policies of shop; to grant it: {COMMAND}{granted}",
    )
    cluster.put(namespace("alice", allows=granted))
    assert resolved(cluster).findings == ()
    assert entry(cluster).developers == ("alice",)


def test_where_consent_to_routes_is_required_a_placeholder_needs_it_too() -> None:
    cluster = snapshot(
        policy("shop/defaults", {"developers": developers("alice"), "placeholder": {"mode": "ExternalName"}}),
        *namespaces("shop", "alice"),
        service("shop/reviews"),
        settings=replace(REQUIRED, requires_placeholder_consent=False),
    )
    assert [finding.reason for finding in resolved(cluster).findings] == ["RefNotPermitted"]
    assert entry(cluster).placeholders == 0
