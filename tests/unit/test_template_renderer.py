"""Renderings as values: kept, counted, judged by the schema, and a policy that ends the worker three times."""

import json
import time
import tracemalloc
from collections.abc import Sequence
from typing import Any
from unittest.mock import Mock

import pytest

from builders import render_all
from rendered import RENDERER
from virtualservice_operator.api.v1alpha1 import PolicyTemplate
from virtualservice_operator.core.objects import Key
from virtualservice_operator.core.template import Failed, Render, Rendered, template_of
from virtualservice_operator.templates import judge, schema
from virtualservice_operator.templates.process import Ended, Job, Told, Worker
from virtualservice_operator.templates.renderer import Cache, Renderer, Shared

WHOLE = """\
apiVersion: networking.istio.io/v1
kind: VirtualService
spec:
  hosts: [reviews.shop.svc.cluster.local]
  http:
  - route:
    - destination: {host: reviews.shop.svc.cluster.local}
"""


class Scripted(Worker):
    """A worker that answers as it is told; no process."""

    def __init__(self, *told: Told) -> None:
        super().__init__(())
        self.asked: list[Job] = []
        self._told = list(told)

    def run_some(self, jobs: Sequence[Job]) -> list[Told]:
        found = []
        for job in jobs:
            self.asked.append(job)
            found.append(self._told.pop(0))
            if found[-1].ended is Ended.KILLED:
                break
        return found


def render(text: str = WHOLE, *, generation: int = 1, variables: str = "{}", **more: Any) -> Render:
    template = template_of(PolicyTemplate(virtual_service=text))
    return Render(
        Key("shop", "p"), "uid", generation, template, **{"entry": "virtualService", "variables": variables, **more}
    )


def rendered(text: str) -> Any:
    wanted = render(text, variables=json.dumps({"ClusterDomain": "cluster.local"}))
    return render_all(RENDERER, [wanted])[wanted]


def told(data: Any) -> Told:
    return Told({"ok": True, "value": data, "lines": {}})


GOOD = told(
    {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "spec": {"hosts": ["a"], "http": [{"route": [{"destination": {"host": "a"}}]}]},
    }
)
KILLED = Told(None, Ended.KILLED)


def test_equal_renderings_are_asked_for_once() -> None:
    worker = Scripted(GOOD)
    renderer = Renderer(worker)
    for generation in (1, 2):
        (result,) = render_all(renderer, [render(generation=generation), render(generation=generation)]).values()
        assert isinstance(result, Rendered)
    assert len(worker.asked) == 1


def test_other_variables_are_another_rendering() -> None:
    worker = Scripted(GOOD, GOOD)
    render_all(Renderer(worker), [render(variables="{}"), render(variables='{"a":1}')])
    assert len(worker.asked) == 2


def test_a_kill_is_not_kept_and_the_third_quarantines_until_the_next_generation() -> None:
    seen: list[str] = []
    worker = Scripted(KILLED, KILLED, KILLED, GOOD)
    renderer = Renderer(worker, lambda result, _: seen.append(result))
    found = [result for _ in range(5) if isinstance(result := render_all(renderer, [render()])[render()], Failed)]
    assert [result.killed for result in found] == [True, True, True, False, False]
    assert "took too long or too much memory, and was stopped" in found[0].message
    assert "was stopped 3 times" in found[2].message
    assert "until the policy is changed" in found[4].message
    assert len(worker.asked) == 3
    assert isinstance(render_all(renderer, [render(generation=2)])[render(generation=2)], Rendered)
    assert seen == ["killed", "killed", "killed", "rendered"]


def test_a_namespace_is_slow_for_a_while_after_a_long_rendering() -> None:
    for item, expected in (
        (Told({"ok": True}, seconds=9), False),
        (Told({"ok": True}, cpu=0.05), True),
        (Told({"ok": True}, cpu=0.05, compiled=True), False),
        (Told({"ok": True}, cpu=0.3, compiled=True), True),
        (KILLED, True),
    ):
        renderer = Renderer(Scripted(item))
        render_all(renderer, [render()])
        assert renderer.shared.is_slow("shop") is expected
        assert not renderer.shared.is_slow("other")


