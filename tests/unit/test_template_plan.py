"""What templates make of a plan: the real worker renders, the planner decides."""

from typing import Any

import pytest

from builders import (
    SETTINGS,
    as_stored,
    carry_out,
    change,
    copy_of,
    developers,
    key,
    managed,
    namespace,
    namespaces,
    plan,
    policy,
    service,
)
from rendered import RENDERER, plan_rendered
from virtualservice_operator.api.conditions import Reason, ServiceState
from virtualservice_operator.core import check
from virtualservice_operator.core.changes import Action, Change, Entry
from virtualservice_operator.core.objects import ClusterObject
from virtualservice_operator.core.plan import plan_service
from virtualservice_operator.core.renderings import NOBODIES
from virtualservice_operator.core.resolution import PlanSettings, Verdict
from virtualservice_operator.core.snapshot import Snapshot
from virtualservice_operator.core.template import Failed
from virtualservice_operator.templates.offline import check_templates

HOST = "reviews.shop.svc.cluster.local"
DEFAULT = {"name": "default", "route": [{"destination": {"host": HOST}}]}
PER_DEVELOPER = """\
apiVersion: networking.istio.io/v1
kind: VirtualService
spec:
  hosts: ["{{ ServiceFQDN }}"]
  http:
  - match: [{headers: {x-developer: {exact: {{ DeveloperName | tojson }}}}}]
    route: [{destination: {host: {{ DeveloperHost | tojson }}}}]
  - route: [{destination: {host: "{{ ServiceFQDN }}"}}]
"""


def cluster(spec: dict[str, Any], *more: ClusterObject) -> Snapshot:
    """Return a cluster in which alice and bob have a copy of reviews, and one policy."""
    listed = {"developers": developers("alice", "bob"), **spec}
    copies = [service(f"{name}/reviews") for name in ("shop", "alice", "bob")]
    objects: list[ClusterObject] = [*namespaces("shop", "alice", "bob"), *copies]
    return Snapshot(SETTINGS, [*objects, policy("shop/defaults", listed), *more])


def whole(text: str, **more: Any) -> dict[str, Any]:
    return {"template": {"virtualService": text, **more}}


def routes(text: str, **more: Any) -> dict[str, Any]:
    return {"template": {"developerRoutes": text, **more}}


def http(found: Snapshot) -> list[dict[str, Any]]:
    """Return the rules that are written for reviews."""
    (only,) = plan_rendered(found, key("shop/reviews")).changes
    assert only.document is not None, plan_rendered(found, key("shop/reviews")).entries
    rules: list[dict[str, Any]] = only.document["spec"]["http"]
    return rules


def names(found: Snapshot) -> list[str]:
    return [rule.get("name", "-") for rule in http(found)]


def entry(found: Snapshot, name: str = "defaults") -> Entry:
    return plan_rendered(found, key("shop/reviews")).entries[name]


def base(block: str, text: str) -> str:
    return f'{{% extends "base" %}}\n{{% block {block} %}}\n{text}\n{{% endblock %}}\n'


def test_base_alone_is_what_the_operator_writes() -> None:
    for spec in (
        {},
        {"matches": [{"type": "SourceNamespace"}, {"type": "Cookie", "name": "d"}]},
        {"copies": {"unknownDeveloper": "Reject"}},
    ):
        assert http(cluster({**spec, **whole('{% extends "base" %}')})) == http(cluster(spec))


@pytest.mark.parametrize(
    "text",
    [
        '{% extends ("base") %}',
        "{%+ extends 'base' %}",
        '{% extends"base" %}',
        '{% include "base" %}',
        '{%- include ("base") -%}',
        '{{ fragment("base") | tojson }}',
        '{% set b = fragment( "base" ) %}{{ b | tojson }}',
        '{% include "team" %}',
    ],
)
def test_base_has_its_variables_however_it_is_named(text: str) -> None:
    team = {"includes": [{"name": "team", "content": '{{ fragment("base") | tojson }}'}]}
    more = team if "team" in text else {}
    assert http(cluster(whole(text, **more))) == http(cluster({}))


def test_a_plan_says_what_it_needs_and_nothing_else() -> None:
    found = cluster(whole('{% extends "base" %}'))
    checked = plan(found)
    assert (checked.changes, checked.entries) == ((), {})
    (check,) = checked.needs
    assert (check.entry, check.policy) == (None, key("shop/defaults"))
    check_templates(found, RENDERER)
    (render,) = plan(found).needs
    assert render.entry == "virtualService"


def test_only_what_the_template_mentions_is_given() -> None:
    found = cluster(whole(PER_DEVELOPER))
    check_templates(found, RENDERER)
    assert [render.variables for render in plan(found).needs] == [
        f'{{"ServiceFQDN":"{HOST}","DeveloperName":"{name}","DeveloperHost":"reviews.{name}.svc.cluster.local",'
        '"ClusterDomain":"cluster.local"}'
        for name in ("alice", "bob")
    ]


@pytest.mark.parametrize(
    ("text", "more", "count"),
    [
        ('{% extends "base" %}', {}, 1),
        ("{{ DeveloperName }}", {}, 2),
        ("{{ DeveloperName }}{{ Developers }}", {}, 1),
        ("{{ ServiceName }}", {}, 1),
        ("{{ ServiceName }}", {"renderPer": "Developer"}, 1),
        ("{{ DeveloperName }}", {"renderPer": "Service"}, 1),
        ('{% extends ("base") %}{{ DeveloperName }}', {}, 1),
        ('{# "base" #}{{ DeveloperName }}', {}, 2),
        ('{% include "x" %}', {"includes": [{"name": "x", "content": "{{ DeveloperName }}"}]}, 2),
        ('{% extends "x" %}', {"includes": [{"name": "x", "content": '{%- extends "base" %}{{ DeveloperName }}'}]}, 1),
    ],
)
def test_how_often_a_template_is_rendered(text: str, more: dict[str, Any], count: int) -> None:
    """Equal variables are rendered once, also per developer."""
    found = cluster(whole(text, **more))
    check_templates(found, RENDERER)
    assert len(plan(found).needs) == count


