import re

import pytest

from virtualservice_operator.core.variables import substitute, unknown_variables

VALUES = {"DeveloperName": "alice", "DeveloperNamespace": "dev-alice"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("plain", "plain", id="no variable"),
        pytest.param("{{ DeveloperName }}", "alice", id="alone"),
        pytest.param("{{DeveloperName}}", "alice", id="without blanks"),
        pytest.param("{{   DeveloperName\t}}", "alice", id="with other blanks"),
        pytest.param("{{ DeveloperName }}@{{ DeveloperNamespace }}", "alice@dev-alice", id="two"),
        pytest.param("{{ DeveloperName }}{{ DeveloperName }}", "alicealice", id="one twice"),
        pytest.param("{{ ServiceName }}", "{{ ServiceName }}", id="without a value yet"),
        pytest.param("{{ ServiceName }}-{{ DeveloperName }}", "{{ ServiceName }}-alice", id="one of two has a value"),
        pytest.param("{ DeveloperName }", "{ DeveloperName }", id="single braces"),
        pytest.param("DeveloperName", "DeveloperName", id="no braces"),
        pytest.param("{{ DeveloperName", "{{ DeveloperName", id="not closed"),
        pytest.param(r"a{2}{{ DeveloperName }}", "a{2}alice", id="beside a repetition"),
    ],
)
def test_variables_with_a_value_are_replaced(text: str, expected: str) -> None:
    assert substitute(text, VALUES) == expected


@pytest.mark.parametrize("text", ["{{ DeveloperName }}{{" + " " * 950, "{{" * 500, "{{" + " " * 400 + "x" * 400])
def test_no_text_takes_long(text: str) -> None:
    """A pattern that tries every way to cut a text would take hours for a hundred times these."""
    assert substitute(text * 100, VALUES).endswith(text[-3:])
    assert set(unknown_variables(text * 100)) <= {text.strip("{ ")}


def test_a_value_is_not_looked_at_again() -> None:
    assert substitute("{{ DeveloperName }}", {"DeveloperName": "{{ DeveloperNamespace }}"}) == (
        "{{ DeveloperNamespace }}"
    )


def test_values_are_escaped_and_the_text_around_them_is_not() -> None:
    assert substitute("^.*{{ DeveloperName }}$", {"DeveloperName": "a.b"}, re.escape) == r"^.*a\.b$"


def test_a_backslash_in_a_value_stays_one() -> None:
    assert substitute("{{ DeveloperName }}", {"DeveloperName": r"\1"}) == r"\1"


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        pytest.param("plain", [], id="no variable"),
        pytest.param(
            "{{ ServiceName }} {{ ServiceNamespace }} {{ DeveloperName }} {{ DeveloperNamespace }}", [], id="all four"
        ),
        pytest.param("{{ Developer }}", ["Developer"], id="misspelt"),
        pytest.param("{{ developername }}", ["developername"], id="of another case"),
        pytest.param("{{ DeveloperName | upper }}", ["DeveloperName | upper"], id="an expression"),
        pytest.param("{{ DeveloperName.x }}", ["DeveloperName.x"], id="an attribute"),
        pytest.param("{{ B }} {{ A }}", ["B", "A"], id="in order of appearance"),
        pytest.param("{{ }}", [""], id="empty"),
    ],
)
def test_what_is_none_of_the_four_variables_is_named(text: str, unknown: list[str]) -> None:
    assert unknown_variables(text) == unknown
