from collections.abc import Mapping
from typing import Any

import pytest

from virtualservice_operator.core.check import check_virtual_service
from virtualservice_operator.core.objects import Key

OWN = "reviews.shop.svc.cluster.local"
COPY = "reviews.alice.svc.cluster.local"


def rule(host: str = OWN, **more: Any) -> dict[str, Any]:
    return {"name": "default", "route": [{"destination": {"host": host}}], **more}


def header(name: str = "x-developer", **comparison: Any) -> dict[str, Any]:
    return {"headers": {name: comparison or {"exact": "alice"}}}


DEFAULT = rule()
DEVELOPER = rule(COPY, name="defaults.alice", match=[header()])


def problems(*http: Mapping[str, Any], **more: Any) -> list[str]:
    spec = {"hosts": [OWN], "http": list(http), **more}
    findings = check_virtual_service({"spec": spec}, Key("shop", "reviews"), "cluster.local", {"alice"})
    assert {str(finding.reason) for finding in findings} <= {"OutputNotAllowed"}
    return [finding.message for finding in findings]


@pytest.mark.parametrize(
    "http",
    [
        pytest.param([DEFAULT], id="catch-all only"),
        pytest.param([DEVELOPER, DEFAULT], id="a developer and the catch-all"),
        pytest.param(
            [rule(match=[{"port": 80}]), rule(match=[{"port": 9090}])],
            id="a catch-all for each port",
        ),
        pytest.param(
            [
                rule(COPY, match=[{"port": 80, **header()}]),
                rule(match=[{"port": 80}]),
                rule(match=[{"port": 9090}]),
            ],
            id="a developer on one of two ports",
        ),
        pytest.param(
            [
                rule(
                    COPY,
                    match=[{"port": 80, **header()}],
                    route=[{"destination": {"host": COPY, "port": {"number": 8080}}}],
                ),
                DEFAULT,
            ],
            id="another port of the copy",
        ),
        pytest.param(
            [
                {
                    "name": "unknown-developer",
                    "match": [{"headers": {"x-developer": {}}}],
                    "directResponse": {"status": 503},
                },
                DEFAULT,
            ],
            id="a header that has any value",
        ),
    ],
)
def test_what_the_operator_writes_is_allowed(http: list[dict[str, Any]]) -> None:
    assert problems(*http) == []


@pytest.mark.parametrize(
    ("http", "expected"),
    [
        pytest.param([rule(rewrite={"uri": "/"}), DEFAULT], "rewrite", id="an unknown field of a rule"),
        pytest.param([rule(match=[{"rout": 1}]), DEFAULT], "rout", id="an unknown field of a match"),
        pytest.param([rule(COPY, match=[header(contains="x")]), DEFAULT], "contains", id="an unknown comparison"),
        pytest.param(
            [rule(COPY, match=[{"headers": {"x": None}}]), DEFAULT], "valid dict", id="a header without a value"
        ),
        pytest.param([rule(COPY, match=[header(exact="")]), DEFAULT], "at least 1 character", id="an empty value"),
        pytest.param([rule(COPY, match=[header(exact="x" * 1025)]), DEFAULT], "at most 1024", id="a value too long"),
        pytest.param([rule(COPY, match=[header(exact=1)]), DEFAULT], "valid string", id="a value that is no text"),
        pytest.param([rule(COPY, match=[header("X-Developer")]), DEFAULT], "pattern", id="a header in upper case"),
        pytest.param([rule(COPY, match=[]), DEFAULT], "at least 1 item", id="an empty match"),
        pytest.param([rule(match=[{"port": 0}]), DEFAULT], "greater than or equal to 1", id="port 0"),
        pytest.param([rule(match=[{"port": 70000}]), DEFAULT], "less than or equal to 65535", id="port 70000"),
        pytest.param([rule(match=[{"port": "80"}]), DEFAULT], "valid integer", id="a port that is no number"),
        pytest.param([], "at least 1 item", id="no rules"),
    ],
)
def test_what_the_schema_does_not_have_is_refused(http: list[dict[str, Any]], expected: str) -> None:
    found = problems(*http)
    assert [text for text in found if expected in text]