def test_rules_before_the_default_stand_before_those_of_callers_namespaces() -> None:
    spec = {"matches": [{"type": "Header", "name": "x-developer"}, {"type": "SourceNamespace"}]}
    text = base("rules_before_default", "- {name: mine, match: [{uri: {exact: /}}], directResponse: {status: 200}}")
    assert names(cluster({**spec, **whole(text)})) == [
        *("defaults.alice", "defaults.bob", "mine", "defaults.alice.source", "defaults.bob.source", "default"),
    ]


def test_the_template_of_the_first_policy_holds_with_the_developers_of_all() -> None:
    first = policy(
        "shop/first",
        {
            "priority": 1,
            "developers": developers("bob"),
            **whole(base("metadata", "labels: {by: {{ PolicyName | tojson }}}")),
        },
    )
    found = cluster(whole("{{ broken"), first)
    found = cluster(whole(base("metadata", "labels: {by: nobody}")), first)
    (only,) = plan_rendered(found, key("shop/reviews")).changes
    assert only.document is not None
    assert only.document["metadata"]["labels"]["by"] == "first"
    assert names(found) == ["first.bob", "defaults.alice", "default"]


def test_export_to_is_added_where_the_template_does_not_say_it() -> None:
    for said, expected in (("", ["."]), ("  exportTo: [alice]\n", ["alice"])):
        found = cluster({"exportTo": ["."], **whole(PER_DEVELOPER.replace("  http:", f"{said}  http:"))})
        (only,) = plan_rendered(found, key("shop/reviews")).changes
        assert only.document is not None
        assert only.document["spec"]["exportTo"] == expected


# ---- developerRoutes


def test_the_rules_of_each_developer_with_a_copy_are_replaced() -> None:
    text = "- match: {{ DeveloperRules[0].match | tojson }}\n  timeout: 5s\n  route: {{ DeveloperRules[0].route | tojson }}\n"
    found = cluster(routes(text))
    found.remove(type(service("a/b")), key("bob/reviews"))
    assert http(found) == [
        {
            "name": "defaults.alice",
            "match": [{"headers": {"x-developer": {"exact": "alice"}}}],
            "timeout": "5s",
            "route": [{"destination": {"host": "reviews.alice.svc.cluster.local"}}],
        },
        DEFAULT,
    ]


def test_a_rule_for_the_callers_namespace_stands_after_all_explicit_ones() -> None:
    text = (
        "- {name: s, match: [{sourceNamespace: {{ DeveloperNamespace | tojson }}}], route: {{ DeveloperRules[0].route | tojson }}}\n"
        "- {name: h, match: {{ DeveloperRules[0].match | tojson }}, route: {{ DeveloperRules[0].route | tojson }}}\n"
    )
    assert names(cluster(routes(text))) == ["h", "h", "s", "s", "default"]


@pytest.mark.parametrize(
    "match",
    ["", "match: [{port: 80}], ", "match: [{headers: {}}], ", "match: [{ignoreUriCase: true, gateways: [mesh]}], "],
)
def test_a_developers_rule_that_takes_everything_is_refused(match: str) -> None:
    found = entry(cluster(routes(f"- {{{match}route: {{{{ DeveloperRules[0].route | tojson }}}}}}\n")))
    assert found.rejection is not None
    assert "template developerRoutes, line 1: [0]: the rule takes every request of a port" in found.rejection.message


def test_both_texts_work_together() -> None:
    template = {
        "developerRoutes": "- {name: mine, match: {{ DeveloperRules[0].match | tojson }}, route: {{ DeveloperRules[0].route | tojson }}}",
        "virtualService": base("metadata", "labels: {a: b}"),
    }
    assert names(cluster({"template": template})) == ["mine", "mine", "default"]


def test_a_reject_stays_the_operators() -> None:
    found = cluster(
        {
            "copies": {"whenMissing": "Reject"},
            **routes("- {name: x, match: [{uri: {exact: /}}], route: {{ DeveloperRules[0].route | tojson }}}"),
        }
    )
    found.remove(type(service("a/b")), key("bob/reviews"))
    assert names(found) == ["x", "defaults.bob.reject", "default"]


# ---- renderPer: Developer


def test_per_developer_the_rules_are_put_together_and_the_catch_all_comes_last() -> None:
    assert http(cluster(whole(PER_DEVELOPER))) == [
        *(
            {
                "match": [{"headers": {"x-developer": {"exact": name}}}],
                "route": [{"destination": {"host": f"reviews.{name}.svc.cluster.local"}}],
            }
            for name in ("alice", "bob")
        ),
        {"route": [{"destination": {"host": HOST}}]},
    ]


def test_a_last_rule_may_say_that_it_takes_everything() -> None:
    text = base("default_rule", "- {match: [{uri: {prefix: /}}], route: {{ DefaultRule.route | tojson }}}")
    assert http(cluster(whole(text)))[-1]["match"] == [{"uri": {"prefix": "/"}}]


