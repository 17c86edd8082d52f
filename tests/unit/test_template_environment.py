"""What a template can say and compute, what it cannot, and that values from the cluster stay data."""

import json
from typing import Any

import pytest

from virtualservice_operator.templates.render import Renderer

VALUES: dict[str, Any] = {
    "ServiceName": "reviews",
    "ServiceNamespace": "shop",
    "ServiceFQDN": "reviews.shop.svc.cluster.local",
    "ClusterDomain": "cluster.local",
    "DeveloperName": "alice",
    "DeveloperNamespace": "dev-alice",
    "ServiceLabels": {"app": "reviews", "items": "of a label"},
    "ServiceAnnotations": {"note": "a note", "weight": "30"},
    "ServicePorts": [{"name": "http", "port": 80, "http": True}, {"name": "db", "port": 5432, "http": False}],
    "Developers": [{"name": "alice", "exists": True}, {"name": "bob", "exists": False}],
}


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer()


def answer(renderer: Renderer, text: str, includes: dict[str, str] | None = None, **values: Any) -> dict[str, Any]:
    sources = {"virtualService": text, **(includes or {})}
    digest = str(hash(json.dumps(sources)))
    loaded = renderer.known(digest) or renderer.load(digest, sources)
    return renderer.render(digest, "virtualService", {**VALUES, **values}) if loaded["ok"] else loaded


def value(renderer: Renderer, text: str, includes: dict[str, str] | None = None, **values: Any) -> Any:
    found = answer(renderer, text, includes, **values)
    assert found["ok"], found
    return found["value"]


def message(renderer: Renderer, text: str, includes: dict[str, str] | None = None, **values: Any) -> str:
    found = answer(renderer, text, includes, **values)
    assert not found["ok"], found
    return f"{found['template']}:{found['line']}: {found['message']}"


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("ServiceName ~ '-x'", "reviews-x"),
        ("ServiceName + '-x'", "reviews-x"),
        ("ServiceLabels.app", "reviews"),
        ("ServiceLabels['app']", "reviews"),
        ("ServiceLabels['items']", "of a label"),
        ("ServiceLabels.get('none', 'else')", "else"),
        ("ServiceLabels.none | default('else')", "else"),
        ("ServicePorts[0].port", 80),
        ("ServicePorts[-1].name", "db"),
        ("ServicePorts | selectattr('http') | map(attribute='port') | list", [80]),
        ("ServicePorts | map(attribute='name') | join(',')", "http,db"),
        ("ServicePorts | length", 2),
        ("Developers | rejectattr('exists') | map(attribute='name') | first", "bob"),
        ("ServiceAnnotations.weight | int", 30),
        ("100 - (ServiceAnnotations.weight | int)", 70),
        ("7 // 2 + 7 % 4 * 2", 9),
        ("-(3)", -3),
        ("[1, 2] + [3]", [1, 2, 3]),
        ("(1, 2)", [1, 2]),
        ("{'a': ServiceName}", {"a": "reviews"}),
        ("range(3)", [0, 1, 2]),
        ("fqdn(ServiceName, DeveloperNamespace)", "reviews.dev-alice.svc.cluster.local"),
        ("re_escape('a.b')", "a\\.b"),
        ("'a.b' | re_escape", "a\\.b"),
        ("ServiceName.upper()", "REVIEWS"),
        ("'a-b-c'.split('-')", ["a", "b", "c"]),
        ("'a-b'.replace('-', '+')", "a+b"),
        ("'a-b' | replace('-', '+')", "a+b"),
        ("ServiceName.startswith('rev')", True),
        ("'rev' in ServiceName", True),
        ("ServiceName is defined and ServiceLabels.none is not defined", True),
        ("'x' if ServicePorts else 'y'", "x"),
        ("ServicePorts[:1]", [{"name": "http", "port": 80, "http": True}]),
        ("ServiceLabels.items() | list", [["app", "reviews"], ["items", "of a label"]]),
        ("ServiceLabels | dictsort | first", ["app", "reviews"]),
        ("[3, 1, 2] | sort", [1, 2, 3]),
        ("[1, 1, 2] | unique | list", [1, 2]),
        ("none", None),
        ("true", True),
        ("1.5", 1.5),
        ("'ä\u2028'", "ä\u2028"),
    ],
)
def test_an_expression_comes_to_a_value(renderer: Renderer, expression: str, expected: Any) -> None:
    assert value(renderer, f"{{{{ ({expression}) | tojson }}}}") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{% for p in ServicePorts if p.http %}\n- {{ p.port }}\n{% endfor %}", [80]),
        (
            "{% for k, v in ServiceLabels.items() %}\n{{ k }}: {{ v }}\n{% endfor %}",
            {"app": "reviews", "items": "of a label"},
        ),
        ("{% for d in Developers %}\n- {{ loop.index }}{% if not loop.last %}x{% endif %}\n\n{% endfor %}", ["1x", 2]),
        ("{% for d in [] %}x{% else %}nobody{% endfor %}", "nobody"),
        ("{% set x = ServiceName %}{{ x }}", "reviews"),
        ("{% with x = 1 %}{{ x }}{% endwith %}", 1),
        ("{% set x %}\na: 1\n{% endset %}{{ x }}", {"a": 1}),
        ("a:\n{% filter indent(2, true) %}\nb: 1\nc: 2\n{% endfilter %}", {"a": {"b": 1, "c": 2}}),
        ("{% raw %}'{{ x }}'{% endraw %}", "{{ x }}"),
        ("{# nothing #}a: 1", {"a": 1}),
        ("a: {{ true }}", {"a": True}),
    ],
)
def test_a_statement_comes_to_yaml(renderer: Renderer, text: str, expected: Any) -> None:
    assert value(renderer, text) == expected


