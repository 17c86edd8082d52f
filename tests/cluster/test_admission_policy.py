"""With kustomize/components/admission-policy the API server itself holds the operator to its marks."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.conftest import ACCOUNT, FLAGS, PLACEHOLDER_RIGHTS
from cluster.test_placeholders import deployed, is_a_copy, placeholder, shop_with_placeholders
from cluster.world import Json, World, eventually
from controlplane.server import ControlPlane
from operator_process import OperatorProcess

ROOT = Path(__file__).resolve().parents[2]
POLICY = ROOT / "kustomize/components/admission-policy/policy.yaml"
ADOPT = {"virtualservice-operator.dev/adopt": "true"}


@pytest.fixture(scope="module")
def held_plane(tmp_path_factory: pytest.TempPathFactory, istio_crds: Path) -> Iterator[ControlPlane]:
    directory = tmp_path_factory.mktemp("held") / "plane"
    with ControlPlane.start(directory, crds=[istio_crds, ROOT / "crds"]) as plane:
        plane.kubectl("apply", "-k", str(ROOT / "kustomize/base"))
        plane.kubectl("apply", "-f", PLACEHOLDER_RIGHTS)
        plane.kubectl("apply", "-f", str(POLICY))
        yield plane


@pytest.fixture(scope="module")
def identity(held_plane: ControlPlane) -> Path:
    return held_plane.kubeconfig_for_service_account(*ACCOUNT)


@pytest.fixture(scope="module")
def world(held_plane: ControlPlane, identity: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with OperatorProcess(identity, tmp_path_factory.mktemp("operator"), *FLAGS) as operator:
        yield World.new(held_plane)
        assert "is refused" not in operator.log.read_text(), operator.log.read_text()


def test_everything_the_operator_does_is_admitted(world: World) -> None:
    shop_with_placeholders(world, "reviews", "ratings", mode="ExternalName")
    world.delete_service("reviews", "alice")
    eventually("a placeholder", lambda: placeholder(world))
    world.plane.kubectl("apply", "-f", "-", input=json.dumps(deployed(world)))
    eventually("let go of", lambda: is_a_copy(world))
    world.edit_virtual_service("ratings", "shop", {"spec": {"exportTo": ["."]}})
    eventually("repaired", lambda: "exportTo" not in (world.written("ratings", "shop") or {"spec": {}})["spec"])
    world.edit_virtual_service("ratings", "shop", {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}})
    eventually("taken over", lambda: world.entry("defaults", "shop", "ratings").get("reason") == "NameConflict")
    world.edit_virtual_service("ratings", "shop", {"metadata": {"annotations": ADOPT}})
    eventually("adopted", lambda: world.entry("defaults", "shop", "ratings").get("reason") == "Programmed")
    world.delete_service("ratings", "shop")
    eventually("deleted", lambda: world.written("ratings", "shop") is None)


@pytest.mark.parametrize("kind", ["virtualservices", "services"])
def test_the_operators_account_may_not_touch_what_is_not_its_own(
    world: World, held_plane: ControlPlane, identity: Path, kind: str
) -> None:
    namespace = f"theirs-{kind}"
    held_plane.request("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
    document = _theirs(kind, namespace)
    held_plane.kubectl("apply", "-f", "-", input=json.dumps(document))

    def refused(*arguments: str) -> bool:
        done = held_plane.kubectl(*arguments, "-n", namespace, kubeconfig=identity, check=False)
        return done.returncode != 0 and "the operator may write only what bears its label" in done.stderr

    eventually("the API server knows its policy", lambda: refused("delete", kind, "theirs"))
    assert refused("patch", kind, "theirs", "--type=merge", "-p", '{"metadata": {"labels": {"a": "b"}}}')
    label = '{"metadata": {"labels": {"app.kubernetes.io/managed-by": "virtualservice-operator"}}}'
    assert refused("patch", kind, "theirs", "--type=merge", "-p", label)
    stored = held_plane.kubectl("get", kind, "theirs", "-n", namespace, "-o", "json").stdout
    assert "labels" not in json.loads(stored)["metadata"]


def _theirs(kind: str, namespace: str) -> Json:
    metadata = {"name": "theirs", "namespace": namespace}
    if kind == "services":
        return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": 80}]}}
    spec = {"hosts": ["theirs"], "http": [{"route": [{"destination": {"host": "theirs"}}]}]}
    return {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": metadata, "spec": spec}
