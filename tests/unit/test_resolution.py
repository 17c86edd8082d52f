from typing import Any

import pytest

from builders import (
    developers,
    namespace,
    namespaces,
    policy,
    resolved,
    rules,
    service,
    snapshot,
)
from virtualservice_operator.core.objects import Namespace
from virtualservice_operator.core.resolution import PlanSettings, ResolvedPolicy, depends_on_namespace, resolve_policy

SETTINGS = PlanSettings(istio_namespace="mesh-control", operator_namespace="routing")


def resolution(spec: dict[str, Any], *found: Namespace, place: str = "shop/defaults") -> ResolvedPolicy:
    return resolved(snapshot(policy(place, spec), *found), place)


def places(found: ResolvedPolicy) -> dict[str, tuple[str, ...]]:
    """Return each developer's usable namespaces."""
    return {developer.name: developer.namespaces for developer in found.developers}


def said(found: ResolvedPolicy) -> list[tuple[str, str]]:
    return [(finding.reason, finding.message) for finding in found.findings]


# ---- accepted or not


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("kube-system", True, id="kube-system"),
        pytest.param("kube-anything", True, id="kube-…"),
        pytest.param("mesh-control", True, id="Istio's"),
        pytest.param("routing", True, id="the operator's"),
        pytest.param("kube", False, id="kube alone"),
        pytest.param("my-kube-system", False, id="kube in the middle"),
        pytest.param("istio-system", False, id="where Istio is not"),
        pytest.param("default", False, id="default"),
    ],
)
def test_system_namespaces_are_denied(name: str, *, expected: bool) -> None:
    assert SETTINGS.is_denied(name) is expected


def test_a_policy_in_a_system_namespace_is_not_accepted() -> None:
    found = resolution({}, place="kube-system/defaults").rejection
    assert found is not None
    assert found.reason == "NamespaceNotAllowed"
    assert found.message == (
        "namespace kube-system is a system namespace: no policy is honoured there; move the policy to the namespace of "
        "the Services it is for"
    )


def test_a_policy_that_does_not_fit_the_schema_is_not_accepted_and_all_is_said() -> None:
    found = resolution({"priority": 1001, "developers": [{}]}).rejection
    assert found is not None
    assert found.reason == "InvalidSpec"
    assert found.message == (
        "spec.priority: 1001: Input should be less than or equal to 1000; "
        "spec.developers[0].name: it is missing; add it"
    )


def test_a_policy_that_does_not_fit_the_schema_has_no_spec_to_ask_for() -> None:
    with pytest.raises(ValueError, match="shop/defaults has no valid spec"):
        _ = resolution({"priority": 1001}).spec


def test_a_policy_that_is_not_accepted_has_no_developers() -> None:
    match = {"type": "Header", "name": "x", "value": "{{ Developer }}"}
    found = resolution({"developers": developers("alice"), "matches": [match]}, namespace("alice"))
    assert found.rejection is not None
    assert (found.developers, found.namespaces) == ((), frozenset())


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        pytest.param(
            {"value": "{{ DeveloperName }}-{{ Developer }}"},
            "spec.matches[0].value: {{ Developer }} is not a variable; use one of ServiceName, ServiceNamespace, "
            "DeveloperName, DeveloperNamespace",
            id="unknown variable",
        ),
        pytest.param(
            {"matchType": "Regex", "value": "({{ DeveloperName }}"},
            "spec.matches[0].value: '({{ DeveloperName }}' is not an RE2 regular expression: missing )",
            id="not closed",
        ),
        pytest.param(
            {"matchType": "Regex", "value": "(?=x){{ DeveloperName }}"},
            "is not an RE2 regular expression",
            id="not RE2",
        ),
        pytest.param(
            {"matchType": "Regex", "value": "é" * 500 + "{{ DeveloperName }}"}, "1126 bytes", id="regex too long"
        ),
    ],
)
def test_a_match_that_cannot_work_is_refused(match: dict[str, Any], expected: str) -> None:
    found = resolution({"matches": [{"type": "Header", "name": "x", **match}]}).rejection
    assert found is not None
    assert found.reason == "InvalidSpec"
    assert expected in found.message