def test_a_template_extends_another_and_keeps_what_it_does_not_replace(renderer: Renderer) -> None:
    base = "a: {% block a %}1{% endblock %}\n\nb: {% block b %}2{% endblock %}\n"
    assert value(renderer, "{% extends 'x' %}{% block b %}{{ super() }}0{% endblock %}", {"x": base}) == {
        "a": 1,
        "b": 20,
    }


def test_an_include_sees_the_variables_of_the_moment(renderer: Renderer) -> None:
    text = "{% for name in ['a', 'b'] %}\n{% include 'rule' %}\n{% endfor %}"
    assert value(renderer, text, {"rule": "- {{ name }}-{{ ServiceName }}\n"}) == ["a-reviews", "b-reviews"]


def test_a_fragment_is_data_and_takes_variables_of_its_own(renderer: Renderer) -> None:
    text = "{% for d in Developers %}\n- {{ fragment('rule', DeveloperName=d.name) | tojson }}\n{% endfor %}"
    assert value(renderer, text, {"rule": "to: {{ DeveloperName }}"}) == [{"to": "alice"}, {"to": "bob"}]


def test_equal_inputs_give_equal_results(renderer: Renderer) -> None:
    text = "{% for k, v in ServiceLabels.items() %}\n{{ k }}: {{ v }}\n{% endfor %}"
    assert answer(renderer, text) == answer(Renderer(), text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\nb: {{ Nobody }}", "virtualService:2: 'Nobody' is not a variable; the variables are ClusterDomain, "),
        ("{{ ServiceLabels.none }}", "virtualService:1: a mapping has no field 'none'; test it with `is defined`"),
        ("{{ ServicePorts[9] }}", "virtualService:1: a list has no item '9'"),
        ("{{ ServicePorts }}", "a list is printed with | tojson"),
        ("{{ none }}", "none is printed with | tojson"),
        ("{{ ServiceName * 3 }}", "* is for numbers; text and a number are joined by ~ or +"),
        ("{{ 'a%s' % 1 }}", "% is for numbers"),
        ("{{ 1 / 0 }}", "a number is divided by zero"),
        ("{{ 9223372036854775807 * 2 }}", "a number is larger than 64 bits"),
        ("{{ 2 ** 3 }}", "** is not available"),
        ("{{ range(1001) | tojson }}", "range has more than 1000 numbers"),
        ("{{ range('a') | tojson }}", "range takes one to three whole numbers"),
        ("{{ fqdn(ServiceName) }}", "fqdn takes a name and a namespace"),
        ("{{ re_escape(1) }}", "re_escape takes one text"),
        ("{{ fragment('none') | tojson }}", "fragment: there is no include 'none'; there are: base"),
        ("{{ fragment(ServiceName) | tojson }}", "fragment needs a name in quotes"),
        ("{% include ServiceName %}", "include needs a name in quotes"),
        ("{% extends 'none' %}", "extends: there is no include 'none'"),
        ("{% include 'x' ignore missing %}", "ignore missing is not available"),
        ("{% import 'x' as y %}", "import is not available"),
        ("{% from 'x' import y %}", "import is not available"),
        ("{% macro m() %}{% endmacro %}", "macro is not available"),
        ("{% for a in [1] recursive %}{% endfor %}", "recursive loops are not available"),
        ("{% set range = 1 %}", "range has a meaning already"),
        ("{% set ServiceName = 1 %}", "ServiceName has a meaning already"),
        ("{{ range }}", "range is a function; call it"),
        ("{{ ServiceName() }}", "ServiceName cannot be called"),
        ("{{ ServiceName.format(1) }}", "text has no field 'format'"),
        ("{{ ServiceName.__class__ }}", "begins with an underscore"),
        ("{{ ServiceName['__class__'] }}", "text has no item '__class__'"),
        ("{{ self }}", "'self' is not a variable"),
        ("{{ 'x' | attr('y') }}", "No filter named 'attr'"),
        ("{{ 'x' is sameas(1) }}", "No test named 'sameas'"),
        ("{{ [1] | join(*[1]) }}", "arguments with * or ** are not available"),
        ("{% for a in 5 %}{% endfor %}", "for goes through lists and mappings; a number is none"),
        ("{% if %}", "Expected an expression"),
        ("{{ x", "unexpected end of template"),
        ("{{ '\ue000' }}", "U+E000 to U+E002 are reserved"),
        ("a: 1\na: 2", "virtualService:2: the key 'a' is there twice"),
        ("a: 1\n\n\nb: [", "virtualService:4: this is no YAML"),
    ],
)
def test_a_mistake_is_said_with_its_line_and_the_way(renderer: Renderer, text: str, says: str) -> None:
    assert says in message(renderer, text)


