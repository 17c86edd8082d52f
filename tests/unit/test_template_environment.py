"""What a template can say and compute, what it cannot, and that values from the cluster stay data."""

import json
from typing import Any

import pytest
from jinja2 import nodes

from virtualservice_operator.templates import base
from virtualservice_operator.templates.render import Renderer
from virtualservice_operator.templates.values import FUEL, Budget, Refused

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
        ("{{ fragment('base', 5) }}", "fragment takes one name; give variables by theirs"),
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


HIDDEN = (
    "!charge",
    "!literal",
    "!each",
    "!settle",
    "!weigh",
    "!concat",
    "!print",
    "!indent",
    "attr",
    "format",
    "center",
)


@pytest.mark.parametrize("name", HIDDEN)
def test_a_filter_whose_name_is_a_value_is_one_that_can_be_written(renderer: Renderer, name: str) -> None:
    assert f"No filter named '{name}'" in message(renderer, f"{{{{ [-9] | map('{name}') | list | tojson }}}}")
    assert f"No filter named '{name}'" in message(
        renderer, f"{{% set n = '{name}' %}}{{{{ [-9] | map(n) | list | tojson }}}}"
    )


def test_a_test_whose_name_is_a_value_is_one_that_can_be_written(renderer: Renderer) -> None:
    assert "No test named 'sameas'" in message(renderer, "{{ [1] | select('sameas', 1) | list | tojson }}")
    assert value(renderer, "{{ [1, 2] | select('even') | list | tojson }}") == [2]


def test_fuel_is_not_given_back() -> None:
    budget = Budget()
    with pytest.raises(Refused):
        budget.spend(-1)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("2.346 | round(2)", 2.35),
        ("2.5 | round", 2.0),
        ("1234 | round(-2)", 1200),
        ("2.1 | round(0, 'ceil')", 3.0),
        ("2.99 | round(1, 'floor')", 2.9),
        ("[1, 2.5] | sum", 3.5),
        ("[1, 2] | sum(start=10)", 13),
        ("ServicePorts | sum(attribute='port')", 5512),
        ("ServicePorts | sum('port')", 5512),
        ("[] | sum", 0),
        ("[{'a': {'b': 2}}] | map(attribute='a.b') | list", [2]),
        ("'abc' | list", ["a", "b", "c"]),
        ("['b', 'a'] | min", "a"),
    ],
)
def test_filters_of_ours_do_what_those_of_jinja_do(renderer: Renderer, expression: str, expected: Any) -> None:
    assert value(renderer, f"{{{{ ({expression}) | tojson }}}}") == expected


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("5 | round(-300000)", "round takes a number, and how many digits it keeps: from -15 to 15"),
        ("5 | round(16)", "from -15 to 15"),
        ("'5' | round", "round takes a number"),
        ("5 | round(0, 'up')", "round takes common, ceil or floor"),
        ("[[1], [2]] | sum(start=[])", "sum is for numbers"),
        ("['a'] | sum(start='')", "sum is for numbers"),
        ("[1] | map(attribute='0.0.0.0.0.0.0.0.0') | list", "map takes a path of at most 8 fields"),
        ("[1] | sort(attribute='a,b,c,d,e,f,g,h,i')", "sort takes a path of at most 8 fields"),
        ("[1] | sort(false, false, 'a.b.c.d.e.f.g.h.i')", "sort takes a path of at most 8 fields"),
        ("[1] | selectattr('a.b.c.d.e.f.g.h.i') | list", "selectattr takes a path of at most 8 fields"),
        ("range(1000) | join('" + "x" * 300 + "')", "join would make a text longer than 262144 characters"),
    ],
)
def test_what_a_filter_would_cost_is_bounded(renderer: Renderer, expression: str, says: str) -> None:
    assert says in message(renderer, f"{{{{ ({expression}) | tojson }}}}")


