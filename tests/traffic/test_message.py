"""A row that is wrong fails with everything that tells why."""

from __future__ import annotations

from mesh.judge import differences, explain
from mesh.requests import Request
from mesh.rig import Rig
from mesh.tables import Row
from traffic.objects import developers, namespaces, policy, service


def test_a_wrong_row_shows_the_request_both_answers_the_virtual_service_and_the_route(clean: Rig) -> None:
    rig = clean
    copies = [service("reviews", namespace) for namespace in ("shop", "alice")]
    rig.apply([*namespaces("shop", "alice"), *copies, policy("defaults", developers=developers("alice"))])
    rig.settle()
    request = Request("shop", "reviews.shop", headers={"x-developer": "alice"})
    row = Row("wrong on purpose", request, {"destination": "reviews.shop", "rule": "default"})
    answer = rig.ask(request)
    found = differences(row, answer)
    message = explain(row, answer, found, rig.cluster, rig.callers["shop"])
    assert found == ["answered by reviews.alice", "rule defaults.alice is not default"]
    for part in (
        "request   shop → reviews.shop:80  x-developer: alice",
        "expected  destination reviews.shop, rule default",
        "real      200 reviews.alice  by defaults.alice",
        "name: reviews-virtual-service",
        "host: reviews.alice.svc.cluster.local",
        "Envoy's route, defaults.alice → outbound|80||reviews.alice.svc.cluster.local",
        "string_match: {exact: alice",
    ):
        assert part in message, message


def test_a_right_row_has_no_differences(clean: Rig) -> None:
    rig = clean
    rig.apply([*namespaces("shop"), service("reviews", "shop")])
    rig.settle()
    request = Request("shop", "reviews.shop")
    assert differences(Row("right", request, {"destination": "reviews.shop"}), rig.ask(request)) == []