def test_every_match_that_cannot_work_is_named() -> None:
    match = {"type": "Header", "name": "x", "value": "{{ Developer }}"}
    found = resolution({"matches": [match, {"type": "Header", "name": "y"}, match]}).rejection
    assert found is not None
    assert "spec.matches[0].value" in found.message
    assert "spec.matches[2].value" in found.message
    assert "spec.matches[1]" not in found.message


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("(?i){{ DeveloperName }}", id="case-insensitive"),
        pytest.param(r"(.*,)?\s*developer={{ DeveloperName }}\s*([,;].*)?", id="baggage"),
        pytest.param(r"\p{L}+-{{ DeveloperName }}", id="a class of letters"),
        pytest.param("{{ DeveloperName }}{1,3}", id="repetition"),
    ],
)
def test_regular_expressions_of_re2_are_accepted(value: str) -> None:
    match = {"type": "Header", "name": "x", "matchType": "Regex", "value": value}
    assert resolution({"matches": [match]}).rejection is None


# ---- developers by name


def test_a_developers_namespace_is_their_name_where_none_is_listed() -> None:
    assert places(resolution({"developers": developers("alice")}, namespace("alice"))) == {"alice": ("alice",)}


def test_listed_namespaces_keep_their_order() -> None:
    found = resolution({"developers": developers(alice=["z", "a", "m"])}, *namespaces("a", "m", "z"))
    assert places(found) == {"alice": ("z", "a", "m")}


def test_listed_developers_keep_their_order() -> None:
    found = resolution({"developers": developers("zoe", "alice")}, *namespaces("zoe", "alice"))
    assert list(places(found)) == ["zoe", "alice"]


def test_an_empty_list_of_developers_is_nobody() -> None:
    assert places(resolution({"developers": []}, namespace("dev-alice", developer="alice"))) == {}


def test_all_usable_namespaces_are_reached() -> None:
    spec = {"developers": developers(alice=["a", "b"], bob=["b", "missing"])}
    assert resolution(spec, *namespaces("a", "b", "c")).namespaces == {"a", "b"}


# ---- developers by label


def test_by_default_developers_are_found_by_our_label() -> None:
    found = resolution({}, namespace("dev-alice", developer="alice"), namespace("other"))
    assert places(found) == {"alice": ("dev-alice",)}


@pytest.mark.parametrize(
    ("source", "labels", "expected"),
    [
        pytest.param({}, {"virtualservice-operator.dev/developer": "alice"}, "alice", id="our label"),
        pytest.param({}, {"virtualservice-operator.dev/developer": ""}, "dev-alice", id="our label, empty"),
        pytest.param({"nameLabel": "owner"}, {"owner": "alice"}, "alice", id="another label"),
        pytest.param(
            {"stripPrefix": "dev-"}, {"virtualservice-operator.dev/developer": ""}, "alice", id="the name less a prefix"
        ),
        pytest.param(
            {"stripPrefix": "dev-"},
            {"virtualservice-operator.dev/developer": "dev-al"},
            "dev-al",
            id="no prefix is taken off a label",
        ),
        pytest.param(
            {"stripPrefix": "sandbox-"},
            {"virtualservice-operator.dev/developer": ""},
            "dev-alice",
            id="a prefix the name has not",
        ),
        pytest.param(
            {"stripPrefix": "dev-alice"},
            {"virtualservice-operator.dev/developer": ""},
            "dev-alice",
            id="a prefix that is the whole name",
        ),
        pytest.param(
            {"namespaceSelector": {"matchLabels": {"sandbox": "true"}}, "stripPrefix": "dev-"},
            {"sandbox": "true"},
            "alice",
            id="selected, without the label",
        ),
        pytest.param(
            {"namespaceSelector": {"matchLabels": {"sandbox": "true"}}, "nameLabel": "owner"},
            {"sandbox": "true", "owner": "al"},
            "al",
            id="selected, with the label",
        ),
    ],
)
def test_a_developers_name_is_read_from_the_namespace(
    source: dict[str, Any], labels: dict[str, str], expected: str
) -> None:
    found = resolution({"developersFrom": source}, namespace("dev-alice", labels=labels))
    assert places(found) == {expected: ("dev-alice",)}


@pytest.mark.parametrize(
    ("source", "labels"),
    [
        pytest.param({}, {"owner": "alice"}, id="without our label"),
        pytest.param(
            {"nameLabel": "owner"}, {"virtualservice-operator.dev/developer": "alice"}, id="without that label"
        ),
        pytest.param(
            {"namespaceSelector": {"matchLabels": {"sandbox": "true"}}},
            {"virtualservice-operator.dev/developer": "alice"},
            id="not selected",
        ),
    ],
)
def test_a_namespace_that_is_not_selected_belongs_to_nobody(source: dict[str, Any], labels: dict[str, str]) -> None:
    assert places(resolution({"developersFrom": source}, namespace("dev-alice", labels=labels))) == {}


