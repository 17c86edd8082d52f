"""YAML that is taken, and YAML that is not: from text to plain data."""

from typing import Any

import pytest
import yaml

from virtualservice_operator.core.template import RULES
from virtualservice_operator.templates import guard
from virtualservice_operator.templates.guard import DEPTH_LIMIT, EVENT_LIMIT, WIDTH_LIMIT, Unacceptable, load


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("a: 1", {"a": 1}),
        ("{a: [1, {b: c}]}", {"a": [1, {"b": "c"}]}),
        ("- a\n- b: 2\n  c: []\n- {}\n", ["a", {"b": 2, "c": []}, {}]),
        ('{"a": "\\u00e4", "b": null}', {"a": "ä", "b": None}),
        ("a: |\n  one\n  two\n", {"a": "one\ntwo\n"}),
        ("a: >-\n  one\n  two\n", {"a": "one two"}),
        ("--- a", "a"),
        ("# a comment\na: b # another\n", {"a": "b"}),
        ("80: http\n", {"80": "http"}),
        ('"<<": data', {"<<": "data"}),
        ("no: no", {"no": "no"}),
        ("k" * 317 + ": 1", {"k" * 317: 1}),
    ],
)
def test_a_document_is_plain_data(text: str, data: Any) -> None:
    assert load(text).data == data


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("Off", "Off"),
        ("0777", 777),
        ("0o17", 15),
        ("0x1F", 31),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("-12", -12),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("2026-01-01", "2026-01-01"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("nul", "nul"),
        ("=", "="),
        ("'1'", "1"),
        ('"true"', "true"),
        ("'null'", "null"),
        ("5s", "5s"),
        ("-", None),
    ],
)
def test_a_scalar_means_what_yaml_1_2_says(scalar: str, value: Any) -> None:
    """PyYAML takes no, 0777, 1:30 and 1_000 for false, 511, 90 and 1000."""
    if scalar == "-":
        assert load("a:\n  -\n").data == {"a": [value]}
    else:
        assert load(f"a: {scalar}").data == {"a": value}


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a: &x 1\nb: *x", 0, "&x is an anchor"),
        ("a: 1\nb: *x", 1, "*x is an alias"),
        ("a: !!python/name:os.system ''", 0, "is a tag"),
        ("a: !x 1", 0, "is a tag"),
        ("! a", 0, "is a tag"),
        ("a:\n  <<: {b: 1}", 1, "<< is a merge key"),
        ("a: 1\nb: 2\na: 3", 2, "the key 'a' is there twice"),
        ("a: 1\n" + "k" * 318 + ": 2", 1, "the key 'kkkkkkkkkkkkkkkkkkkk'… is longer than 317 characters"),
        ("1: a\n'1': b", 1, "the key '1' is there twice"),
        ("a: 1\n---\nb: 2", 1, "a second YAML document begins"),
        ("? [a]\n: b", 0, "a key must be text"),
        ("? {a: b}\n: c", 0, "a key must be text"),
        ("{{ x }}", 0, "a key must be text"),
        ("", 0, "it is empty"),
        ("# nothing\n", 0, "it is empty"),
        ("a: [", 0, "this is no YAML"),
        ("a: 'b", 0, "this is no YAML"),
        ("a:\n\t- b", 1, "this is no YAML"),
        ("a: b: c", 0, "this is no YAML"),
        ("a: \x07", 0, "this is no YAML"),
        ("a: \ud800", 0, "this is no YAML"),
        ("a: .inf", 0, ".inf is no number that a VirtualService can hold"),
        ("a: -.INF", 0, "is no number that"),
        ("a: .nan", 0, "is no number that"),
        ("a: 1e999", 0, "too large a number"),
        ("a: " + "9" * 41, 0, "too long for a number"),
    ],
)
def test_what_yaml_is_abused_for_is_refused_with_its_line(text: str, line: int, says: str) -> None:
    with pytest.raises(Unacceptable) as refused:
        load(text)
    assert says in refused.value.message
    assert refused.value.line == line


def test_an_alias_bomb_is_refused_at_its_first_line() -> None:
    bomb = "a: &a [x, x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(20)
    )
    with pytest.raises(Unacceptable, match="&a is an anchor"):
        load(bomb)


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "], ids=["lists", "mappings", "blocks"])
def test_depth_is_bounded(opening: str) -> None:
    with pytest.raises(Unacceptable, match=f"nested more than {DEPTH_LIMIT} deep|exceeded maximum nesting depth"):
        load(opening * 16_384)


WIDE = {
    "keys": "\n".join(f"k{number}: 1" for number in range(20_000)),
    "keys in a line": "{" + ", ".join(f"k{number}" for number in range(20_000)) + "}",
    "items": "- 1\n" * 20_000,
    "items in a line": "[" + "1," * 100_000 + "]",
    "lists": "[" + "[]," * 80_000 + "]",
    "rules": "spec:\n  http:\n" + "  - {a: b}\n" * 5_000,
}


@pytest.mark.parametrize("text", WIDE.values(), ids=WIDE)
def test_a_bomb_is_refused_after_a_few_of_its_parts(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """At most 3 us each, so in less than 10 ms; what it would have come to is 20 times as much."""
    seen = []

    class Counted(yaml.CSafeLoader):
        def get_event(self) -> Any:
            seen.append(event := super().get_event())
            return event

    monkeypatch.setattr(guard, "_Parser", Counted)
    with pytest.raises(Unacceptable, match=f"more than {WIDTH_LIMIT} (items|fields); make it smaller"):
        load(text)
    assert len(seen) <= 4 * WIDTH_LIMIT + 10


def test_a_text_that_is_too_long_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_Parser", None)
    with pytest.raises(Unacceptable, match="longer than 262144 characters"):
        load("\n".join(f"k{number}: 1" for number in range(1_000_000)))


def test_the_number_of_parts_is_bounded() -> None:
    with pytest.raises(Unacceptable, match=f"more than {EVENT_LIMIT} parts"):
        load("\n".join(f"k{number}: [{'1, ' * 20}]" for number in range(1_000)))


def test_what_just_fits_is_taken() -> None:
    assert load("[" * DEPTH_LIMIT + "]" * DEPTH_LIMIT).data is not None
    assert len(load("[" + "1," * WIDTH_LIMIT + "]").data) == WIDTH_LIMIT
    assert len(load("".join(f"k{number}: 1\n" for number in range(WIDTH_LIMIT))).data) == WIDTH_LIMIT
    rule = "{name: n, match: [{port: 80}], route: [{destination: {host: a}}]}"
    assert load(f"[{', '.join([rule] * 900)}]").events > EVENT_LIMIT * 0.9


def test_each_field_has_its_line_down_to_those_of_a_rule() -> None:
    text = "spec:\n  http:\n  - match:\n    - uri: {exact: /}\n    route: []\n"
    assert load(text).lines == {
        "spec": 0,
        "spec.http": 1,
        "spec.http[0]": 2,
        "spec.http[0].match": 2,
        "spec.http[0].route": 4,
    }


def test_a_list_is_as_wide_as_a_virtual_service_has_rules() -> None:
    """The worker does not import the core, so that the number stands twice."""
    assert WIDTH_LIMIT == RULES