def test_a_turn_ends_with_the_first_rendering_that_takes_long() -> None:
    light, heavy = Told(GOOD.answer), Told(GOOD.answer, cpu=0.2)
    needs = [render(variables=str(number)) for number in range(9)]
    for item in (heavy, KILLED):
        worker = Scripted(light, light, item, light, light, light, light)
        renderer = Renderer(worker)
        assert list(renderer.render_some(needs)) == needs[: len(worker.asked)]
        assert len(worker.asked) == 3
        assert renderer.shared.is_slow("shop")


def test_the_third_kill_is_the_last_however_many_renderings_are_asked_for() -> None:
    worker = Scripted(KILLED, KILLED, KILLED)
    results = render_all(Renderer(worker), [render(variables=str(number)) for number in range(256)])
    assert len(results) == 256
    assert sum(isinstance(result, Failed) and result.killed for result in results.values()) == 3
    assert len(worker.asked) == 3


def test_more_and_more_is_sent_at_once_while_it_goes_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("virtualservice_operator.templates.renderer._TURN", 60.0)
    sizes = []

    class Counted(Scripted):
        def run_some(self, jobs: Sequence[Job]) -> list[Told]:
            sizes.append(len(jobs))
            return super().run_some(jobs)

    needs = [render(variables=str(number)) for number in range(50)]
    assert len(Renderer(Counted(*[GOOD] * 50)).render_some(needs)) == 50
    assert sizes == [1, 2, 4, 8, 16, 16, 3]


def test_renderers_that_share_count_kills_together() -> None:
    shared = Shared()
    one, two = Renderer(Scripted(KILLED, KILLED), shared=shared), Renderer(Scripted(KILLED), shared=shared)
    for renderer in (one, two, one):
        render_all(renderer, [render()])
    assert one.is_quarantined(render())
    assert two.is_quarantined(render())


def test_without_a_worker_nothing_is_said_about_the_template() -> None:
    assert render_all(Renderer(Scripted(Told(None, Ended.UNAVAILABLE))), [render()]) == {}


def test_a_check_has_no_document() -> None:
    check = render(entry=None, variables="")
    assert render_all(Renderer(Scripted(Told({"ok": True}))), [check]) == {check: Rendered(None, {})}


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"ok": 1},
        {"ok": True},
        {"ok": True, "value": 5},
        {"ok": True, "value": {}, "lines": 7},
        {"ok": False, "line": "x"},
    ],
    ids=str,
)
def test_an_answer_of_another_form_is_a_failure(answer: Any) -> None:
    (result,) = render_all(Renderer(Scripted(Told(answer))), [render()]).values()
    assert isinstance(result, Failed)


def test_what_a_template_wrote_is_said_without_control_characters() -> None:
    result = rendered(WHOLE + '"\\e[31mRED\\nerror: forged": {}\n')
    assert isinstance(result, Failed)
    assert "\\x1b[31mRED\\nerror: forged: there is no such field" in result.message
    assert result.message.isprintable()


def test_what_is_said_of_a_worker_s_answer_is_short_and_printable_whatever_it_holds() -> None:
    odd = "\x1b\n\u202e" + "k" * 80_000
    document = {**GOOD.answer["value"], odd: 1}
    answers: list[Any] = [
        {"ok": True, "value": document, "lines": {odd: [odd, 1]}},
        {"ok": False, "template": odd, "line": 1, "message": odd},
    ]
    for answer in answers:
        (result,) = render_all(Renderer(Scripted(Told(answer))), [render()]).values()
        assert isinstance(result, Failed)
        assert result.message.isprintable()
        assert len(result.message) < 1000


@pytest.mark.parametrize("answer", [None, [], "ok", 5], ids=str)
def test_an_answer_that_is_no_mapping_counts_as_a_kill(answer: Any) -> None:
    renderer = Renderer(Scripted(*[Told(answer)] * 3))
    results = [render_all(renderer, [render()])[render()] for _ in range(3)]
    assert all(isinstance(result, Failed) and result.killed for result in results)
    assert renderer.is_quarantined(render())


def test_the_cache_forgets_the_oldest_where_there_is_no_room() -> None:
    cache = Cache(limit=2000)
    for number in range(100):
        cache.put(render(variables=str(number)), Failed("x" * 50))
        cache.put(render(variables=str(number)), Failed("x" * 50))
    assert 4 <= len(cache) <= 6
    assert render(variables="0") not in cache
    assert cache[render(variables="99")] == Failed("x" * 50)