def test_several_namespaces_of_one_developer_are_ordered_by_name() -> None:
    found = resolution({}, *(namespace(name, developer="alice") for name in ("z", "a", "m")))
    assert places(found) == {"alice": ("a", "m", "z")}


def test_found_developers_are_ordered_by_name() -> None:
    found = resolution({}, namespace("a", developer="zoe"), namespace("z", developer="alice"))
    assert list(places(found)) == ["alice", "zoe"]


def test_listed_and_found_developers_are_united_and_listed_namespaces_come_first() -> None:
    spec = {"developers": developers(zoe=["team"]), "developersFrom": {}}
    found = resolution(
        spec, namespace("team"), namespace("a", developer="zoe"), namespace("b", developer="bob"), namespace("c")
    )
    assert places(found) == {"zoe": ("team", "a"), "bob": ("b",)}


def test_a_namespace_that_is_listed_and_found_counts_once() -> None:
    spec = {"developers": developers(alice=["a", "b"]), "developersFrom": {}}
    found = resolution(spec, namespace("a"), namespace("b", developer="alice"))
    assert places(found) == {"alice": ("a", "b")}


def test_listed_developers_alone_switch_the_label_off() -> None:
    found = resolution({"developers": developers("bob")}, namespace("bob"), namespace("a", developer="alice"))
    assert places(found) == {"bob": ("bob",)}


def test_a_labelled_namespace_that_is_being_deleted_belongs_to_nobody() -> None:
    assert places(resolution({}, namespace("dev-alice", developer="alice", terminating=True))) == {}


# ---- one developer's mistake costs that developer only


@pytest.mark.parametrize(
    ("prefix", "place", "left", "remedy"),
    [
        pytest.param("dev", "dev-bob", "-bob", "dev-", id="without the dash"),
        pytest.param("dev-", "dev--bob", "-bob", "dev--", id="one dash of two"),
        pytest.param("d", "d---b", "---b", "d---", id="several dashes"),
    ],
)
def test_what_a_prefix_leaves_must_be_a_name(prefix: str, place: str, left: str, remedy: str) -> None:
    spec = {"developersFrom": {"namespaceSelector": {}, "stripPrefix": prefix}}
    found = resolution(spec, namespace(place), namespace("carol"))
    assert found.rejection is None
    assert places(found) == {"carol": ("carol",)}
    message = (
        f"namespace {place}: spec.developersFrom.stripPrefix: {prefix} leaves {left}, which cannot be a developer's name: "
        f"it begins with a dash; write stripPrefix: {remedy}"
    )
    assert said(found) == [("NamespaceNotAllowed", message)]


def test_a_missing_namespace_costs_that_developer_only() -> None:
    found = resolution({"developers": developers("alice", "bob")}, namespace("bob"))
    assert found.rejection is None
    assert places(found) == {"alice": (), "bob": ("bob",)}
    assert said(found) == [
        (
            "NamespaceNotFound",
            "developer alice: there is no namespace alice; create it, or correct the entry in spec.developers",
        )
    ]


def test_a_listed_namespace_that_is_being_deleted_counts_as_missing() -> None:
    found = resolution({"developers": developers("alice")}, namespace("alice", terminating=True))
    assert [reason for reason, _ in said(found)] == ["NamespaceNotFound"]


def test_a_missing_namespace_costs_its_place_in_the_order_only() -> None:
    found = resolution({"developers": developers(alice=["gone", "team"])}, namespace("team"))
    assert places(found) == {"alice": ("team",)}


def test_the_policys_own_namespace_holds_no_copies() -> None:
    found = resolution({"developers": developers(alice=["shop", "a"])}, *namespaces("shop", "a"))
    assert places(found) == {"alice": ("a",)}
    assert said(found) == [
        (
            "NamespaceNotAllowed",
            "developer alice: shop is the policy's own namespace; copies live in namespaces of their own",
        )
    ]


@pytest.mark.parametrize("name", ["kube-system", "istio-system", "virtualservice-operator"])
def test_a_system_namespace_holds_no_copies(name: str) -> None:
    found = resolution({"developers": developers(alice=[name])}, namespace(name))
    assert places(found) == {"alice": ()}
    assert said(found) == [
        (
            "NamespaceNotAllowed",
            f"developer alice: {name} is a system namespace; copies live in namespaces of their own",
        )
    ]


def test_a_labelled_system_namespace_does_not_fail_the_policy() -> None:
    found = resolution({}, namespace("kube-system", developer="mallory"), namespace("a", developer="alice"))
    assert found.rejection is None
    assert places(found) == {"alice": ("a",), "mallory": ()}


