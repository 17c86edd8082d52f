"""Golden cases on a real API server, S0 to S4 of the contract among them, with the names as they stand there."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.conftest import ACCOUNT, FLAGS, PLACEHOLDER_RIGHTS
from cluster.world import Json, eventually
from controlplane.errors import ApiError
from controlplane.server import ControlPlane
from operator_process import OperatorProcess

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests/golden"
# Cases that begin without VirtualServices, in namespaces that can be made and deleted again.
CASES = (
    *("s0-smallest", "s1-parity", "s2-sandboxes", "s3-two-policies"),
    *("odd-names", "several-ports", "eleven-developers", "prefix-and-regex-order", "unknown-developers-rejected"),
)
PATHS = {
    "Namespace": "/api/v1/namespaces",
    "Service": "/api/v1/namespaces/{}/services",
    "RoutingPolicy": "/apis/virtualservice-operator.dev/v1alpha1/namespaces/{}/routingpolicies",
    "VirtualService": "/apis/networking.istio.io/v1/namespaces/{}/virtualservices",
}
VERSIONS = {"RoutingPolicy": "virtualservice-operator.dev/v1alpha1"}
# The API server of the tests has one family of addresses, and gives them out itself.
ADDRESSES = {"clusterIPs", "ipFamilies", "ipFamilyPolicy"}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory, istio_crds: Path) -> Iterator[ControlPlane]:
    directory = tmp_path_factory.mktemp("golden")
    with ControlPlane.start(directory / "plane", crds=[istio_crds, ROOT / "crds"]) as found:
        found.kubectl("apply", "-k", str(ROOT / "kustomize/base"))
        found.kubectl("apply", "-f", PLACEHOLDER_RIGHTS)
        kubeconfig = found.kubeconfig_for_service_account(*ACCOUNT)
        with OperatorProcess(kubeconfig, directory / "operator", *FLAGS):
            yield found


def documents(case: str, file: str) -> list[Json]:
    return [item for item in yaml.safe_load_all((GOLDEN / case / file).read_text()) if item is not None]


def collection(document: Json) -> str:
    return PATHS[document["kind"]].format(document["metadata"].get("namespace", ""))


def create(plane: ControlPlane, document: Json) -> None:
    spec = {key: value for key, value in document.get("spec", {}).items() if key not in ADDRESSES}
    if spec.get("clusterIP", "None") != "None":
        del spec["clusterIP"]
    sent = {**document, "apiVersion": VERSIONS.get(document["kind"], "v1"), "spec": spec}
    plane.request("POST", collection(document), sent)


def delete(plane: ControlPlane, document: Json) -> None:
    plane.request("DELETE", f"{collection(document)}/{document['metadata']['name']}")


def stored(plane: ControlPlane, document: Json) -> Json | None:
    try:
        found: Json = plane.request("GET", f"{collection(document)}/{document['metadata']['name']}")
    except ApiError as error:
        if error.status != 404:
            raise
        return None
    return found


def shown(document: Json | None) -> Json | None:
    """Return what a case says of an object: all but what only a real API server can give."""
    if document is None:
        return None
    metadata = document["metadata"]
    owners = [(owner["name"], owner["controller"]) for owner in metadata.get("ownerReferences", ())]
    kept = {key: metadata.get(key) for key in ("name", "namespace", "labels", "annotations")}
    return {"metadata": kept, "owners": owners, "spec": document["spec"]}


@pytest.fixture
def given(plane: ControlPlane, request: pytest.FixtureRequest) -> Iterator[str]:
    """Make what a case begins with, and take it away afterwards."""
    case = str(request.param)
    made = documents(case, "cluster.yaml")
    order = list(PATHS)
    for document in sorted(made, key=lambda item: order.index(item["kind"])):
        if document["kind"] != "VirtualService":
            create(plane, document)
    yield case
    for document in sorted(made, key=lambda item: -order.index(item["kind"])):
        if document["kind"] == "RoutingPolicy":
            delete(plane, document)
    namespaces = [item for item in made if item["kind"] == "Namespace"]
    for document in namespaces:
        delete(plane, document)
    eventually("no namespace is left", lambda: not [item for item in namespaces if stored(plane, item)], seconds=60)


@pytest.mark.parametrize("given", CASES, indirect=True)
def test_a_case_comes_out_the_same(plane: ControlPlane, given: str) -> None:
    for expected in documents(given, "virtualservices.yaml"):
        wanted = shown(expected)
        eventually(f"{expected['metadata']['name']}: {wanted}", _is_stored(plane, expected, wanted))


@pytest.mark.parametrize("given", ["s4-placeholder", "s4-alias"], indirect=True)
def test_s4_comes_out_the_same(plane: ControlPlane, given: str) -> None:
    """alice had a copy, which was routed and is deleted: the cases begin with the VirtualService that was made then."""
    copy = {
        "kind": "Service",
        "metadata": {"name": "reviews", "namespace": "alice"},
        "spec": {"ports": [{"name": "http", "port": 80}]},
    }
    if given == "s4-placeholder":
        create(plane, copy)
        routed = next(item for item in documents(given, "cluster.yaml") if item["kind"] == "VirtualService")
        eventually("routed", _is_stored(plane, routed, shown(routed)))
        delete(plane, copy)
    for expected in documents(given, "virtualservices.yaml"):
        eventually(f"{expected['metadata']['name']}", _is_stored(plane, expected, shown(expected)))


def _is_stored(plane: ControlPlane, expected: Json, wanted: Json | None) -> Any:
    def found() -> bool:
        answer = shown(stored(plane, expected))
        if answer is not None and expected["kind"] == "Service":
            answer["spec"] = {key: answer["spec"].get(key) for key in expected["spec"]}
        return answer == wanted

    return found