def test_per_developer_nobody_leaves_nothing_behind() -> None:
    found = cluster({**whole(PER_DEVELOPER), "developers": developers("carol")}, *namespaces("carol"))
    assert http(found) == [{"route": [{"destination": {"host": HOST}}]}]


def nobody(text: str) -> Snapshot:
    """Return a cluster in which the one developer has no copy."""
    return cluster({**whole(text, renderPer="Developer"), "developers": developers("carol")}, *namespaces("carol"))


@pytest.mark.parametrize(
    "value",
    [
        '("(?i)" ~ re_escape(DeveloperName))',
        "DeveloperName | upper",
        "DeveloperName | capitalize",
        "DeveloperName | replace('-', '')",
        "DeveloperName | list | last",
        "DeveloperName[:3]",
        "(DeveloperName | last)",
        "(DeveloperName | length) | string",
        "DeveloperName.partition('-')[0]",
        "DeveloperNamespace[4:7]",
        "DeveloperHost | upper",
    ],
)
def test_per_developer_nobody_leaves_nothing_behind_in_whatever_form(value: str) -> None:
    text = PER_DEVELOPER.replace("{exact: {{ DeveloperName | tojson }}}", f"{{regex: {{{{ ({value}) | tojson }}}}}}")
    assert text != PER_DEVELOPER
    assert http(nobody(text)) == [{"route": [{"destination": {"host": HOST}}]}]


def test_per_developer_rules_that_are_not_about_a_developer_stay_with_nobody() -> None:
    text = PER_DEVELOPER.replace(
        "  http:\n",
        "  http:\n  - {name: health, match: [{uri: {exact: /vso-nobody-3f9a}}], directResponse: {status: 200}}\n"
        "{% if DeveloperName == 'carol' %}\n  - {name: x, match: [{uri: {exact: /c}}], directResponse: {status: 200}}\n{% endif %}\n",
    )
    assert names(nobody(text)) == ["health", "-"]


def test_two_who_are_not_there_have_nothing_in_common() -> None:
    one, other = NOBODIES
    assert set(one).isdisjoint(other)
    assert len(one) != len(other)


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("spec:", "metadata: {labels: {of: {{ DeveloperName }}}}\nspec:", "line 3: metadata depends on the developer"),
        (
            "  http:",
            "  exportTo: [{{ DeveloperNamespace }}]\n  http:",
            "line 5: spec.exportTo depends on the developer",
        ),
        ("  - route:", "  - name: {{ DeveloperName }}\n    route:", "where nobody has a copy no rule is left"),
    ],
)
def test_per_developer_nobody_is_not_written_outside_the_rules(before: str, after: str, says: str) -> None:
    found = entry(nobody(PER_DEVELOPER.replace(before, after, 1)))
    assert found.rejection is not None
    assert says in found.rejection.message


def test_per_service_there_is_no_developer_to_be_named() -> None:
    found = entry(cluster(whole(PER_DEVELOPER, renderPer="Service")))
    assert found.rejection is not None
    assert "template virtualService, line 6: 'DeveloperName' is undefined" in found.rejection.message


def test_per_developer_equal_rules_are_written_once() -> None:
    text = PER_DEVELOPER.replace(
        "  http:\n", "  http:\n  - {name: health, match: [{uri: {exact: /h}}], directResponse: {status: 200}}\n"
    )
    assert names(cluster(whole(text))) == ["health", "-", "-", "-"]


def test_per_developer_a_copy_of_another_name_is_reached_by_its_host() -> None:
    found = cluster(whole(PER_DEVELOPER), copy_of("shop/reviews", "alice/mine"))
    assert http(found)[0]["route"] == [{"destination": {"host": "mine.alice.svc.cluster.local"}}]


def test_per_developer_a_route_to_a_placeholder_stays() -> None:
    spec = {"placeholder": {"mode": "ExternalName"}, "developers": developers("alice"), **whole(PER_DEVELOPER)}
    settings = PlanSettings(requires_placeholder_consent=False)
    stands = managed(
        "shop/reviews-virtual-service",
        leads_to=["alice"],
        annotations={"virtualservice-operator.dev/developers": "alice"},
    )
    objects = (*namespaces("shop", "alice"), service("shop/reviews"), policy("shop/defaults", spec), stands)
    found = plan_rendered(Snapshot(settings, objects), key("shop/reviews"))
    assert [str(item.target) for item in found.changes] == ["alice/reviews", "shop/reviews-virtual-service"]
    assert found.wanted is not None
    assert found.wanted["spec"]["http"][0]["route"][0]["destination"]["host"] == "reviews.alice.svc.cluster.local"


def crowd(count: int, spec: dict[str, Any]) -> Snapshot:
    """Return a cluster in which so many developers share one copy of reviews."""
    listed = developers(**{f"d{number}": ["dev"] for number in range(count)})
    copies = (service("shop/reviews"), service("dev/reviews"))
    objects: list[ClusterObject] = [*namespaces("shop", "dev"), *copies]
    return Snapshot(SETTINGS, [*objects, policy("shop/defaults", {"developers": listed, **spec})])


MANY = """\
  {% for i in range(40) %}
  - {match: [{uri: {exact: "/{{ WHOSE }}/{{ i }}"}}], directResponse: {status: 200}}
  {% endfor %}
"""