@pytest.mark.parametrize(
    "expression",
    [
        *(
            "v | min",
            "v | unique | list",
            "v | groupby(0) | list",
            "v | reject | list",
            "v.rpartition(w)",
            "v.strip(w)",
        ),
        *("v.find(w)", "v | replace(w, 'x')", "w in v", "v is in(v)", "v | title"),
    ],
)
def test_going_through_a_text_costs_fuel_in_proportion(renderer: Renderer, expression: str) -> None:
    """Each took tens of milliseconds, or seconds, for the price of a text's size."""
    size = 100_000
    before = f"{{% set v = ServiceAnnotations.v %}}{{% set w = ServiceAnnotations.w %}}{{% for i in range(20) %}}{{% if ({expression}) %}}{{% endif %}}{{% endfor %}}"
    values = {"v": "a" * size, "w": "a" * 1000 + "b" + "a" * 1000}
    assert "more than 100000 steps" in message(renderer, before, ServiceAnnotations=values)


SETS = "".join(f"{{% set v{number} = {number} %}}" for number in range(190))


def steps(renderer: Renderer, text: str, includes: dict[str, str] | None = None) -> int:
    """Return how many steps a template takes."""
    answer(renderer, text, includes)
    return FUEL - renderer._environment.rendering.budget.fuel


