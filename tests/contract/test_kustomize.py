"""What is installed: the facts of kustomize/base that a reviewer would check by hand."""

import tomllib
from typing import Any

import yaml

from contract.samples import ROOT
from virtualservice_operator.api.names import FENCE

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


def test_an_update_starts_the_new_pod_before_the_old_one_lets_go_of_the_lease() -> None:
    assert DEPLOYMENT["spec"]["replicas"] == 1
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    assert DEPLOYMENT["spec"]["strategy"] == rolling


def test_a_pod_has_its_name_to_lead_under_and_time_to_finish() -> None:
    names = {item["name"]: item.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath") for item in CONTAINER["env"]}
    assert names == {"POD_NAMESPACE": "metadata.namespace", "POD_NAME": "metadata.name"}
    assert DEPLOYMENT["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > 5


def test_the_base_has_an_empty_lease_and_a_role_for_it_alone() -> None:
    (lease,) = [item for item in documents_of_base() if item["kind"] == "Lease"]
    assert "spec" not in lease
    (role,) = [item for item in documents_of_base() if item["kind"] == "Role"]
    named = [rule for rule in role["rules"] if rule["verbs"] != ["create"]]
    assert [rule["resourceNames"] for rule in named] == [[lease["metadata"]["name"]]]
    assert role["metadata"]["namespace"] == lease["metadata"]["namespace"]


def test_the_ha_overlay_runs_three_replicas_that_leave_one_by_one() -> None:
    overlay = ROOT / "kustomize/overlays/ha"
    spec = yaml.safe_load((overlay / "deployment.yaml").read_text())["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    assert spec["replicas"] == 3
    assert {"name": "LEADER_ELECTION_ENABLED", "value": "true"} in container["env"]
    assert {"name": "LEADER_ELECTION_ID", "value": "virtualservice-operator-leader"} in container["env"]
    assert container["resources"] == {
        "requests": {"cpu": "100m", "memory": "128Mi"},
        "limits": {"cpu": "1000m", "memory": "1Gi"},
    }
    (spread,) = spec["template"]["spec"]["topologySpreadConstraints"]
    assert (spread["topologyKey"], spread["maxSkew"]) == ("kubernetes.io/hostname", 1)
    budget = yaml.safe_load((overlay / "disruption-budget.yaml").read_text())["spec"]
    assert budget == {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": DEPLOYMENT["spec"]["selector"],
    }


def test_the_fence_knows_the_account_the_lease_and_itself_by_their_names() -> None:
    policy, binding = yaml.safe_load_all((ROOT / "kustomize/components/fence/policy.yaml").read_text())
    by_kind = {document["kind"]: document["metadata"] for document in documents_of_base()}
    account = "system:serviceaccount:{namespace}:{name}".format_map(by_kind["ServiceAccount"])
    assert policy["spec"]["matchConditions"][0]["expression"] == f'request.userInfo.username == "{account}"'
    assert {key: binding["spec"]["paramRef"][key] for key in ("name", "namespace")} == {
        key: by_kind["Lease"][key] for key in ("name", "namespace")
    }
    assert policy["metadata"]["name"] == binding["spec"]["policyName"] == FENCE


def test_service_and_network_policy_select_the_pods() -> None:
    labels = {"app.kubernetes.io/name": "virtualservice-operator"}
    assert DEPLOYMENT["spec"]["template"]["metadata"]["labels"] == labels
    by_kind = {document["kind"]: document for document in documents_of_base()}
    assert by_kind["Service"]["spec"]["selector"] == labels
    assert by_kind["NetworkPolicy"]["spec"]["podSelector"] == {"matchLabels": labels}