@pytest.mark.parametrize(
    ("developer_count", "whose", "says"),
    [
        (30, "DeveloperName", "template virtualService: its rules for all 30 developers are more than 1024"),
        (101, "DeveloperName", "template virtualService: its rules for all 101 developers are more than 1024"),
        (101, "ServiceName", "its rules for all 101 developers are more than 4096 before equal ones are written once"),
    ],
)
def test_per_developer_more_rules_than_one_virtual_service_has_are_refused(
    developer_count: int, whose: str, says: str
) -> None:
    text = PER_DEVELOPER.replace("  http:\n", "  http:\n" + MANY.replace("WHOSE", whose))
    found = entry(crowd(developer_count, whole(text)))
    assert found.rejection is not None
    assert says in found.rejection.message
    assert "write fewer and shorter ones for each developer" in found.rejection.message


def test_per_developer_equal_rules_do_not_count() -> None:
    text = PER_DEVELOPER.replace("  http:\n", "  http:\n" + MANY.replace("WHOSE", "ServiceName"))
    assert len(http(crowd(90, whole(text)))) == 40 + 90 + 1


BODY = """\
  - match: [{uri: {exact: "/{{ WHOSE }}"}}]
    directResponse: {status: 200, body: {string: "LONG"}}
""".replace("LONG", "ü" * 4000)


@pytest.mark.parametrize(
    ("bodies", "says"),
    [
        (BODY.replace("WHOSE", "DeveloperName"), "its rules for all 160 developers come to more than 1 MiB as JSON;"),
        (
            BODY.replace("WHOSE", "ServiceName") * 2,
            "come to more than 2 MiB as JSON before equal ones are written once;",
        ),
    ],
    ids=["different", "equal"],
)
def test_per_developer_long_rules_are_counted_by_their_bytes(bodies: str, says: str) -> None:
    found = entry(crowd(160, whole(PER_DEVELOPER.replace("  http:\n", "  http:\n" + bodies))))
    assert found.rejection is not None
    assert found.rejection.message.startswith("Service reviews: ")
    assert says in found.rejection.message


@pytest.mark.parametrize(
    ("developer_count", "spec"),
    [
        (120, whole(PER_DEVELOPER.replace("  http:\n", "  http:\n" + BODY.replace("WHOSE", "DeveloperName")))),
        (120, routes(BODY.replace("WHOSE", "DeveloperName").replace("\n  ", "\n")[2:])),
    ],
    ids=["virtualService", "developerRoutes"],
)
def test_rules_below_a_mebibyte_are_written(developer_count: int, spec: dict[str, Any]) -> None:
    assert len(http(crowd(developer_count, spec))) > developer_count


def test_what_is_too_much_is_not_rendered_to_the_end_nor_again(monkeypatch: pytest.MonkeyPatch) -> None:
    rendered: list[Any] = []
    run_some = RENDERER._worker.run_some
    monkeypatch.setattr(RENDERER._worker, "run_some", lambda jobs: rendered.extend(jobs) or run_some(jobs))  # type: ignore[func-returns-value]
    found = crowd(250, whole(PER_DEVELOPER.replace("  http:\n", "  http:\n" + MANY.replace("WHOSE", "DeveloperName"))))
    assert entry(found).rejection is not None
    assert len(rendered) < 120
    rendered.clear()
    assert entry(found).rejection is not None
    assert rendered == []


def test_a_developer_for_whom_it_fails_is_enough() -> None:
    """The first one says it all: the others would cost as much."""
    found = crowd(40, whole(PER_DEVELOPER))
    check_templates(found, RENDERER)
    first, *_ = plan(found).needs
    failed = plan_service(found, key("shop/reviews"), 0.0, {first: Failed("line 1: no")}).entries["defaults"]
    assert failed.rejection is not None
    assert failed.rejection.message == "Service reviews: line 1: no"


def test_what_the_operator_writes_by_itself_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "BYTES", 1024)
    found = plan(crowd(30, {})).entries["defaults"]
    assert (found.state, found.reason) == (ServiceState.FAILED, Reason.OUTPUT_NOT_ALLOWED)
    assert found.message == (
        "the VirtualService comes to 5 KiB as JSON, more than 1 KiB; select fewer developers, or write fewer rules and "
        "shorter bodies"
    )


def test_variables_for_many_developers_are_bounded() -> None:
    objects: list[ClusterObject] = [*namespaces("shop", "dev"), service("dev/reviews")]
    endless = service("shop/reviews", annotations={"note": "x" * 200_000})
    spec = {"developers": developers(**{f"d{number}": ["dev"] for number in range(30)})}
    text = whole(PER_DEVELOPER + "{# ServiceAnnotations #}")
    found = entry(Snapshot(SETTINGS, [*objects, endless, policy("shop/defaults", {**spec, **text})]))
    assert found.rejection is not None
    assert (
        "template virtualService: the variables of its 30 renderings come to more than 4 MiB; mention fewer of them"
        in found.rejection.message
    )


def test_more_rules_of_developers_than_one_virtual_service_has_are_refused() -> None:
    found = entry(crowd(26, routes(MANY.replace("WHOSE", "DeveloperName").replace("  -", "-"))))
    assert found.rejection is not None
    assert "template developerRoutes: its rules for all 26 developers are more than 1024" in found.rejection.message


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (
            "spec:",
            "metadata: {labels: {of: {{ DeveloperName }}}}\nspec:",
            'metadata is {"labels": {"of": "alice"}} for alice and',
        ),
        (
            "  http:",
            "  exportTo: [{{ DeveloperNamespace }}]\n  http:",
            'line 5: spec.exportTo is ["alice"] for alice and ["bob"] for bob',
        ),
        (
            "  - route:",
            "  - name: {{ DeveloperName }}\n    route:",
            "spec.http[1] takes every request of a port and differs between alice and bob",
        ),
    ],
)
def test_per_developer_what_differs_outside_the_rules_is_refused(before: str, after: str, says: str) -> None:
    found = entry(cluster(whole(PER_DEVELOPER.replace(before, after, 1))))
    assert found.rejection is not None
    assert found.rejection.reason is Reason.INVALID_TEMPLATE
    assert says in found.rejection.message