@pytest.mark.parametrize(
    ("again", "include", "least"),
    [
        ("{% include 'x' %}", "", 8 + 190 // 4),
        ("{% set f = fragment('x') %}", "a", 2 * (8 + 190 // 4)),
        ("{% for i in [1] %}{% block N scoped %}{% endblock %}{% endfor %}", "", 8 + 190 // 4),
    ],
    ids=["include", "fragment", "scoped block"],
)
def test_what_is_given_all_variables_costs_fuel_for_each(
    renderer: Renderer, again: str, include: str, least: int
) -> None:
    """Jinja copies them; such an include took 14 times as long as a step should."""
    once, twice = (SETS + "".join(again.replace("N", f"n{n}") for n in range(times)) for times in (1, 2))
    assert steps(renderer, twice, {"x": include}) - steps(renderer, once, {"x": include}) >= least


def test_an_include_costs_fuel_for_each_name_that_it_uses(renderer: Renderer) -> None:
    """Jinja looks all of them up, those in loops that nothing goes through too."""
    include = "{% for a in [] %}" + SETS + "{% endfor %}"
    once, twice = (steps(renderer, "{% include 'x' %}" * times, {"x": include}) for times in (1, 2))
    assert twice - once >= 8 + 190 // 4


def test_what_is_printed_in_many_blocks_costs_fuel_for_each(renderer: Renderer) -> None:
    def nested(count: int) -> str:
        blocks = "".join(f"{{% block b{number} %}}" for number in range(count))
        return blocks + "{% for i in range(100) %}x{% endfor %}" + "{% endblock %}" * count

    assert steps(renderer, nested(35)) - steps(renderer, nested(2)) >= 2 * 100


def test_includes_count_in_a_template_that_extends_another(renderer: Renderer) -> None:
    """Jinja leaves out what such a template prints outside of blocks, but not what it includes."""
    text = (
        "{% extends 'y' %}{% for i in range(1000) %}{% for j in range(1000) %}{% include 'x' %}{% endfor %}{% endfor %}"
    )
    assert steps(renderer, text.replace("1000", "10"), {"x": "", "y": ""}) > 8 * 10 * 10
    assert "more than 100000 steps" in message(renderer, text, {"x": "", "y": ""})


@pytest.mark.parametrize(
    ("expression", "least"),
    [
        ("[] | upper", 3),
        ("1 is odd", 3),
        ("[] | slice(900)", 900),
        ("ServiceAnnotations.v | re_escape", 10_000 // 4),
        ("re_escape(ServiceAnnotations.v)", 10_000 // 4),
        ("ServiceAnnotations.v | tojson", 10_000 // 32),
    ],
)
def test_calling_costs_fuel_even_where_nothing_is_given(renderer: Renderer, expression: str, least: int) -> None:
    values = {"v": "-" * 10_000}
    answer(renderer, f"{{% if ({expression}) or true %}}a{{% endif %}}", ServiceAnnotations=values)
    assert FUEL - renderer._environment.rendering.budget.fuel >= least


def test_a_mistake_in_an_include_names_the_include(renderer: Renderer) -> None:
    assert message(renderer, "a: 1\n{% include 'x' %}", {"x": "\n\n{{ ServiceLabels.y }}"}).startswith("x:3: ")
    assert message(renderer, "{{ fragment('x') | tojson }}", {"x": "a: 1\na: 2"}).startswith("x:2: the key 'a'")
    assert message(renderer, "a: 1", {"x": "{% if %}"}).startswith("x:1: ")


def test_a_field_of_a_fragment_names_the_include_too(renderer: Renderer) -> None:
    text = "a: 1\nb: {{ fragment('x') | tojson }}\n{% include 'y' %}\nd: 1"
    found = answer(renderer, text, {"x": "e: 5", "y": "c: {{ fragment('x').e }}\n"})
    assert found["lines"] == {
        "a": ["virtualService", 1],
        "b": ["virtualService (fragment x)", 2],
        "b.e": ["virtualService (fragment x)", 2],
        "c": ["y (fragment x)", 1],
        "d": ["virtualService", 4],
    }


def test_a_field_has_its_template_even_where_the_output_begins_with_an_expression(renderer: Renderer) -> None:
    assert answer(renderer, "{{ 'a: 1' }}")["lines"] == {"a": ["virtualService", 1]}


def test_texts_that_were_refused_are_forgotten_in_the_order_of_their_use(renderer: Renderer) -> None:
    """The operator remembers the last hundred that it sent, and does not send them again."""
    renderer.load("often", {"virtualService": "{{ nobody }}"})
    for number in range(300):
        renderer.load(f"once-{number}", {"virtualService": "{{ nobody }}"})
        assert renderer.known("often") is not None


@pytest.mark.parametrize(
    ("text", "includes", "said"),
    [
        pytest.param(
            '{% extends "base" %}\n{% block spec %}{% endblock %}',
            {},
            "virtualService:2: base has no block spec; its blocks are metadata, rules_before_default, default_rule",
            id="base",
        ),
        pytest.param(
            "{% extends 'x' %}{% block b %}{% endblock %}",
            {"x": "a: 1"},
            "virtualService:1: x has no block b; it has none",
            id="without blocks",
        ),
        pytest.param(
            "{% extends 'x' %}{% block c %}{% endblock %}",
            {"x": '{% extends "base" %}{% block metadata %}{% block b %}{% endblock %}{% endblock %}'},
            "virtualService:1: x has no block c; its blocks are metadata, b, rules_before_default, default_rule",
            id="of a team",
        ),
    ],
)
def test_a_block_that_the_parent_does_not_have_is_refused(
    renderer: Renderer, text: str, includes: dict[str, str], said: str
) -> None:
    assert message(renderer, text, includes) == said


def test_the_blocks_of_base_are_those_that_are_named(renderer: Renderer) -> None:
    tree = renderer._environment.parse(base.TEXT)
    assert tuple(block.name for block in tree.find_all(nodes.Block)) == base.BLOCKS


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
        "a\nb: c\n#",
        "a\nb: c #",
        "a\rb: c\r#",
        "a', b: 'c",
        'a", b: "c',
        "a, b: c",
        "a}\nb: c\n# {",
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
        "e5",
        "ull",
        "nul",
        "inf",
        "ff",
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


PLACES = [
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
    *("a: 1 # X\nb: 1", "a: {b: 1, # X\n  c: 2}", "a: X # X\nb: 1", "a: [1, X]\n# X\nb: X\n"),
    *(
        "a: 1X\nb: 1",
        "a: 0xX\nb: 1",
        "a: .X\nb: 1",
        "a: nX\nb: 1",
        "a: Xl\nb: 1",
        "a: Xull\nb: 1",
        "a: -X\nb: 1",
        "a: XX",
    ),
]
# The same value by other ways: each comes to the value in `X`'s place.
WAYS = {
    "printed": "{{ ServiceAnnotations.note }}",
    "put into text": '{{ "N" | replace("N", ServiceAnnotations.note) }}',
    "put into text by a method": '{{ "N".replace("N", ServiceAnnotations.note) }}',
    "put into text by a keyword": '{{ "N" | replace("N", new=ServiceAnnotations.note) }}',
    "instead of a text": "{{ ServiceLabels.none | default(ServiceAnnotations.note) }}",
    "joined": '{{ "" ~ ServiceAnnotations.note }}',
    "joined by join": '{{ ["", ""] | join(ServiceAnnotations.note) }}',
    "as a fragment": '{{ fragment("n") }}',
    "by set": "{% set x %}{{ ServiceAnnotations.note }}{% endset %}{{ x }}",
    "by set with a filter": "{% set x | trim('') %}{{ ServiceAnnotations.note }}{% endset %}{{ x }}",
    "by a filter block": "{% filter indent(0) %}{{ ServiceAnnotations.note }}{% endfilter %}{{ '' }}",
    "into a filter block": '{% filter replace("N", ServiceAnnotations.note) %}N{% endfilter %}{{ "" }}',
    "by an include": "{% include 'v' %}{{ '' }}",
    "by a block": "{% block b %}{{ ServiceAnnotations.note }}{% endblock %}{{ '' }}",
}
INCLUDES = {"n": "{{ ServiceAnnotations.note | tojson }}", "v": "{{ ServiceAnnotations.note }}"}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("strange", STRANGE, ids=ascii)
def test_a_value_without_tojson_is_that_value_or_is_refused(renderer: Renderer, place: str, strange: str) -> None:
    """Compared with the same place holding a harmless word: nothing but the word differs."""
    expect_data(renderer, place.replace("X", WAYS["printed"]), strange)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("place", ["a: X\nb: 1", "# X\na: 1", "a: {b: svc-X, c: 1}", "a: '1X'\nb: 1"])
def test_a_value_is_data_whichever_way_it_comes(renderer: Renderer, place: str, way: str) -> None:
    for strange in STRANGE:
        expect_data(renderer, place.replace("X", way), strange)


@pytest.mark.parametrize(
    "place",
    [
        "{a: 'X', b: 1}",
        "{a: svc-X, b: 1}",
        '{a: "X", b: 1}',
        "a: 'X'\nb: 1",
        "a: svc X\nb: 1",
        "# X\na: 1",
        "a: |\n  X\nb: 1",
    ],
)
@pytest.mark.parametrize("shape", ["V", "[V]", "{'k': V}", "{V: 1}"])
def test_json_in_a_wrong_place_is_that_json_or_is_refused(renderer: Renderer, place: str, shape: str) -> None:
    text = place.replace("X", f"{{{{ {shape.replace('V', 'ServiceAnnotations.note')} | tojson }}}}")
    for strange in STRANGE:
        found = answer(renderer, text, ServiceAnnotations={"note": strange})
        if found["ok"]:
            word = answer(renderer, text, ServiceAnnotations={"note": "word"})["value"]
            assert found["value"] == put(word, "word", strange)


def expect_data(renderer: Renderer, text: str, strange: str) -> None:
    """Expect the value where a word would be, as text, or a refusal."""
    harmless = value(renderer, text, INCLUDES, ServiceAnnotations={"note": "word"})
    found = answer(renderer, text, INCLUDES, ServiceAnnotations={"note": strange})
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


def test_a_value_that_leaves_its_comment_is_refused_with_the_line(renderer: Renderer) -> None:
    text = "a: 1\n# note: {{ ServiceAnnotations.note }}\n"
    assert value(renderer, text) == {"a": 1}
    found = message(renderer, text, ServiceAnnotations={"note": "x\nevil: y\n#"})
    assert found.startswith("virtualService:2: a value from the cluster goes on after the comment that it stands in")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{% set x %}{{ ServiceName }}: {{ ServiceLabels.app }}{% endset %}{{ x }}", {"reviews": "reviews"}),
        (
            "{% set x %}{{ ServiceName }}{% endset %}a: {{ x | upper }}{{ x ~ '!' }}{{ x == ServiceName }}",
            {"a": "REVIEWSreviews!true"},
        ),
        ("{% set x %}{{ ServiceName }}{% endset %}{{ {x: [x]} | tojson }}", {"reviews": ["reviews"]}),
        ("{% set x %}app{% endset %}a: {{ ServiceLabels[x] }}{{ x | length }}", {"a": "reviews3"}),
        ("{% set x %}{{ ServiceName }}{% endset %}{{ fragment('f', x=x) | tojson }}", {"a": "reviews", "b": 7}),
        ("{% filter indent(2) | upper %}a:\n{{ ServiceName | length }}: b{% endfilter %}", {"A": {"7": "B"}}),
        ("a: {% filter tojson %}b: c{% endfilter %}", {"a": "b: c"}),
        ("a: {{ (ServiceAnnotations | tojson) | tojson }}", {"a": '{"note": "a note", "weight": "30"}'}),
        ("{{ 'a: N' | replace('N', '1') }}", {"a": 1}),
        ("# {{ ServicePorts | tojson }} {{ ServiceAnnotations.note }}\na: 1", {"a": 1}),
    ],
)
def test_marks_are_in_nobodys_way(renderer: Renderer, text: str, expected: Any) -> None:
    includes = {"f": "{% if false %}{% set x = 1 %}{% endif %}a: {{ x }}\nb: {{ x | length }}"} if "'f'" in text else {}
    assert value(renderer, text, includes) == expected


@pytest.mark.parametrize("strange", ["true", "null", "123", "1.5", "-", "a-b", "a/b", ".inf", "0x1f", "word", ""])
@pytest.mark.parametrize(
    "text",
    [
        """{% filter replace('"', '') %}a: V{% endfilter %}""",
        """a: {% filter trim('"') %}V{% endfilter %}""",
        """a: {% filter indent(2) | replace('"', '') %}V{% endfilter %}""",
        """{% filter replace('-', '": "') %}a: V{% endfilter %}""",
        """{% filter replace('/', ': ') | indent %}a: V{% endfilter %}""",
        """{% set x %}a: V{% endset %}{% filter replace('"', '') %}{{ x }}{% endfilter %}""",
        """{% set x = ServiceLabels.v | tojson %}{% filter replace('"', '') %}a: {{ x }}{% endfilter %}""",
        """{% filter replace('"', '') %}{% include 'i' %}{% endfilter %}""",
        """{% extends 'e' %}{% block b %}a: V{% endblock %}""",
        """a: {% filter upper %}V{% endfilter %}""",
    ],
)
def test_json_that_is_edited_afterwards_is_that_text_or_is_refused(renderer: Renderer, text: str, strange: str) -> None:
    """Between its quotes it needs no mark; without them `true` is no text any more."""
    includes = {
        "i": "a: {{ ServiceLabels.v | tojson }}",
        "e": """{% filter replace('"', '') %}{% block b %}{% endblock %}{% endfilter %}""",
    }
    found = answer(
        renderer, text.replace("V", "{{ ServiceLabels.v | tojson }}"), includes, ServiceLabels={"v": strange}
    )
    if found["ok"]:
        assert found["value"] == {"a": strange}


def test_json_in_a_body_that_is_moved_needs_no_marks(renderer: Renderer) -> None:
    """So is what `base` prints."""
    value(renderer, "a:\n{% filter indent(2, true) %}\nb: {{ ServiceName | tojson }}\n{% endfilter %}")
    assert renderer._environment.rendering.marks._values == []


def test_a_name_that_looks_like_a_number_stays_text(renderer: Renderer) -> None:
    assert value(renderer, "a: {{ ServiceName }}\nb: {{ 5 }}", ServiceName="0777") == {"a": "0777", "b": 5}


def test_what_the_author_writes_is_yaml(renderer: Renderer) -> None:
    assert value(renderer, "{{ 'timeout: 5s' if ServicePorts else 'x: 1' }}") == {"timeout": "5s"}
