"""The shipped roles: enough, and nothing more."""

import subprocess
from pathlib import Path

import pytest
import yaml

from cluster.conftest import USER
from cluster.replicas import LEASE
from cluster.world import World, eventually, get, shop_with_alice
from controlplane.audit import read_events
from controlplane.server import ControlPlane

ROLES = Path(__file__).resolve().parents[2] / "kustomize/base/roles.yaml"


def can(plane: ControlPlane, verb: str, resource: str) -> bool:
    """Ask the API server whether the operator's account may do something anywhere."""
    done: subprocess.CompletedProcess[str] = plane.kubectl(
        "auth", "can-i", verb, resource, f"--as={USER}", "-n", "default", check=False
    )
    return done.stdout.strip() == "yes"


@pytest.mark.parametrize(
    ("verb", "resource"),
    [
        ("get", "secrets"),
        ("list", "pods"),
        ("create", "pods"),
        ("get", "configmaps"),
        ("create", "services"),
        ("patch", "services"),
        ("delete", "services"),
        ("patch", "namespaces"),
        ("create", "clusterroles.rbac.authorization.k8s.io"),
        ("bind", "clusterroles.rbac.authorization.k8s.io"),
        ("escalate", "clusterroles.rbac.authorization.k8s.io"),
        ("impersonate", "users"),
        ("patch", "routingpolicies.virtualservice-operator.dev"),
        ("delete", "routingpolicies.virtualservice-operator.dev"),
        ("deletecollection", "virtualservices.networking.istio.io"),
        ("create", "gateways.networking.istio.io"),
        ("create", "serviceaccounts/token"),
        ("list", "leases.coordination.k8s.io"),
        ("delete", "leases.coordination.k8s.io"),
        ("update", "leases.coordination.k8s.io"),
    ],
)
def test_the_operator_may_not(control_plane: ControlPlane, verb: str, resource: str) -> None:
    assert not can(control_plane, verb, resource)


def test_the_role_names_every_verb_by_itself() -> None:
    documents = [item for item in yaml.safe_load_all(ROLES.read_text()) if item["kind"] == "ClusterRole"]
    rules = [rule for item in documents for rule in item["rules"]]
    assert rules
    for rule in rules:
        assert "*" not in (*rule["apiGroups"], *rule["resources"], *rule["verbs"])


@pytest.mark.parametrize(("role", "edits"), [("view", False), ("edit", False), ("routingpolicies-edit", True)])
def test_who_may_edit_policies_was_bound_on_purpose(control_plane: ControlPlane, role: str, *, edits: bool) -> None:
    namespace = f"rbac-{role}"
    control_plane.kubectl("create", "namespace", namespace)
    control_plane.kubectl("create", "rolebinding", "r", f"--clusterrole={role}", "--user=carol", "-n", namespace)

    def carol_can(verb: str) -> bool:
        asked = ("auth", "can-i", verb, "routingpolicies.virtualservice-operator.dev", "--as=carol", "-n", namespace)
        return control_plane.kubectl(*asked, check=False).stdout.strip() == "yes"

    assert carol_can("create") is edits
    if role == "view":
        eventually("aggregated", lambda: carol_can("list"))


def test_every_right_is_used_and_no_other_is_asked_for(world: World) -> None:
    """By the audit log. `create` of VirtualServices does not show there: an apply that creates is audited as patch."""
    shop_with_alice(world, "reviews", "ratings")
    world.policy("templated", "shop", priority=-1, developers=[], template={"virtualService": '{% extends "base" %}'})
    world.wait_ready("templated", "shop")
    released = {"metadata": {"annotations": {"virtualservice-operator.dev/managed": "false"}}}
    world.edit_virtual_service("ratings", "shop", released)
    world.delete_service("reviews", "shop")
    world.plane.request("DELETE", LEASE)
    eventually("the Lease is made again", lambda: get(world.plane, LEASE))
    eventually("withdrawn", lambda: world.written("reviews", "shop") is None)
    eventually("released", lambda: world.entry("defaults", "shop", "ratings").get("reason") == "HostTaken")
    events = list(read_events(world.plane.audit_log, user=USER))
    used = {
        (event.api_group, event.resource + (f"/{event.subresource}" if event.subresource else ""), event.verb)
        for event in events
    }
    granted = {
        (group, resource, verb)
        for item in yaml.safe_load_all(ROLES.read_text())
        if item["kind"] in ("ClusterRole", "Role") and item["metadata"]["name"].startswith("virtualservice-operator")
        for rule in item["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert granted - used == {("networking.istio.io", "virtualservices", "create")}
    # Other tests take rights away, and delete namespaces, on the same API server.
    assert [event for event in events if event.code == 403 and world.holds(event.namespace)] == []