# ---- what may not come out


@pytest.mark.parametrize(
    ("hosts", "says"),
    [
        ('["{{ ServiceFQDN }}", "\\u009b31mX"]', r'spec.hosts[1]: "\x9b31mX" is not the Service'),
        ("[{{ ServiceAnnotations.host | tojson }}]", r'spec.hosts[0]: "moc\u202e.elpmaxe" is not the Service'),
        ('["{{ ServiceFQDN }}", "{{ DeveloperName }}\\u2028"]', r'"alice\u2028"] for alice and'),
    ],
)
def test_control_characters_are_shown_as_escapes(hosts: str, says: str) -> None:
    """A message is read on a terminal, which would obey them."""
    noted = service("shop/reviews", annotations={"host": "moc\u202e.elpmaxe"})
    found = entry(cluster(whole(PER_DEVELOPER.replace('["{{ ServiceFQDN }}"]', hosts)), noted))
    said = found.rejection.message if found.rejection is not None else found.message
    assert says in said
    assert said.isprintable()


@pytest.mark.parametrize(
    ("block", "text", "says"),
    [
        (
            "default_rule",
            "- route: [{destination: {host: vault.kube-system.svc.cluster.local}}]",
            'spec.http[2].route[0].destination.host: "vault.kube-system.svc.cluster.local" is neither',
        ),
        (
            "default_rule",
            "- {mirror: {host: a.b.c}, route: {{ DefaultRule.route | tojson }}}",
            'spec.http[2].mirror.host: "a.b.c" is neither',
        ),
        (
            "default_rule",
            "- {mirrors: [{destination: {host: a.b.c}}], route: {{ DefaultRule.route | tojson }}}",
            "spec.http[2].mirrors[0].destination.host",
        ),
        (
            "default_rule",
            "- {match: [{uri: {exact: /}}], route: {{ DefaultRule.route | tojson }}}",
            "port 80 has rules and no last one",
        ),
        (
            "rules_before_default",
            "- {name: all, directResponse: {status: 200}}",
            "spec.http[2]: takes every request, so the rules after it are never reached",
        ),
        (
            "rules_before_default",
            "- {match: [{gateways: [a/b]}], directResponse: {status: 200}}",
            'spec.http[2].match[0].gateways: "a/b" is not permitted',
        ),
        (
            "rules_before_default",
            "- {match: [{headers: {uri: {exact: /x}}}], directResponse: {status: 200}}",
            'spec.http[2].match[0].headers: "uri" is part of the request line, not a header',
        ),
        (
            "rules_before_default",
            "- {match: [{uri: {exact: /x}, withoutHeaders: {host: {}}}], directResponse: {status: 200}}",
            'spec.http[2].match[0].withoutHeaders: "host" is part of the request line',
        ),
        (
            "rules_before_default",
            "- {match: [{gateways: [mesh], sourceNamespace: dev-x}], directResponse: {status: 200}}",
            'spec.http[2].match[0].sourceNamespace: "dev-x" is ignored by Istio beside gateways',
        ),
        (
            "rules_before_default",
            "- {match: [{gateways: [mesh], sourceLabels: {a: b}}], directResponse: {status: 200}}",
            'spec.http[2].match[0].sourceLabels: {"a": "b"} is ignored by Istio beside gateways',
        ),
        *(
            (
                "rules_before_default",
                f"- {{match: [{match}], directResponse: {{status: 200}}}}",
                "spec.http[2]: takes every request, so the rules after it are never reached",
            )
            for match in (
                *("{headers: {}}", "{queryParams: {}, name: x}", "{withoutHeaders: {}}", "{sourceLabels: {}}"),
                *("{ignoreUriCase: false}", "{gateways: [mesh]}", "{uri: {prefix: /}}"),
            )
        ),
        *(
            (
                "rules_before_default",
                f"- {{match: [{{uri: {{exact: /x}}}}], {answer}, {field}}}",
                f"spec.http[2].{field.partition(':')[0]}: Istio refuses it beside {answer.partition(':')[0]}",
            )
            for answer in ("directResponse: {status: 200}", "redirect: {uri: /y}")
            for field in ("rewrite: {uri: /z}", "fault: {abort: {httpStatus: 500}}")
        ),
        (
            "rules_before_default",
            "- {match: [{uri: {exact: /x}}], retries: {attempts: 0, retryOn: 5xx}, route: {{ DefaultRule.route | tojson }}}",
            "has settings for 0 attempts, which Istio refuses",
        ),
        ("metadata", "labels: {app.kubernetes.io/name: x}", '"app.kubernetes.io/name" is reserved (kubernetes.io)'),
        (
            "metadata",
            "annotations: {virtualservice-operator.dev/managed: 'false'}",
            "is reserved (virtualservice-operator.dev)",
        ),
    ],
)
def test_what_reaches_too_far_is_not_written(block: str, text: str, says: str) -> None:
    found = entry(cluster(whole(base(block, text))))
    assert (found.state, found.reason) == (ServiceState.FAILED, Reason.OUTPUT_NOT_ALLOWED)
    assert says in found.message
    assert found.message.startswith("template ")