def test_a_mistake_in_an_include_names_the_include(renderer: Renderer) -> None:
    assert message(renderer, "a: 1\n{% include 'x' %}", {"x": "\n\n{{ ServiceLabels.y }}"}).startswith("x:3: ")
    assert message(renderer, "{{ fragment('x') | tojson }}", {"x": "a: 1\na: 2"}).startswith("x:2: the key 'a'")
    assert message(renderer, "a: 1", {"x": "{% if %}"}).startswith("x:1: ")


def test_templates_that_lead_back_to_themselves_are_refused(renderer: Renderer) -> None:
    circle = {"x": "{% include 'y' %}", "y": "{{ fragment('x') | tojson }}"}
    assert "leads back to itself: " in message(renderer, "a", circle)
    assert "leads back to itself: " in message(renderer, "a", {"x": "{% extends 'x' %}"})


# ---- S07: values are data

STRANGE = [
    *(
        "a: b",
        "a, b",
        "- a",
        "[a]",
        "{a: b}",
        "# a",
        "a #b",
        "a\nb: c",
        "a\n- b",
        "a\r\nb",
        "\tb",
        " a ",
        "'",
        '"',
        "''",
        "\\",
    ),
    *(
        "\\n",
        "\\x41",
        "{{ x }}",
        "{% if %}",
        "{#",
        "&a b",
        "*a",
        "!a",
        "!!int 1",
        "| a",
        "> a",
        "%a",
        "@a",
        "`a",
        "? a",
        ": a",
    ),
    *(
        "null",
        "~",
        "true",
        "False",
        "no",
        "0777",
        "1:30",
        "1e3",
        ".inf",
        "0x1f",
        "-1",
        "",
        "<<",
        "=",
        "---",
        "...",
        "--- a",
    ),
    *(
        "\u2028",
        "\u2029",
        "\x85",
        "\x7f",
        "\x00",
        "\x1b[31m",
        "\ufeffa",
        "ä",
        "日本",
        "😀",
        "a" * 253,
        "\ue000",
        "\uffff",
    ),
]


