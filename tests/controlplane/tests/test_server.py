"""The control plane is a real one, and it is ours alone."""

import os
import time
from pathlib import Path

import pytest
import yaml

from controlplane.audit import read_events
from controlplane.errors import ApiError, ControlPlaneError, KubectlError
from controlplane.metrics import count_requests
from controlplane.server import ControlPlane
from controlplane.waiting import wait_for

pytestmark = pytest.mark.controlplane


def config_map(name: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}


def test_it_reports_the_version_that_is_pinned(plane: ControlPlane) -> None:
    pins = (Path(__file__).parents[2] / "tools/go.mod").read_text()
    assert f"k8s.io/kubernetes {plane.request('GET', '/version')['gitVersion']} " in pins


def test_rbac_denies_alice_what_nobody_allowed(plane: ControlPlane) -> None:
    with pytest.raises(KubectlError) as caught:
        plane.kubectl("get", "secrets", "--all-namespaces", kubeconfig=plane.kubeconfig_for_user("alice"))
    assert 'User "alice" cannot list resource "secrets"' in caught.value.stderr


def test_rbac_allows_a_group_what_it_was_given(plane: ControlPlane, namespace: str) -> None:
    plane.kubectl("create", "rolebinding", "them", "--clusterrole=view", "--group=developers", "-n", namespace)
    question = ("auth", "can-i", "list", "configmaps", "-n", namespace)
    bob = plane.kubeconfig_for_user("bob")
    wait_for(lambda: plane.kubectl(*question, kubeconfig=bob, check=False).returncode == 0, what="RBAC to know of it")


def test_a_service_account_is_who_it_says(plane: ControlPlane, namespace: str) -> None:
    plane.kubectl("create", "serviceaccount", "robot", "-n", namespace)
    kubeconfig = plane.kubeconfig_for_service_account(namespace, "robot")
    answer = plane.kubectl("auth", "whoami", "--output=json", kubeconfig=kubeconfig)
    assert yaml.safe_load(answer.stdout)["status"]["userInfo"]["username"] == f"system:serviceaccount:{namespace}:robot"


def test_asking_again_for_a_service_account_rotates_its_token(plane: ControlPlane, namespace: str) -> None:
    plane.kubectl("create", "serviceaccount", "robot", "-n", namespace)
    kubeconfig = plane.kubeconfig_for_service_account(namespace, "robot")
    token = Path(yaml.safe_load(kubeconfig.read_text())["users"][0]["user"]["tokenFile"])
    before = token.read_text()
    assert plane.kubeconfig_for_service_account(namespace, "robot") == kubeconfig
    assert token.read_text() != before


def test_a_deleted_namespace_goes_with_all_that_is_in_it(plane: ControlPlane, namespace: str) -> None:
    plane.kubectl("create", "configmap", "inside", "-n", namespace)
    plane.kubectl("delete", "namespace", namespace, "--wait", "--timeout=60s")
    assert plane.fetch("GET", f"/api/v1/namespaces/{namespace}").status == 404


def test_what_an_owner_owned_is_collected(plane: ControlPlane, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    owner = plane.request("POST", path, config_map("owner"))["metadata"]
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["uid"]}
    owned = {"metadata": {"name": "owned", "ownerReferences": [reference]}}
    plane.request("POST", path, {**config_map("owned"), **owned})
    plane.request("DELETE", f"{path}/owner")
    wait_for(lambda: plane.fetch("GET", f"{path}/owned").status == 404, what="the owned ConfigMap to go")


def test_a_write_is_in_the_audit_log_when_its_call_has_returned(plane: ControlPlane, namespace: str) -> None:
    plane.request("POST", f"/api/v1/namespaces/{namespace}/configmaps", config_map("noted"))
    (event,) = (event for event in read_events(plane.audit_log, user="ci-admin") if event.name == "noted")
    assert (event.verb, event.namespace, event.resource) == ("create", namespace, "configmaps")
    assert (event.api_group, event.subresource, event.code, event.stage) == ("", "", 201, "ResponseComplete")
    assert event.timestamp.timestamp() == pytest.approx(time.time(), abs=30)


def test_a_watch_is_in_the_audit_log_once(plane: ControlPlane, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps?watch=1&timeoutSeconds=1"
    plane.fetch("GET", path)
    (event,) = (event for event in read_events(plane.audit_log) if event.request_uri == path)
    assert (event.verb, event.stage, event.code) == ("watch", "ResponseStarted", 200)


def test_the_audit_log_leaves_out_the_control_plane_itself(plane: ControlPlane) -> None:
    users = {event.user for event in read_events(plane.audit_log)}
    assert users.isdisjoint({"system:apiserver", "system:kube-controller-manager"})


def test_the_metrics_count_each_request(plane: ControlPlane, namespace: str) -> None:
    before = count_requests(plane.metrics(), verb="POST", resource="configmaps", group="", code=201)
    plane.request("POST", f"/api/v1/namespaces/{namespace}/configmaps", config_map("one"))
    plane.request("POST", f"/api/v1/namespaces/{namespace}/configmaps", config_map("two"))
    assert count_requests(plane.metrics(), verb="POST", resource="configmaps", group="", code=201) == before + 2


def test_an_error_of_the_api_server_carries_its_status(plane: ControlPlane) -> None:
    with pytest.raises(ApiError, match="not found") as caught:
        plane.request("GET", "/api/v1/namespaces/nowhere")
    assert caught.value.status == 404


def test_kubectl_ignores_the_cluster_that_the_user_points_at(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "KUBECONFIG", "/somebody/elses/cluster")
    assert "default" in plane.kubectl("get", "namespaces").stdout


def test_kubectl_is_not_run_without_a_kubeconfig(plane: ControlPlane, tmp_path: Path) -> None:
    with pytest.raises(ControlPlaneError, match="might ask a real cluster"):
        plane.kubectl("get", "namespaces", kubeconfig=tmp_path / "missing.yaml")


@pytest.mark.parametrize("option", ["--server=https://real.example", "--kubeconfig", "--context=prod", "-s"])
def test_kubectl_is_not_sent_to_another_server(plane: ControlPlane, option: str) -> None:
    with pytest.raises(ControlPlaneError, match="decides the server"):
        plane.kubectl("get", "namespaces", option)


def test_an_unknown_user_is_refused_with_the_known_ones(plane: ControlPlane) -> None:
    with pytest.raises(ControlPlaneError, match=r"no test identity mallory: take one of ci-admin, .*alice, bob, carol"):
        plane.kubeconfig_for_user("mallory")


def test_a_directory_in_use_is_refused_because_stop_removes_it(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(ControlPlaneError, match="not empty"):
        ControlPlane.start(tmp_path)
    assert (tmp_path / "mine").exists()
