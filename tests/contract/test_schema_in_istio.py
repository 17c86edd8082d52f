"""What we write is inside what Istio's CRD knows: every field of our output schema exists there, with the same type."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from contract.test_crd import walk
from virtualservice_operator.core.check import VIRTUAL_SERVICE_SPEC

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


def missing(ours: Schema, theirs: Schema) -> Iterator[str]:
    """Yield the paths of ours that theirs does not have, or has with another type."""
    known = {path: part.get("type") for path, part in walk(theirs)}
    for path, part in walk(ours):
        if path not in known:
            yield f"{path}: unknown to Istio"
        elif part["type"] != known[path]:
            yield f"{path}: {part['type']}, but {known[path]} to Istio"


def test_istio_serves_the_version_that_is_written(istio_crds: Path) -> None:
    assert "v1" in istio_versions(istio_crds)


def test_every_field_we_may_write_is_known_to_istio(istio_crds: Path) -> None:
    assert list(missing(VIRTUAL_SERVICE_SPEC, istio_versions(istio_crds)["v1"])) == []


def test_a_field_unknown_to_istio_would_be_found(istio_crds: Path) -> None:
    ours = {"type": "object", "properties": {"http": {"type": "array", "items": {"type": "string"}}}}
    assert list(missing(ours, istio_versions(istio_crds)["v1"])) == [".http[]: string, but object to Istio"]


def test_istio_would_let_an_unknown_field_pass(istio_crds: Path) -> None:
    """The reason for a schema of our own."""
    rules = istio_versions(istio_crds)["v1"]["properties"]["http"]["items"]
    assert rules.get("additionalProperties") is not False