@pytest.mark.parametrize(
    ("field", "says"),
    [
        ("mirror: {host: HOST}, mirrors: [{destination: {host: HOST}}]", "mirror: Istio refuses it beside mirrors"),
        ("rewrite: {uri: /a, uriRegexRewrite: {match: b, rewrite: c}}", "rewrite: has both uri and uriRegexRewrite"),
        ("rewrite: {}", "rewrite: says nothing; write uri"),
        ("fault: {}", "fault: makes no trouble; write abort or delay"),
        ("fault: {abort: {percentage: {value: 5}}}", "fault.abort: has exactly one of httpStatus, grpcStatus"),
        ("fault: {abort: {httpStatus: 500, grpcStatus: OK}}", "fault.abort: has exactly one of httpStatus, grpcStatus"),
        (
            "fault: {delay: {fixedDelay: 1s, percentage: {value: 0.00001}}}",
            "fault.delay.percentage.value: 1e-05 is less than 0.0001",
        ),
        ("retries: {attempts: 1, retryOn: '5xx,oops'}", 'retries.retryOn: "oops" is not known to Istio'),
        ("retries: {attempts: 1, retryOn: '5xx, reset'}", 'retries.retryOn: " reset" is not known to Istio'),
        ("headers: {response: {set: {host: a}}}", 'headers.response.set: "host" cannot be changed so'),
        ("headers: {request: {remove: [host]}}", 'headers.request.remove: "host" cannot be changed so'),
        (
            "headers: {request: {set: {host: a}}}, rewrite: {authority: b}",
            'headers.request: "host" is set twice; keep rewrite.authority',
        ),
        ("headers: {request: {set: {host: a}, add: {host: a}}}", 'headers.request: "host" is set twice'),
    ],
)
def test_what_istio_would_refuse_of_a_rule_is_not_written(field: str, says: str) -> None:
    """Source: istio/istio:pkg/config/validation/virtualservice.go, validateHTTPRoute."""
    rule = f"- {{match: [{{uri: {{exact: /x}}}}], {field.replace('HOST', HOST)}, route: {{{{ DefaultRule.route | tojson }}}}}}"
    found = entry(cluster(whole(base("rules_before_default", rule))))
    assert found.reason is Reason.OUTPUT_NOT_ALLOWED
    assert f"spec.http[2].{says}" in found.message


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (
            f"route: [{', '.join([f'{{destination: {{host: {HOST}}}, weight: 0}}'] * 2)}]",
            "route: no destination has a weight",
        ),
        (f"route: [{', '.join([f'{{destination: {{host: {HOST}}}}}'] * 2)}]", "route: no destination has a weight"),
        (
            f"route: [{{destination: {{host: {HOST}}}, headers: {{response: {{remove: [host]}}}}}}]",
            'route[0].headers.response.remove: "host" cannot be changed so',
        ),
        ("redirect: {}", "redirect: leads to the same place; write uri, authority, scheme or port"),
        ("redirect: {redirectCode: 302}", "redirect: leads to the same place"),
        ("redirect: {port: 80, derivePort: FROM_REQUEST_PORT}", "redirect: has both port and derivePort"),
    ],
)
def test_what_istio_would_refuse_of_an_answer_is_not_written(answer: str, says: str) -> None:
    rule = f"- {{match: [{{uri: {{exact: /x}}}}], {answer}}}"
    found = entry(cluster(whole(base("rules_before_default", rule))))
    assert found.reason is Reason.OUTPUT_NOT_ALLOWED
    assert f"spec.http[2].{says}" in found.message


@pytest.mark.parametrize(
    "field",
    [
        "mirror: {host: HOST}, rewrite: {authority: b, uri: /a}, fault: {abort: {grpcStatus: OK}}",
        "retries: {attempts: 1, retryOn: '5xx,503,reset'}, headers: {request: {set: {host: a}}, response: {add: {b: c}}}",
        "fault: {delay: {fixedDelay: 1s, percentage: {value: 0.0001}}}, rewrite: {uriRegexRewrite: {match: b, rewrite: c}}",
    ],
)
def test_what_istio_takes_of_a_rule_is_written(field: str) -> None:
    rule = f"- {{match: [{{uri: {{exact: /x}}}}], {field.replace('HOST', HOST)}, route: {{{{ DefaultRule.route | tojson }}}}}}"
    assert len(http(cluster(whole(base("rules_before_default", rule))))) == 4


@pytest.mark.parametrize(
    ("scopes", "says"),
    [
        ('["*", "."]', 'spec.exportTo: ["*", "."] * is everybody, and stands alone'),
        ("[alice, alice]", "a namespace is there twice (. is shop); keep one"),
        ('[".", shop]', "a namespace is there twice (. is shop); keep one"),
    ],
)
def test_scopes_that_istio_would_refuse_together_are_not_written(scopes: str, says: str) -> None:
    found = entry(cluster(whole(PER_DEVELOPER.replace("  http:", f"  exportTo: {scopes}\n  http:"))))
    assert found.reason is Reason.OUTPUT_NOT_ALLOWED
    assert says in found.message
    assert found.message.startswith("template virtualService, line 5: ")


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (
            '["{{ ServiceFQDN }}"]',
            "[other.shop.svc.cluster.local]",
            'line 4: spec.hosts[0]: "other.shop.svc.cluster.local" is not the Service',
        ),
        ('["{{ ServiceFQDN }}"]', '["*"]', 'spec.hosts[0]: "*" is not'),
        ('["{{ ServiceFQDN }}"]', '["{{ ServiceFQDN }}", "{{ ServiceFQDN }}"]', "spec.hosts: the host is there twice"),
        ("  http:", "  gateways: [istio/public]\n  http:", 'line 5: spec.gateways: "istio/public" is not permitted'),
        ("spec:", "metadata: {name: other}\nspec:", 'line 3: metadata.name: "other" is not reviews-virtual-service'),
        ("spec:", "metadata: {namespace: other}\nspec:", 'metadata.namespace: "other" is not shop'),
    ],
)
def test_a_whole_virtual_service_stays_in_its_place(before: str, after: str, says: str) -> None:
    found = entry(cluster(whole(PER_DEVELOPER.replace(before, after, 1))))
    assert found.reason is Reason.OUTPUT_NOT_ALLOWED
    assert says in found.message