@pytest.mark.parametrize("strange", STRANGE, ids=ascii)
def test_a_value_through_tojson_is_that_value(renderer: Renderer, strange: str) -> None:
    text = "a: {{ ServiceAnnotations.note | tojson }}\nb: [{{ (ServiceAnnotations.note ~ '!') | tojson }}]\n"
    found = answer(renderer, text, ServiceAnnotations={"note": strange})
    if strange == "\ue000":
        assert "does not stay as it is" in found["message"]
    else:
        assert found["value"] == {"a": strange, "b": [strange + "!"]}


@pytest.mark.parametrize(
    "place",
    [
        *(
            "a: X\nb: 1",
            'a: "X"\nb: 1',
            "a: 'X'\nb: 1",
            "a: [X, 1]",
            "a: {b: X, c: 1}",
            "a: |\n  X\nb: 1",
            "a: >\n  X\nb: 1",
        ),
        *("a:\n- X\n- 1", "X: 1\nb: 2", "# X\na: 1", "a: pre-X-post\nb: 1", 'a: "pre-X-post"\nb: 1', "a: X # c\nb: 1"),
    ],
)
@pytest.mark.parametrize("strange", STRANGE, ids=ascii)
def test_a_value_without_tojson_is_that_value_or_is_refused(renderer: Renderer, place: str, strange: str) -> None:
    """Compared with the same place holding a harmless word: nothing but the word differs."""
    text = place.replace("X", "{{ ServiceAnnotations.note }}")
    harmless = value(renderer, text, ServiceAnnotations={"note": "word"})
    found = answer(renderer, text, ServiceAnnotations={"note": strange})
    if found["ok"]:
        assert found["value"] == put(harmless, "word", strange)


def put(data: Any, word: str, instead: str) -> Any:
    """Return data with a word replaced in every text."""
    if isinstance(data, dict):
        return {put(key, word, instead): put(item, word, instead) for key, item in data.items()}
    if isinstance(data, list):
        return [put(item, word, instead) for item in data]
    return data.replace(word, instead) if isinstance(data, str) else data


def test_a_value_that_would_change_the_yaml_is_refused_with_the_way(renderer: Renderer) -> None:
    found = message(renderer, "a: 1\nnote: {{ ServiceAnnotations.note }}", ServiceAnnotations={"note": "x\nevil: y"})
    assert found.startswith(
        "virtualService:2: a value from the cluster does not stay as it is here; write {{ … | tojson }}"
    )


def test_a_name_that_looks_like_a_number_stays_text(renderer: Renderer) -> None:
    assert value(renderer, "a: {{ ServiceName }}\nb: {{ 5 }}", ServiceName="0777") == {"a": "0777", "b": 5}


def test_what_the_author_writes_is_yaml(renderer: Renderer) -> None:
    assert value(renderer, "{{ 'timeout: 5s' if ServicePorts else 'x: 1' }}") == {"timeout": "5s"}
