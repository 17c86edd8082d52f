"""Every sample on a real API server. Nothing is stored: all requests are dry runs."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from contract.samples import INVALID, QUICKSTART, REFUSED, ROOT, TEMPLATES, VALID, Invalid, documents
from contract.test_crd import PARTS
from controlplane.errors import ApiError
from controlplane.server import ControlPlane
from virtualservice_operator.api.v1alpha1 import RoutingPolicySpec

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


DURATIONS = [
    *(
        "1ms",
        "0.001s",
        "0.0009s",
        "0.4ms0.6ms",
        "0s",
        "0h0ms",
        "1.s",
        ".5s",
        "1ns",
        "-1s",
        "1d",
        "1S",
        "1s\n",
        "\uff11s",
        "1m1",
    ),
    *("99999h", "0" * 26 + "99999h", "99999h1ms", "99999.001h", "99998h60m", "5999940m", "5999941m", "359996400s"),
    *(
        "359996400000ms",
        "100000h",
        "2562047h",
        "2562048h",
        "9" * 31 + "h",
        "9" * 30 + "ms",
        "9h" * 16,
        "9h" * 16 + "1s",
    ),
]
HEADERS = [
    "x-dev",
    "X-Dev",
    "HOST",
    "host",
    "x dev",
    "x-\u00e9",
    "X-\u00c9",
    "x-dev\n",
    "x" * 128,
    "x" * 129,
    "!#$%&'*+.^_|~-",
]
VALUES = [
    *(
        "{{DeveloperName}}",
        "a{{   DeveloperNamespace }}b",
        "{{\tDeveloperName}}",
        "{{ DeveloperName }",
        "{{ developername }}",
    ),
    *("\u00e9" * 1006 + "{{ DeveloperName }}", "\u00e9" * 1005 + "{{ DeveloperName }}", "a\n{{ DeveloperName }}", ""),
]
NAMES = [
    "a",
    "A",
    "a.b",
    "a_b",
    "a-",
    "-a",
    "a\n",
    "\u00e9",
    "\u00e9" * 63,
    "a" * 63,
    "a" * 64,
    "a" * 62 + "-",
    "",
    "*",
    ".",
]
RETRY_ON = ["5xx", "5xx,", ",5xx", "503,5xx", "5xx, 503", "306", "5XX", "503\n", ""]
POLICIES = "/apis/virtualservice-operator.dev/v1alpha1/namespaces/shop/routingpolicies?dryRun=All"
INVALID_OBJECT = 422
REJECT = {"reject": {"status": 404}}
ODD: dict[str, list[Any]] = {
    "timeout": [{"defaultRoute": {"timeout": text}} for text in DURATIONS],
    "perTryTimeout": [
        {"developerRoute": {"retries": {"attempts": 1, "perTryTimeout": text}}}
        for text in ("0.5ms", "1ms", "9" * 31 + "h")
    ],
    "retryOn": [{"defaultRoute": {"retries": {"attempts": 1, "retryOn": text}}} for text in RETRY_ON],
    "attempts": [
        {"defaultRoute": {"retries": {"attempts": 0, **more}}}
        for more in ({}, {"retryOn": "5xx"}, {"perTryTimeout": "1s"})
    ],
    "priority": [{"priority": number} for number in (5, "5", True, 5.0, 5.5, 1000, 1001, -1000, -1001)],
    "header": [{"matches": [{"type": "Header", "name": name}]} for name in HEADERS],
    "cookie": [{"matches": [{"type": "Cookie", "name": name}]} for name in HEADERS],
    "value": [{"matches": [{"type": "Header", "name": "x", "value": value}]} for value in VALUES],
    "match": [
        {"matches": [match]}
        for match in (
            {"type": "Header"},
            {"type": "SourceNamespace"},
            {"type": "SourceNamespace", "name": "x"},
            {"type": "Baggage", "name": "x", "matchType": "Exact"},
        )
    ],
    "routedToHeader": [{"routedToHeader": name} for name in HEADERS],
    "developer": [{"developers": [{"name": name}]} for name in NAMES],
    "namespace": [{"developers": [{"name": "a", "namespaces": [name]}]} for name in NAMES],
    "nameLabel": [{"developersFrom": {"nameLabel": name}} for name in (*NAMES, "a/b", "a/b/c", "A/b", "a//b")],
    "externalName": [
        {"placeholder": {"mode": "ExternalName", "externalName": name}} for name in (*NAMES, "a..b", "a.B")
    ],
    "exportTo": [{"exportTo": names} for names in (["*"], ["*", "."], [".", "."], [], *([name] for name in NAMES))],
    "services": [{"services": {"names": names}} for names in ([], ["a"], ["a", "a"])],
    "excludedNames": [{"services": {"excludedNames": names}} for names in ([], ["a"], ["a", "a"])],
    "selector": [
        {"services": {"selector": {"matchExpressions": [{"key": "a", "operator": operator, "values": values}]}}}
        for operator in ("In", "Exists")
        for values in ([], ["b"], [""], ["b c"])
    ],
    "selector without values": [
        {"services": {"selector": {"matchExpressions": [{"key": "a", "operator": operator}]}}}
        for operator in ("In", "Exists")
    ],
    "copies": [
        {"copies": copies}
        for copies in ({}, REJECT, {"unknownDeveloper": "Reject", **REJECT}, {"whenMissing": "UseDefault", **REJECT})
    ],
    "placeholder": [
        {"placeholder": {"mode": mode, **more}, "copies": {"whenMissing": missing}}
        for mode in ("Disabled", "ExternalName", "NoEndpoints", "Alias")
        for more in ({}, {"createFor": "AllServices"}, {"createFor": "DeletedCopies", "ttlSeconds": 60})
        for missing in ("Reject", "UseDefault")
    ],
    "template": [
        {"template": {**texts, **per}}
        for texts in (
            {},
            {"virtualService": "a"},
            {"developerRoutes": "a"},
            {"virtualService": "a", "developerRoutes": "a"},
        )
        for per in ({}, {"renderPer": "Service"}, {"renderPer": "Developer"})
    ],
    "includes": [
        {"template": {"virtualService": "a", "includes": [{"name": name, "content": "a"}]}}
        for name in ("base", "Base", "bas")
    ],
}


@pytest.mark.parametrize("specs", ODD.values(), ids=ODD)
def test_a_policy_is_read_without_the_api_server_exactly_as_strictly_as_by_it(
    plane: ControlPlane, specs: list[Any]
) -> None:
    assert [(spec, is_read(spec)) for spec in specs] == [(spec, is_taken(plane, spec)) for spec in specs]


def is_taken(plane: ControlPlane, spec: Any) -> bool:
    """Tell whether the API server takes a spec; where CEL fails on it, nobody is told what to do."""
    head = {"apiVersion": "virtualservice-operator.dev/v1alpha1", "kind": "RoutingPolicy"}
    policy = {**head, "metadata": {"name": "odd", "namespace": "shop"}, "spec": spec}
    try:
        plane.request("POST", POLICIES, policy)
    except ApiError as error:
        if error.status != INVALID_OBJECT or "evaluating rule" in error.body:
            raise
        return False
    return True


def is_read(spec: Any) -> bool:
    try:
        RoutingPolicySpec.model_validate(spec)
    except ValidationError:
        return False
    return True