def refusing(*more: ClusterObject, **spec: Any) -> Snapshot:
    """Return a cluster in which the template writes alice's namespace out, and alice refuses by now."""
    text = base(
        "rules_before_default",
        "- {name: mine, match: [{uri: {exact: /}}], route: [{destination: {host: reviews.alice.svc.cluster.local}}]}",
    )
    refuses = namespace("alice", allows="other")
    return cluster({**spec, **whole(text)}, refuses, *more)


def test_what_leads_to_a_namespace_that_has_refused_since_is_written_without_the_template() -> None:
    found = refusing(managed("shop/reviews-virtual-service", leads_to=["alice"]))
    assert names(found) == ["defaults.bob", "default"]
    failed = entry(found)
    assert (failed.state, failed.reason) == (ServiceState.FAILED, Reason.OUTPUT_NOT_ALLOWED)
    assert failed.message.startswith("written without the template for now: template virtualService, line 3: ")
    (only,) = plan_rendered(found, key("shop/reviews")).changes
    assert isinstance(only, Change)
    assert only.document is not None
    found.put(as_stored(only.document))
    assert plan_rendered(found, key("shop/reviews")).changes == ()
    assert entry(found) == failed


def test_a_namespace_that_refuses_is_noticed_where_nothing_else_has_changed() -> None:
    allowed = cluster(whole(PER_DEVELOPER.replace("{{ DeveloperHost | tojson }}", "reviews.alice.svc.cluster.local")))
    written = plan_rendered(allowed, key("shop/reviews")).wanted
    assert written is not None
    allowed.put(as_stored(written))
    allowed.put(namespace("alice", allows="other"))
    assert names(allowed) == ["defaults.bob", "default"]


def test_where_not_even_the_operators_own_rules_are_allowed_it_is_deleted() -> None:
    endless = {"copies": {"whenMissing": "Reject", "reject": {"status": 503, "body": "{{ ServiceName }}" * 1200}}}
    found = plan_rendered(
        refusing(managed("shop/reviews-virtual-service", leads_to=["alice"]), **endless), key("shop/reviews")
    )
    assert [item.action for item in found.changes] == [Action.DELETE]


def test_what_leads_nowhere_that_has_refused_stays_as_it_is() -> None:
    found = plan_rendered(refusing(managed("shop/reviews-virtual-service", leads_to=["bob"])), key("shop/reviews"))
    assert found.changes == ()
    assert found.entries["defaults"].reason is Reason.OUTPUT_NOT_ALLOWED
    assert "for now" not in found.entries["defaults"].message


# ---- failure


def test_a_template_that_does_not_compile_rejects_its_policy_and_freezes_what_it_made() -> None:
    stands = managed("shop/reviews-virtual-service")
    found = cluster(whole("{% if %}"), stands)
    frozen = entry(found)
    assert (frozen.state, frozen.reason) == (ServiceState.FROZEN, Reason.POLICY_NOT_ACCEPTED)
    (resolved,) = found.policies("shop")
    assert resolved.rejection is not None
    assert resolved.rejection.reason is Reason.INVALID_TEMPLATE


def test_a_failure_for_one_service_freezes_what_the_policy_made_there() -> None:
    found = cluster(
        whole(base("metadata", "labels: {a: {{ ServiceLabels.none | tojson }}}")),
        managed("shop/reviews-virtual-service"),
    )
    frozen = plan_rendered(found, key("shop/reviews"))
    assert frozen.changes == ()
    assert frozen.entries["defaults"].state is ServiceState.FROZEN
    assert frozen.entries["defaults"].rejection is not None
    (resolved,) = found.policies("shop")
    assert resolved.rejection is None


def test_where_it_made_nothing_the_others_go_on_without_it() -> None:
    broken = policy(
        "shop/broken",
        {"priority": 5, "developers": developers("bob"), **whole(base("metadata", "a: {{ ServiceLabels.x }}"))},
    )
    found = cluster({"developers": developers("alice")}, broken)
    assert names(found) == ["defaults.alice", "default"]
    failed = entry(found, "broken")
    assert (failed.state, failed.reason) == (ServiceState.FAILED, Reason.INVALID_TEMPLATE)
    assert entry(found).state is ServiceState.PROGRAMMED


def test_two_broken_templates_are_both_left_out() -> None:
    text = whole(base("metadata", "a: {{ ServiceLabels.x }}"))
    found = cluster(text, policy("shop/other", {"priority": 5, **text}))
    assert {name: item.state for name, item in plan_rendered(found, key("shop/reviews")).entries.items()} == {
        "other": ServiceState.FAILED,
        "defaults": ServiceState.FAILED,
    }
    assert plan_rendered(found, key("shop/reviews")).changes == ()


def test_a_rendering_that_was_stopped_is_a_failure_of_its_service() -> None:
    found = cluster(whole('{% extends "base" %}'))
    check_templates(found, RENDERER)
    (render,) = plan(found).needs
    stopped = plan_service(found, key("shop/reviews"), 0.0, {render: Failed("stopped", killed=True)})
    assert stopped.entries["defaults"].rejection is not None


