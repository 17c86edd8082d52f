"""What we write is inside what Istio's CRD knows: every field we may write exists there, with the same type."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from contract.samples import ROOT
from contract.test_crd import walk
from virtualservice_operator.core.check import VirtualServiceSpec
from virtualservice_operator.templates import judge
from virtualservice_operator.templates.schema import SPEC, strict

pytestmark = pytest.mark.controlplane

Schema = dict[str, Any]


@cache
def istio_versions(path: Path) -> dict[str, Schema]:
    """Return the schema of a VirtualService's spec for each served version."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    documents = yaml.load_all(path.read_text(), Loader=loader)
    (crd,) = [item for item in documents if item and item["metadata"]["name"] == "virtualservices.networking.istio.io"]
    return {
        version["name"]: version["schema"]["openAPIV3Schema"]["properties"]["spec"]
        for version in crd["spec"]["versions"]
        if version["served"]
    }


def fields(schema: Schema, definitions: Schema, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the path and type of everything a model of pydantic allows: `[]` for items, `{}` for values of a map."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    for option in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from fields(option, definitions, path)
    if schema.get("type", "null") != "null":
        yield path, schema["type"]
    for name, part in schema.get("properties", {}).items():
        yield from fields(part, definitions, f"{path}.{name}")
    for values in schema.get("patternProperties", {}).values():
        yield from fields(values, definitions, path + "{}")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from fields(schema["additionalProperties"], definitions, path + "{}")
    if "items" in schema:
        yield from fields(schema["items"], definitions, path + "[]")


def ours() -> set[tuple[str, str]]:
    schema = VirtualServiceSpec.model_json_schema()
    return set(fields(schema, schema["$defs"]))


def unknown_to_istio(allowed: set[tuple[str, str]], theirs: Schema) -> set[tuple[str, str]]:
    return allowed - {(path, part["type"]) for path, part in walk(theirs) if "type" in part}


def test_the_fields_we_may_write_are_these() -> None:
    assert ours() == {
        ("", "object"),
        (".hosts", "array"),
        (".hosts[]", "string"),
        (".http", "array"),
        (".http[]", "object"),
        (".http[].name", "string"),
        (".http[].match", "array"),
        (".http[].match[]", "object"),
        (".http[].match[].port", "integer"),
        (".http[].match[].sourceNamespace", "string"),
        (".http[].match[].headers", "object"),
        (".http[].match[].headers{}", "object"),
        (".http[].match[].headers{}.exact", "string"),
        (".http[].match[].headers{}.prefix", "string"),
        (".http[].match[].headers{}.regex", "string"),
        (".exportTo", "array"),
        (".exportTo[]", "string"),
        (".http[].timeout", "string"),
        (".http[].retries", "object"),
        (".http[].retries.attempts", "integer"),
        (".http[].retries.perTryTimeout", "string"),
        (".http[].retries.retryOn", "string"),
        (".http[].headers", "object"),
        (".http[].headers.response", "object"),
        (".http[].headers.response.set", "object"),
        (".http[].headers.response.set{}", "string"),
        (".http[].directResponse", "object"),
        (".http[].directResponse.status", "integer"),
        (".http[].directResponse.body", "object"),
        (".http[].directResponse.body.string", "string"),
        (".http[].route", "array"),
        (".http[].route[]", "object"),
        (".http[].route[].destination", "object"),
        (".http[].route[].destination.host", "string"),
        (".http[].route[].destination.port", "object"),
        (".http[].route[].destination.port.number", "integer"),
    }


def test_istio_serves_the_version_that_is_written(istio_crds: Path) -> None:
    assert "v1" in istio_versions(istio_crds)


def test_istio_knows_every_field_we_may_write(istio_crds: Path) -> None:
    assert unknown_to_istio(ours(), istio_versions(istio_crds)["v1"]) == set()


def test_a_field_that_istio_does_not_know_would_be_found(istio_crds: Path) -> None:
    mistakes = {(".http[].rout", "array"), (".http[].name", "integer")}
    assert unknown_to_istio(ours() | mistakes, istio_versions(istio_crds)["v1"]) == mistakes


def test_istio_would_let_an_unknown_field_pass(istio_crds: Path) -> None:
    """The reason for a model of our own."""
    rule = istio_versions(istio_crds)["v1"]["properties"]["http"]["items"]
    assert rule.get("additionalProperties") is not False


def templates() -> set[tuple[str, str]]:
    return set(fields(SPEC, {}))


def test_istio_knows_every_field_that_a_template_may_write(istio_crds: Path) -> None:
    assert len(templates()) > 100
    assert unknown_to_istio(templates(), istio_versions(istio_crds)["v1"]) == set()


def test_what_the_operator_writes_by_itself_a_template_may_write_too() -> None:
    assert ours() - templates() == set()


def test_istios_schema_made_strict_takes_what_templates_make(istio_crds: Path) -> None:
    validator = judge.make_validator(strict(istio_versions(istio_crds)["v1"]))
    written = [
        document
        for path in sorted((ROOT / "tests/golden").glob("*/virtualservices.yaml"))
        for document in yaml.safe_load_all(path.read_text())
        if document and document["kind"] == "VirtualService"
    ]
    assert written
    assert [judge.problems(validator, document["spec"], "spec") for document in written] == [[]] * len(written)


def test_istios_schema_made_strict_finds_a_typing_error(istio_crds: Path) -> None:
    validator = judge.make_validator(strict(istio_versions(istio_crds)["v1"]))
    spec = {"hosts": ["a"], "http": [{"rout": []}]}
    ((path, text),) = judge.problems(validator, spec, "spec")
    assert (path, text) == ("spec.http[0].rout", "there is no such field; did you mean route?")
