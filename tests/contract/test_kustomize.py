"""What is installed: the facts of kustomize/base that a reviewer would check by hand."""

import tomllib
from typing import Any

import yaml

from contract.samples import ROOT

BASE = ROOT / "kustomize/base"
DEPLOYMENT = yaml.safe_load((BASE / "deployment.yaml").read_text())
(CONTAINER,) = DEPLOYMENT["spec"]["template"]["spec"]["containers"]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def documents_of_base() -> list[dict[str, Any]]:
    files = yaml.safe_load((BASE / "kustomization.yaml").read_text())["resources"]
    return [document for file in files for document in yaml.safe_load_all((BASE / file).read_text())]


def test_every_file_of_the_base_is_listed() -> None:
    listed = yaml.safe_load((BASE / "kustomization.yaml").read_text())["resources"]
    assert sorted(listed) == sorted(path.name for path in BASE.iterdir() if path.name != "kustomization.yaml")


def test_the_image_has_the_tag_of_this_version_in_the_base_and_in_the_readme() -> None:
    image = f"virtualservice-operator:{VERSION}"
    assert CONTAINER["image"] == image
    assert f"kind load docker-image {image}" in (ROOT / "README.md").read_text()


def test_the_container_has_the_requests_and_limits_of_the_design() -> None:
    assert CONTAINER["resources"] == {
        "requests": {"cpu": "100m", "memory": "128Mi"},
        "limits": {"cpu": "1000m", "memory": "1Gi"},
    }


def test_the_pod_is_nobodys_and_can_change_nothing() -> None:
    pod = DEPLOYMENT["spec"]["template"]["spec"]["securityContext"]
    assert (pod["runAsNonRoot"], pod["runAsUser"], pod["seccompProfile"]) == (True, 65532, {"type": "RuntimeDefault"})
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_there_is_never_more_than_one_operator() -> None:
    assert DEPLOYMENT["spec"]["replicas"] == 1
    assert DEPLOYMENT["spec"]["strategy"] == {"type": "Recreate"}


def test_service_and_network_policy_select_the_pods() -> None:
    labels = {"app.kubernetes.io/name": "virtualservice-operator"}
    assert DEPLOYMENT["spec"]["template"]["metadata"]["labels"] == labels
    by_kind = {document["kind"]: document for document in documents_of_base()}
    assert by_kind["Service"]["spec"]["selector"] == labels
    assert by_kind["NetworkPolicy"]["spec"]["podSelector"] == {"matchLabels": labels}