def test_the_cache_holds_no_variables() -> None:
    tracemalloc.start()
    cache = Cache(limit=10_000_000)
    for number in range(200):
        cache.put(render(variables=f"{number:100000}"), Failed("x"))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(cache) == 200
    assert kept < 1_000_000


def test_the_kills_of_some_thousand_editions_are_remembered() -> None:
    shared = Shared()
    for number in range(5000):
        shared.count_kill((number,))
    assert (shared.kills((0,)), shared.kills((4999,)), len(shared._kills)) == (0, 1, 4096)


def test_what_is_kept_comes_back_equal() -> None:
    cache = Cache()
    result = Rendered({"a": [1, None, "ä"]}, {"a": ("virtualService", 3)})
    cache.put(render(), result)
    assert cache[render()] == result


# ---- the schema


def test_a_whole_virtual_service_is_taken() -> None:
    assert isinstance(rendered(WHOLE), Rendered)


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("route:", "rout:", "line 6: spec.http[0].rout: there is no such field; did you mean route?"),
        ("hosts: [", "hots: [", "line 4: spec.hots: there is no such field; did you mean hosts?"),
        ("kind: VirtualService", "kind: Gateway", 'line 2: kind: "Gateway" is not VirtualService'),
        ("networking.istio.io/v1", "v1", 'line 1: apiVersion: "v1" is not written as it must be'),
        ("spec:", "status: {}\nspec:", "line 3: status: a template says metadata and spec only; leave it out"),
        ("spec:", "metadata: {ownerReferences: []}\nspec:", "metadata.ownerReferences: the operator sets the owners"),
        ("spec:", "metadata: {finalizers: [a]}\nspec:", "metadata.finalizers: the operator sets none"),
        ("spec:", "metadata: {labels: {a: 1}}\nspec:", "metadata.labels.a: 1 is not text"),
        ("spec:", "metadata: {labels: {a: 'b c'}}\nspec:", 'metadata.labels.a: "b c" is not written as it must be'),
        ("  http:", "  tcp: []\n  http:", "spec.tcp: only http rules are routed"),
        ("- route:", "- delegate: {name: x}\n    route:", "spec.http[0].delegate: a template cannot delegate"),
        (
            "- route:",
            "- timeout: 5\n    route:",
            "line 6: spec.http[0].timeout: 5 is not text (in quotes, or with | tojson)",
        ),
        ("- route:", "- timeout: fast\n    route:", 'spec.http[0].timeout: "fast" is not written as it must be'),
        ("- route:", "- timeout: 1.5ms\n    route:", 'spec.http[0].timeout: "1.5ms" is not written as it must be'),
        ("- route:", "- redirect: {uri: /}\n    route:", "spec.http[0]: a rule has exactly one of route, redirect"),
        (
            "- route:",
            "- redirect: {redirectCode: 300}\n    x:",
            "spec.http[0].redirect.redirectCode: 300 is not 301 or 302",
        ),
        ("- route:", "- match: [{uri: {regex: '(?=x)'}}]\n    route:", '"(?=x)" is not an RE2 regular expression'),
        ("- route:", "- match: [{uri: {exact: a, prefix: a}}]\n    route:", "write one of exact, prefix, regex"),
        ("- route:", "- match: [{headers: {X-A: {exact: a}}}]\n    route:", "is not written as it must be"),
        ("- route:", "- match: []\n    route:", "spec.http[0].match: [] is shorter than 1"),
        ("- route:", "- retries: {attempts: -1}\n    route:", "spec.http[0].retries.attempts: -1 is less than 0"),
        ("{host: reviews.shop.svc.cluster.local}", "{}", "host is missing; add it"),
        (
            "{host: reviews.shop.svc.cluster.local}",
            "{host: a, port: {number: '80'}}",
            '"80" is not a whole number (of a text: | int)',
        ),
        ("    - destination", "    - weight: 1.5\n      destination", "1.5 is not a whole number"),
    ],
)
def test_a_wrong_field_is_said_with_line_path_value_and_the_way(before: str, after: str, says: str) -> None:
    result = rendered(WHOLE.replace(before, after, 1))
    assert isinstance(result, Failed)
    assert result.message.startswith("template virtualService, line ")
    assert says in result.message


