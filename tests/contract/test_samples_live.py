"""Every sample on a real API server. Nothing is stored: all requests are dry runs."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from contract.samples import INVALID, QUICKSTART, REFUSED, ROOT, TEMPLATES, VALID, Invalid, documents
from contract.test_crd import PARTS
from controlplane.server import ControlPlane

pytestmark = pytest.mark.controlplane


def name_of(sample: Invalid | Path) -> str:
    return (sample.path if isinstance(sample, Invalid) else sample).stem


@pytest.fixture(scope="module")
def plane(control_plane: ControlPlane) -> ControlPlane:
    """The API server, with the namespaces that samples are in."""
    files = [*VALID, *TEMPLATES, *(sample.path for sample in INVALID)]
    names = {item["metadata"]["namespace"] for path in files for item in documents(path.read_text())}
    made = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in sorted(names)]
    control_plane.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": made}))
    return control_plane


@pytest.mark.parametrize("path", [*VALID, *TEMPLATES], ids=name_of)
def test_kubectl_apply_takes_a_valid_sample(plane: ControlPlane, path: Path) -> None:
    plane.kubectl("apply", "--dry-run=server", "-f", str(path))


@pytest.mark.parametrize("path", [*VALID, *TEMPLATES], ids=name_of)
def test_server_side_apply_takes_a_valid_sample(plane: ControlPlane, path: Path) -> None:
    plane.kubectl("apply", "--server-side", "--dry-run=server", "-f", str(path))


def test_kubectl_apply_takes_the_policy_of_the_quickstart(plane: ControlPlane) -> None:
    plane.kubectl("apply", "--dry-run=server", "-f", str(QUICKSTART[-1]))


@pytest.mark.parametrize("sample", REFUSED, ids=name_of)
def test_the_api_server_refuses_a_sample_as_it_says(plane: ControlPlane, sample: Invalid) -> None:
    done = plane.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", str(sample.path), check=False)
    assert done.returncode != 0
    assert sample.text in done.stderr


@pytest.mark.parametrize("sample", [sample for sample in INVALID if sample.reason is not None], ids=name_of)
def test_what_only_the_operator_refuses_passes_the_api_server(plane: ControlPlane, sample: Invalid) -> None:
    plane.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", str(sample.path))


def test_a_new_policy_is_pending_before_the_operator_has_seen_it(plane: ControlPlane) -> None:
    path = ROOT / "samples/valid/smallest.yaml"
    policy = json.loads(plane.kubectl("create", "--dry-run=server", "-o", "json", "-f", str(path)).stdout)
    assert policy["spec"] == {"priority": 0, "mode": "Enforce"}
    assert policy["status"] == {
        "conditions": [
            {
                "type": kind,
                "status": "Unknown",
                "reason": "Pending",
                "message": "Waiting for the operator",
                "lastTransitionTime": "1970-01-01T00:00:00Z",
            }
            for kind in ("Ready", "Accepted", "ResolvedRefs", "Programmed")
        ]
    }


@pytest.mark.parametrize(
    "field", ["spec", "spec.matches", "spec.template", "spec.services", "spec.developersFrom", "status"]
)
def test_kubectl_explain_shows_the_text_of_each_field(plane: ControlPlane, field: str) -> None:
    shown = in_one_line(plane.kubectl("explain", f"rpol.{field}").stdout)
    fields = properties_of(field)
    assert fields
    assert {name: text for name, text in fields.items() if f"{name} <" not in shown or text not in shown} == {}


def properties_of(field: str) -> dict[str, str]:
    part: dict[str, Any] = dict(PARTS)[f".{field}"]
    properties = part.get("items", part)["properties"]
    return {name: in_one_line(schema["description"]) for name, schema in properties.items()}


def in_one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text)