def test_a_verdict_counts_for_its_edition_only() -> None:
    found = cluster(whole('{% extends "base" %}'))
    (resolved,) = found.policies("shop")
    assert resolved.unchecked
    found.put_verdict(key("shop/defaults"), Verdict("another", 1))
    (resolved,) = found.policies("shop")
    assert resolved.unchecked
    found.put_verdict(key("shop/defaults"), Verdict(resolved.policy.uid, 1))
    (resolved,) = found.policies("shop")
    assert not resolved.unchecked
    found.put_verdict(key("shop/defaults"), None)
    (resolved,) = found.policies("shop")
    assert resolved.unchecked


def test_where_templates_are_disabled_a_policy_with_one_is_not_accepted() -> None:
    settings = PlanSettings(allows_templates=False)
    (resolved,) = Snapshot(settings, [policy("shop/defaults", whole('{% extends "base" %}'))]).policies("shop")
    assert resolved.rejection is not None
    assert "--templates=Disabled" in resolved.rejection.message
    assert not resolved.unchecked


def test_a_policy_that_observes_says_what_its_template_would_change() -> None:
    observer = policy(
        "shop/new",
        {
            "mode": "Observe",
            "priority": 3,
            **whole(
                base(
                    "rules_before_default", "- {name: mine, match: [{uri: {exact: /}}], directResponse: {status: 200}}"
                )
            ),
        },
    )
    found = cluster({"developers": developers("alice")}, observer)
    seen = entry(found, "new")
    assert seen.state is ServiceState.OBSERVED
    assert "mine" in seen.message


def observing(number: int, **spec: Any) -> ClusterObject:
    return policy(
        f"shop/watcher-{number}", {"mode": "Observe", "priority": -1, "defaultRoute": {"timeout": "5s"}, **spec}
    )


def test_policies_that_observe_do_not_count_the_template_in_force_again() -> None:
    found = crowd(80, whole(PER_DEVELOPER.replace("  http:\n", "  http:\n" + MANY.replace("WHOSE", "ServiceName"))))
    for number in range(3):
        found.put(observing(number))
    for _ in ("before it is written", "once it stands"):
        planned = plan_rendered(found, key("shop/reviews"))
        said = {name: (str(item.state), item.message) for name, item in planned.entries.items()}
        assert said == {
            "defaults": ("Programmed", ""),
            **{f"watcher-{number}": ("Observed", "would change nothing") for number in range(3)},
        }
        carry_out(found, planned)


def test_past_the_limit_of_all_policies_what_needs_no_more_renderings_is_still_foreseen() -> None:
    text = whole(PER_DEVELOPER.replace("  http:\n", "  http:\n" + MANY.replace("WHOSE", "ServiceName")))
    found = crowd(80, text)
    for number in range(3):
        found.put(observing(number, **text, priority=1))
    found.put(observing(9))
    entries = plan_rendered(found, key("shop/reviews")).entries
    assert entries["defaults"].state is ServiceState.PROGRAMMED
    assert "the templates of all policies of the Service come to more than 8192 rules" in entries["watcher-2"].message
    assert entries["watcher-9"].message == "would change nothing"


def test_an_observer_with_whom_the_template_in_force_fails_says_why() -> None:
    text = PER_DEVELOPER.replace("  http:\n", "  http:\n" + MANY.replace("WHOSE", "DeveloperName"))
    found = crowd(20, whole(text))
    more = developers(**{f"e{number}": ["dev"] for number in range(20)})
    found.put(observing(0, developers=more))
    for _ in ("before it is written", "once it stands"):
        planned = plan_rendered(found, key("shop/reviews"))
        assert planned.entries["defaults"].state is ServiceState.PROGRAMMED
        seen = planned.entries["watcher-0"]
        assert (seen.state, seen.planned_change, seen.rejection) == (ServiceState.OBSERVED, "conflict", None)
        assert seen.message == (
            "would leave the Service without the template of policy defaults: template virtualService: its rules for all 40 "
            "developers are more than 1024; write fewer and shorter ones for each developer, with several matches in one rule"
        )
        carry_out(found, planned)


# ---- labels and annotations


def test_a_templates_labels_are_kept_as_wanted_and_others_left_alone() -> None:
    found = cluster(whole(base("metadata", "labels: {team: shop}")))
    (only,) = plan_rendered(found, key("shop/reviews")).changes
    assert only.document is not None
    labels = only.document["metadata"]["labels"]
    for stored, expected in (
        (labels, []),
        ({**labels, "theirs": "x"}, []),
        ({**labels, "team": "other"}, ["the template's labels or annotations differ"]),
        (
            {name: value for name, value in labels.items() if name != "team"},
            ["the template's labels or annotations differ"],
        ),
    ):
        found.put(as_stored(only.document, labels=stored))
        assert [
            item.why for item in plan_rendered(found, key("shop/reviews")).changes if hasattr(item, "why")
        ] == expected


def test_a_label_that_no_template_wants_any_more_is_taken_away() -> None:
    found = cluster({})
    document = change(found).document
    assert document is not None
    ours: dict[str, Any] = {"f:metadata": {"f:labels": {"f:team": {}, "f:app.kubernetes.io/managed-by": {}}}}
    entry_of_ours = {"manager": "virtualservice-operator", "operation": "Apply", "fieldsV1": ours}
    labels = {**document["metadata"]["labels"], "team": "shop"}
    found.put(as_stored(document, labels=labels, managedFields=[entry_of_ours]))
    assert change(found).why == "the template's labels or annotations differ"
    found.put(as_stored(document, labels=labels))
    assert plan(found).changes == ()