METADATA = "metadata: {{{kind}: {{{key}: {value}}}}}\nspec:"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((key, "x") for key in ("a", "A.b_c-d", "example.com/a", "a-1.b/c", f"{'d' * 63}/a", "n" * 63)),
        *((key, "x") for key in (f"{'.'.join(['d' * 63] * 3)}.{'d' * 61}/{'n' * 63}",)),
        *(("a", value) for value in ("''", "v", "V.b_c-d", "v" * 63)),
    ],
)
def test_a_label_that_kubernetes_takes_is_taken(key: str, value: str) -> None:
    text = WHOLE.replace("spec:", METADATA.format(kind="labels", key=key, value=value))
    assert isinstance(rendered(text), Rendered)


@pytest.mark.parametrize("kind", ["labels", "annotations"])
@pytest.mark.parametrize(
    "key",
    [
        *("n" * 64, "n" * 80, f"example.com/{'n' * 64}", f"{'.'.join(['d' * 63] * 4)}/n", f"{'d' * 254}/n"),
        *("a..b/c", "a.-b/c", "a-/c", "-a/c", ".a/c", "A/c", "a_b/c", "a/", "/a", "a/b/c", "-a", "a-", "_a", "a b"),
    ],
)
def test_a_key_that_kubernetes_refuses_is_refused(kind: str, key: str) -> None:
    result = rendered(WHOLE.replace("spec:", METADATA.format(kind=kind, key=f'"{key}"', value="x")))
    assert isinstance(result, Failed)
    assert "is not written as it must be" in result.message


@pytest.mark.parametrize(
    "field",
    [
        *("timeout: 0s", "timeout: 0.0s", "retries: {attempts: 1, perTryTimeout: 0ms}"),
        *("corsPolicy: {maxAge: 1.5s}", "corsPolicy: {maxAge: 0s}", "corsPolicy: {maxAge: 100ms}"),
        *(
            "corsPolicy: {allowMethods: [get]}",
            "corsPolicy: {allowHeaders: [a b]}",
            "corsPolicy: {exposeHeaders: ['']}",
        ),
        *(
            "match: [{sourceNamespace: A_b}]",
            "match: [{sourceLabels: {a: b c}}]",
            "match: [{sourceLabels: {a..b/c: d}}]",
        ),
        *("mirror: {host: a, subset: v_1}", "fault: {abort: {grpcStatus: 14}}", "fault: {abort: {grpcStatus: OOPS}}"),
        *(f"headers: {{request: {{set: {{a: '{value}'}}}}}}" for value in ("50%", "%A", "%A%%", "%T(%s)%")),
        'headers: {response: {add: {a: "b\\u0000"}}}',
    ],
)
def test_a_value_that_istio_refuses_is_refused(field: str) -> None:
    result = rendered(WHOLE.replace("- route:", f"- {field}\n    route:"))
    assert isinstance(result, Failed), field
    assert result.message.startswith("template virtualService, line 6: spec.http[0]")


def test_a_single_percent_sign_is_told_how_it_is_written() -> None:
    result = rendered(WHOLE.replace("- route:", "- headers: {response: {set: {a: 50%}}}\n    route:"))
    assert isinstance(result, Failed)
    assert result.message == (
        'template virtualService, line 6: spec.http[0].headers.response.set.a: "50%" is not written as it must be: a % is '
        "written %%, and control characters cannot be written"
    )


@pytest.mark.parametrize("value", ["Not A Namespace", "~", "", "a.b", "-a", "*a", "a" * 64])
def test_a_scope_that_is_no_namespace_is_refused(value: str) -> None:
    result = rendered(WHOLE.replace("  http:", f"  exportTo: ['{value}']\n  http:"))
    assert isinstance(result, Failed)
    assert "line 5: spec.exportTo[0]: " in result.message