@pytest.mark.parametrize(
    ("http", "expected"),
    [
        pytest.param(
            {"name": "no", "directResponse": {"status": 503, "body": {"string": "x" * 8193}}},
            "spec.http[0].directResponse.body.string: String should have at most 8192 characters",
            id="a body too long",
        ),
        pytest.param(rule(timeout=5), "spec.http[0].timeout: Input should be a valid string", id="of a route"),
        pytest.param(
            rule(match=[header(exact="")]),
            "spec.http[0].match[0].headers.x-developer.exact: String should have at least 1 character",
            id="of one comparison and not of the other three",
        ),
        pytest.param(
            rule(match=[header(contains="x")]),
            "spec.http[0].match[0].headers.x-developer.contains: Extra inputs are not permitted",
            id="of an unknown comparison",
        ),
        pytest.param(
            rule(match=[header("X-Dev")]),
            "spec.http[0].match[0].headers.X-Dev: String should match pattern '^[a-z0-9!#$%&'*+.^_|~-]+$'",
            id="of a key",
        ),
    ],
)
def test_a_problem_has_the_path_that_it_has_in_the_object(http: dict[str, Any], expected: str) -> None:
    assert problems(http, DEFAULT) == [expected]


def test_an_unknown_field_of_the_spec_is_refused() -> None:
    assert problems(DEFAULT, gateways=["mesh"]) == ["spec.gateways: Extra inputs are not permitted"]


@pytest.mark.parametrize("name", ["uri", "scheme", "method", "authority", "host"])
def test_a_part_of_the_request_line_is_no_header(name: str) -> None:
    assert problems(rule(COPY, match=[header(name)]), DEFAULT) == [
        f"spec.http[0].match: {name} is part of the request line, not a header"
    ]


@pytest.mark.parametrize(
    "host",
    [
        pytest.param("reviews.bob.svc.cluster.local", id="a namespace that no policy may use"),
        pytest.param("reviews.kube-system.svc.cluster.local", id="a system namespace"),
        pytest.param("reviews.alice", id="not a full name"),
        pytest.param("reviews", id="a short name"),
        pytest.param("example.com", id="the world"),
        pytest.param("reviews.alice.svc.example.org", id="another domain"),
        pytest.param("reviews.not-alice.svc.cluster.local", id="a namespace that ends alike"),
    ],
)
def test_a_destination_must_be_in_a_permitted_namespace(host: str) -> None:
    assert problems(rule(host, match=[header()]), DEFAULT) == [
        f"spec.http[0].route: {host} is not in a namespace that the policies may use"
    ]


def test_the_host_must_be_the_services_own() -> None:
    assert problems(DEFAULT, hosts=["ratings.shop.svc.cluster.local"]) == [
        "spec.hosts: ratings.shop.svc.cluster.local is not reviews.shop.svc.cluster.local"
    ]


def test_the_last_rule_must_be_the_catch_all() -> None:
    assert problems(DEFAULT, DEVELOPER) == ["spec.http: the last rule must be the catch-all"]


def test_a_port_with_rules_must_have_a_catch_all() -> None:
    assert problems(rule(COPY, match=[{"port": 80, **header()}]), rule(match=[{"port": 9090}])) == [
        "spec.http: port 80 has no catch-all"
    ]


def test_one_match_of_the_last_rule_with_a_header_makes_it_no_catch_all() -> None:
    assert "spec.http: the last rule must be the catch-all" in problems(rule(match=[{"port": 80}, header()]))


def test_all_problems_are_said() -> None:
    assert len(problems(DEFAULT, rule("a.b", match=[header("uri")]), hosts=["x"])) == 4


def test_a_long_problem_is_cut() -> None:
    (found,) = problems(rule("x" * 500, match=[header()]), DEFAULT)
    assert len(found) == 200
