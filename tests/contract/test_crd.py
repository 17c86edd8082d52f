from collections.abc import Iterator
from typing import Any

import pytest

from contract.samples import ROOT
from virtualservice_operator.api.crd import crd_document, crd_yaml

Schema = dict[str, Any]
FILE = "routingpolicies.virtualservice-operator.dev.yaml"
# Every Kubernetes object has these; their meaning is not ours to say.
COMMON = (".apiVersion", ".kind", ".metadata")


def version() -> dict[str, Any]:
    (only,) = crd_document()["spec"]["versions"]
    return dict(only)


def walk(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Yield every part of a schema with its path: `.name` for a property, `[]` for items, `{}` for values of a map."""
    yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from walk(part, f"{path}.{name}")
    for word, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(schema.get(word), dict):
            yield from walk(schema[word], path + mark)


PARTS = [(path, part) for path, part in walk(version()["schema"]["openAPIV3Schema"]) if path not in COMMON]


@pytest.mark.parametrize("folder", ["crds", "kustomize/base"])
def test_the_committed_crd_is_what_the_models_make(folder: str) -> None:
    assert (ROOT / folder / FILE).read_text() == crd_yaml()


def test_every_field_says_what_it_is() -> None:
    silent = [path for path, part in PARTS if not path.endswith(("[]", "{}")) and not part.get("description")]
    assert silent == []


def test_every_description_is_a_sentence() -> None:
    assert [path for path, part in PARTS if not part.get("description", ".").endswith(".")] == []


def test_every_list_and_map_has_a_limit() -> None:
    lists = [path for path, part in PARTS if part["type"] == "array" and "maxItems" not in part]
    maps = [path for path, part in PARTS if "additionalProperties" in part and "maxProperties" not in part]
    assert lists + maps == []


def test_every_string_has_a_limit() -> None:
    strings = [(path, part) for path, part in PARTS if part["type"] == "string"]
    assert [path for path, part in strings if not part.keys() & {"maxLength", "enum", "format"}] == []


def test_every_pattern_is_accompanied_by_a_rule_that_says_it_in_words() -> None:
    shaped = [(path, part) for path, part in PARTS if "pattern" in part]
    assert shaped
    assert [path for path, part in shaped if "x-kubernetes-validations" not in part] == []


def test_every_list_says_how_it_is_merged() -> None:
    assert [path for path, part in PARTS if part["type"] == "array" and "x-kubernetes-list-type" not in part] == []


def test_every_number_says_its_size() -> None:
    assert [path for path, part in PARTS if part["type"] == "integer" and "format" not in part] == []


def test_only_what_is_not_merged_has_a_default_in_the_spec() -> None:
    assert {path: part["default"] for path, part in PARTS if path.startswith(".spec") and "default" in part} == {
        ".spec.priority": 0,
        ".spec.mode": "Enforce",
    }


def test_the_fields_of_the_spec_are_these() -> None:
    spec = dict(PARTS)[".spec"]
    assert list(spec["properties"]) == [
        *("priority", "mode", "services", "developers", "developersFrom", "matches"),
        *("copies", "placeholder", "defaultRoute", "developerRoute", "exportTo"),
        *("routedToHeader", "virtualServiceFor", "foreignVirtualServices", "template"),
    ]


def test_the_schema_is_structural() -> None:
    forbidden = {"$ref", "$defs", "anyOf", "title", "nullable", "patternProperties", "const"}
    assert [path for path, part in PARTS if part.keys() & forbidden] == []
    assert [path for path, part in PARTS if part.get("additionalProperties") is False] == []


def test_the_columns_of_kubectl_get_are_these() -> None:
    columns = version()["additionalPrinterColumns"]
    ready = '.status.conditions[?(@.type=="Ready")]'
    assert [(column["name"], column["jsonPath"]) for column in columns if not column.get("priority")] == [
        ("Ready", f"{ready}.status"),
        ("Reason", f"{ready}.reason"),
        ("Services", ".status.servicesReady"),
        ("Routes", ".status.developerRoutes"),
        ("Developers", ".status.developers"),
        ("Age", ".metadata.creationTimestamp"),
    ]
    assert [(column["name"], column["jsonPath"]) for column in columns if column.get("priority")] == [
        ("Priority", ".spec.priority"),
        ("Mode", ".spec.mode"),
        ("Skipped", ".status.skippedServices"),
        ("Message", f"{ready}.message"),
    ]


def test_every_column_shows_a_field_that_exists() -> None:
    paths = {path for path, _ in PARTS} | {".metadata.creationTimestamp"}
    shown = [
        column["jsonPath"].replace('[?(@.type=="Ready")]', "[]") for column in version()["additionalPrinterColumns"]
    ]
    assert set(shown) <= paths


def test_the_names_of_the_kind_are_these() -> None:
    spec = crd_document()["spec"]
    assert (spec["group"], spec["scope"], version()["name"]) == (
        "virtualservice-operator.dev",
        "Namespaced",
        "v1alpha1",
    )
    assert spec["names"] == {
        "kind": "RoutingPolicy",
        "listKind": "RoutingPolicyList",
        "plural": "routingpolicies",
        "singular": "routingpolicy",
        "shortNames": ["rpol"],
        "categories": ["vso"],
    }


def test_status_is_a_subresource() -> None:
    assert version()["subresources"] == {"status": {}}