@pytest.mark.parametrize(
    "field",
    [
        *("timeout: 0.5s", "timeout: 0h1ms", "corsPolicy: {maxAge: 24h}", "corsPolicy: {allowMethods: ['*', GET]}"),
        *(
            "corsPolicy: {allowHeaders: ['*', X-A]}",
            "match: [{sourceNamespace: a-1}]",
            "mirror: {host: a, subset: v-1}",
        ),
        *("match: [{sourceLabels: {example.com/a: 'B_c.d'}}]", "fault: {abort: {grpcStatus: UNAVAILABLE}}"),
        *(
            f"headers: {{request: {{set: {{a: '{v}'}}}}}}"
            for v in ("50%%", "a %HOSTNAME% b", "%REQ(X?Y)%", "ü", "%REQ(:path):20%", "%REQ(X-A?X-B):10%")
        ),
        'headers: {request: {set: {a: "%DYNAMIC_METADATA(a:b):20%", b: "%CEL(request.path.startsWith(\'a\'))%"}}}',
    ],
)
def test_a_value_that_istio_takes_is_taken(field: str) -> None:
    assert isinstance(rendered(WHOLE.replace("- route:", f"- {field}\n    route:")), Rendered)


def with_regexes(*regexes: str) -> list[tuple[str, str]]:
    """Return what is wrong about a VirtualService with a rule for each regular expression."""
    route = [{"destination": {"host": "a"}}]
    rules = [
        {"match": [{"uri": {"regex": regex}} for regex in regexes[at : at + 60]], "route": route}
        for at in range(0, len(regexes), 60)
    ]
    document = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "spec": {"hosts": ["a"], "http": rules},
    }
    return judge.problems(judge.VIRTUAL_SERVICE, document)


@pytest.mark.parametrize(
    "regex",
    [
        *("a" * 1024, ".*" * 512, "|".join(f"user{number:04}" for number in range(113))),
        *(r"(.*,)?\s*developer=alice\s*([,;].*)?", r"\p{L}+", "[^/]{1,255}/[^/]{1,255}", "/v[0-9]{1,3}/.{1,1000}"),
        *("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", r"(?i)\w{1000}", r"\pL{5}"),
    ],
)
def test_an_honest_regular_expression_is_taken(regex: str) -> None:
    assert with_regexes(regex) == []


@pytest.mark.parametrize(
    ("regex", "says"),
    [
        ("(", '"(" is not an RE2 regular expression; Istio knows no other kind'),
        ("(?=a)", "is not an RE2 regular expression"),
        (r"(?i)(\pL\pN){100}N", "is too large a regular expression; write a simpler one"),
        (r"\pL" * 33, "has more than 32 groups of Unicode"),
        ("a" * 1025, "is longer than 1024"),
    ],
)
def test_a_regular_expression_that_costs_too_much_is_refused(regex: str, says: str) -> None:
    ((path, text),) = with_regexes(regex)
    assert path == "spec.http[0].match[0].uri.regex"
    assert says in text


def test_regular_expressions_are_few_and_each_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []

    def note(value: str, _: Any) -> Mock:
        compiled.append(value)
        return Mock(programsize=1)

    monkeypatch.setattr("re2.compile", note)
    assert with_regexes(*["same"] * 2000) == []
    assert compiled == ["same"]
    assert "comes after 1024 different" in with_regexes(*[f"r{number}" for number in range(1025)])[0][1]