def test_whether_a_namespace_is_missing_is_not_asked_of_a_system_namespace() -> None:
    found = resolution({"developers": developers(alice=["kube-nowhere"])})
    assert [reason for reason, _ in said(found)] == ["NamespaceNotAllowed"]


def test_a_namespace_is_denied_by_the_settings() -> None:
    found = resolve_policy(policy("shop/a", {"developers": developers("routing")}), {}, SETTINGS)
    assert [reason for reason, _ in said(found)] == ["NamespaceNotAllowed"]


# ---- matches


def matched(*matches: dict[str, Any], name: str = "alice", home: str = "dev-alice") -> list[dict[str, Any]]:
    """Return the match of the first rule for one developer, as it is written."""
    spec = {"developers": [{"name": name, "namespaces": [home]}], **({"matches": list(matches)} if matches else {})}
    cluster = snapshot(
        policy("shop/defaults", spec), namespace(home), service("shop/reviews"), service(f"{home}/reviews")
    )
    found: list[dict[str, Any]] = rules(cluster)[0]["match"]
    return found


def header(name: str, **comparison: str) -> dict[str, Any]:
    return {"headers": {name: comparison}}


def test_by_default_the_header_x_developer_is_the_developers_name() -> None:
    assert matched() == [header("x-developer", exact="alice")]


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        pytest.param({}, header("x", exact="alice"), id="name only"),
        pytest.param({"matchType": "Exact"}, header("x", exact="alice"), id="exact"),
        pytest.param({"matchType": "Prefix"}, header("x", prefix="alice"), id="prefix"),
        pytest.param({"matchType": "Regex"}, header("x", regex="alice"), id="regex"),
        pytest.param(
            {"value": "{{ DeveloperNamespace }}"}, header("x", exact="dev-alice"), id="the developer's namespace"
        ),
        pytest.param(
            {"value": "{{ ServiceNamespace }}/{{ ServiceName }}@{{DeveloperName}}"},
            header("x", exact="shop/reviews@alice"),
            id="all variables",
        ),
        pytest.param(
            {"matchType": "Prefix", "value": "{{ DeveloperName }}-"},
            header("x", prefix="alice-"),
            id="prefix with text",
        ),
        pytest.param(
            {"matchType": "Regex", "value": "{{ DeveloperNamespace }}|.*@{{ ServiceName }}"},
            header("x", regex=r"dev\-alice|.*@reviews"),
            id="a regex escapes values and keeps its own text",
        ),
    ],
)
def test_a_header_match_is_written_with_its_values(match: dict[str, Any], expected: dict[str, Any]) -> None:
    assert matched({"type": "Header", "name": "x", **match}) == [expected]


def test_dots_in_a_developers_name_are_escaped_in_a_regex() -> None:
    match = {"type": "Header", "name": "x", "matchType": "Regex"}
    assert matched(match, name="a.b_c-d", home="dev") == [header("x", regex=r"a\.b_c\-d")]


def test_dots_in_a_developers_name_stay_in_an_exact_value() -> None:
    assert matched({"type": "Header", "name": "x"}, name="a.b", home="dev") == [header("x", exact="a.b")]


def test_matches_keep_their_order_within_a_rule() -> None:
    found = matched(*({"type": "Header", "name": name} for name in ("z", "a", "m")))
    assert [next(iter(match["headers"])) for match in found] == ["z", "a", "m"]


# ---- which policies a namespace matters to


@pytest.mark.parametrize(
    ("spec", "versions", "expected"),
    [
        pytest.param({}, [namespace("dev", developer="alice")], True, id="labelled"),
        pytest.param({}, [namespace("dev")], False, id="not labelled"),
        pytest.param({}, [namespace("dev"), namespace("dev", developer="alice")], True, id="labelled in one version"),
        pytest.param({"developers": developers("dev")}, [namespace("dev")], True, id="listed by the developer's name"),
        pytest.param({"developers": developers(alice=["x", "dev"])}, [namespace("dev")], True, id="listed"),
        pytest.param({"developers": developers("bob")}, [namespace("dev", developer="alice")], False, id="not listed"),
        pytest.param(
            {"developersFrom": {"namespaceSelector": {}}}, [namespace("dev")], True, id="every namespace is selected"
        ),
        pytest.param({"priority": 1001}, [namespace("dev", developer="alice")], False, id="policy without a spec"),
    ],
)
def test_a_namespace_matters_to_the_policies_it_is_or_was_selected_by(
    spec: dict[str, Any], versions: list[Namespace], *, expected: bool
) -> None:
    assert depends_on_namespace(policy("shop/defaults", spec), versions) is expected
