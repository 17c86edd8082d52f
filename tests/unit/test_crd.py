from typing import Any

import pytest
import yaml

from virtualservice_operator.api.crd import HEADER, crd_document, crd_yaml, structural

DEFINITIONS = {"Name": {"type": "string", "title": "Name", "maxLength": 63}}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        pytest.param({"$ref": "#/$defs/Name"}, {"type": "string", "maxLength": 63}, id="a reference is written out"),
        pytest.param(
            {"$ref": "#/$defs/Name", "description": "d"},
            {"type": "string", "description": "d", "maxLength": 63},
            id="what stands beside a reference is kept",
        ),
        pytest.param(
            {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None, "title": "T"},
            {"type": "integer"},
            id="optional becomes plain",
        ),
        pytest.param(
            {"anyOf": [{"$ref": "#/$defs/Name"}, {"type": "null"}], "description": "d"},
            {"type": "string", "description": "d", "maxLength": 63},
            id="an optional reference",
        ),
        pytest.param(
            {"type": "integer", "default": 0}, {"type": "integer", "default": 0}, id="a default that is a value stays"
        ),
        pytest.param(
            {"type": "object", "properties": {"a": {"type": "string", "title": "A"}}, "additionalProperties": False},
            {"type": "object", "properties": {"a": {"type": "string"}}},
            id="a closed object is left to pruning",
        ),
        pytest.param(
            {"type": "object", "additionalProperties": {"$ref": "#/$defs/Name"}},
            {"type": "object", "additionalProperties": {"type": "string", "maxLength": 63}},
            id="a map keeps the schema of its values",
        ),
        pytest.param(
            {"type": "object", "patternProperties": {"^a$": {"type": "string"}}, "propertyNames": {"maxLength": 9}},
            {"type": "object", "additionalProperties": {"type": "string"}},
            id="a map with patterns for its keys",
        ),
        pytest.param({"const": "Header", "type": "string"}, {"type": "string", "enum": ["Header"]}, id="a constant"),
        pytest.param(
            {"type": "array", "items": {"$ref": "#/$defs/Name"}, "maxItems": 2},
            {"type": "array", "items": {"type": "string", "maxLength": 63}, "maxItems": 2},
            id="a list",
        ),
        pytest.param(
            {"type": "string", "description": "One\n  sentence."},
            {"type": "string", "description": "One sentence."},
            id="a description in one line",
        ),
        pytest.param(
            {"type": "object", "properties": {"title": {"type": "string"}, "default": {"type": "string"}}},
            {"type": "object", "properties": {"title": {"type": "string"}, "default": {"type": "string"}}},
            id="fields may be named like words of the schema",
        ),
    ],
)
def test_a_schema_becomes_structural(schema: dict[str, Any], expected: dict[str, Any]) -> None:
    assert structural(schema, DEFINITIONS) == expected


def test_a_part_says_what_it_is_first_and_what_it_contains_last() -> None:
    schema = {"properties": {}, "maxProperties": 1, "description": "d", "type": "object"}
    assert list(structural(schema, {})) == ["description", "type", "maxProperties", "properties"]


def test_the_text_is_the_document() -> None:
    assert yaml.safe_load(crd_yaml()) == crd_document()


def test_the_text_says_that_it_is_generated() -> None:
    assert crd_yaml().startswith(HEADER)


def test_the_text_has_no_anchors() -> None:
    assert [line for line in crd_yaml().splitlines() if line.rstrip().endswith("&id001") or ": *id" in line] == []


def test_the_names_are_those_of_the_contract() -> None:
    document = crd_document()
    assert document["metadata"]["name"] == "routingpolicies.virtualservice-operator.dev"
    assert document["spec"]["scope"] == "Namespaced"
    assert document["spec"]["names"] == {
        "kind": "RoutingPolicy",
        "listKind": "RoutingPolicyList",
        "plural": "routingpolicies",
        "singular": "routingpolicy",
        "shortNames": ["rpol"],
        "categories": ["vso"],
    }


def test_the_columns_are_those_of_the_contract() -> None:
    (version,) = crd_document()["spec"]["versions"]
    columns = version["additionalPrinterColumns"]
    assert [column["name"] for column in columns if "priority" not in column] == [
        "Ready",
        "Reason",
        "Services",
        "Routes",
        "Developers",
        "Age",
    ]
    wide = [column["name"] for column in columns if column.get("priority") == 1]
    assert wide == ["Priority", "Mode", "Skipped", "Message"]


def test_the_api_server_writes_the_first_status() -> None:
    (version,) = crd_document()["spec"]["versions"]
    default = version["schema"]["openAPIV3Schema"]["properties"]["status"]["default"]
    assert [item["status"] for item in default["conditions"]] == ["Unknown"] * 4