def test_regular_expressions_that_are_large_together_are_refused_however_fast_the_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each of these is a program of about 9,000 instructions."""
    clock = iter(range(0, 10**6, 1000))
    monkeypatch.setattr("time.thread_time", lambda: next(clock))
    large = [f"a{number}.{{1,1000}}" for number in range(30)]
    assert with_regexes(*large[:20]) == []
    (path, text), *_ = with_regexes(*large)
    assert path == "spec.http[0].match[23].uri.regex"
    assert "comes after regular expressions of 200000 instructions of RE2" in text


def test_a_thousand_honest_regular_expressions_are_taken() -> None:
    assert with_regexes(*[rf"/api/v{number}/users/[0-9]+/(orders|items)(/.*)?" for number in range(1000)]) == []


def test_what_judging_costs_counts_as_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "problems", lambda *_: [("a", str(sum(range(3_000_000))))])
    renderer = Renderer(Scripted(GOOD))
    render_all(renderer, [render()])
    assert renderer.shared.is_slow("shop")


def test_the_place_of_a_field_with_an_endless_name_is_found_at_once() -> None:
    found = Rendered({}, {"spec.http[0]": ("virtualService", 7)})
    begun = time.thread_time()
    assert found.place("spec.http[0]." + "." * 200_000) == "template virtualService, line 7"
    assert time.thread_time() - begun < 0.1


def test_a_number_without_a_fraction_is_a_whole_one() -> None:
    result = rendered(WHOLE.replace("    - destination", "    - weight: {{ 100 / 2 }}\n      destination"))
    assert isinstance(result, Rendered)
    weight = result.document["spec"]["http"][0]["route"][0]["weight"]
    assert json.dumps(weight) == "50"


@pytest.mark.parametrize(
    "field",
    [
        'timeout: "10s\\n"',
        'headers: {request: {set: {"x-a\\n": b}}}',
        'headers: {request: {remove: ["x-a\\n"]}}',
        'match: [{queryParams: {"a\\n": {exact: b}}}]',
        'match: [{sourceLabels: {"a\\n": b}}]',
    ],
)
def test_a_line_break_at_the_end_does_not_pass(field: str) -> None:
    result = rendered(WHOLE.replace("- route:", f"- {field}\n    route:"))
    assert isinstance(result, Failed)
    assert "is not written as it must be" in result.message


def test_what_is_no_mapping_is_refused() -> None:
    assert rendered("- a").message == 'template: the document: ["a"] is not a mapping'


def test_every_part_of_the_schema_is_closed_and_described() -> None:
    silent, open_parts = [], []
    waiting: list[tuple[str, Any]] = [("", schema.VIRTUAL_SERVICE)]
    while waiting:
        path, part = waiting.pop()
        if not part.get("description") and not path.endswith("{}"):
            silent.append(path)
        if part.get("type") == "object" and "additionalProperties" not in part:
            open_parts.append(path)
        waiting.extend((f"{path}.{name}", item) for name, item in part.get("properties", {}).items())
        for word, mark in (("items", "[]"), ("additionalProperties", "{}")):
            if isinstance(part.get(word), dict):
                waiting.append((path + mark, part[word]))
    assert (silent, open_parts) == ([], [])


# ---- the schema of the installed Istio

INSTALLED = {
    "type": "object",
    "description": "An old Istio that knows less.",
    "properties": {
        "hosts": {"type": "array", "items": {"type": "string"}},
        "http": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string", "nullable": True},
                    "route": {
                        "type": "array",
                        "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                    },
                    "timeout": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
                },
            },
        },
    },
}


def test_a_field_that_the_installed_istio_does_not_know_is_refused() -> None:
    known, unknown = render(WHOLE), render(WHOLE.replace("- route:", "- rewrite: {uri: /}\n    route:"))
    worker = Worker()
    renderer = Renderer(worker)
    renderer.use_schema(schema.strict(INSTALLED))
    results = render_all(renderer, [known, unknown])
    worker.close()
    assert isinstance(results[known], Rendered)
    assert results[unknown] == Failed(
        "template virtualService, line 6: spec.http[0].rewrite: there is no such field; there are name, route, timeout"
    )


def test_what_was_judged_by_a_schema_that_is_replaced_meanwhile_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The schema is changed by the event loop, while a thread judges."""
    renderer = Renderer(Scripted(GOOD, GOOD))
    renderer.use_schema({})
    judged = judge.problems

    def replaced_meanwhile(*arguments: Any) -> list[tuple[str, str]]:
        found = judged(*arguments)
        if arguments[-1] == "spec":
            renderer.use_schema(schema.strict({"type": "object", "properties": {"hosts": {"type": "array"}}}))
        return found

    monkeypatch.setattr(judge, "problems", replaced_meanwhile)
    assert isinstance(render_all(renderer, [render()])[render()], Rendered)
    monkeypatch.setattr(judge, "problems", judged)
    assert isinstance(render_all(renderer, [render()])[render()], Failed)


def test_a_strict_schema_is_closed_where_fields_are_listed() -> None:
    strict = schema.strict(INSTALLED)
    rule = strict["properties"]["http"]["items"]
    assert strict["additionalProperties"] is rule["additionalProperties"] is False
    assert "additionalProperties" not in rule["properties"]["route"]["items"]
    assert rule["properties"]["timeout"] == {}


def test_an_unknown_field_has_a_near_one_suggested() -> None:
    found = judge.problems(
        judge.VIRTUAL_SERVICE, {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "spek": {}}
    )
    assert ("spek", "there is no such field; did you mean spec?") in found
