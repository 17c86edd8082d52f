"""What flags of `vso run` change, on a real API server: one operator that is strict, one that is open."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.conftest import ACCOUNT, FLAGS, PLACEHOLDER_RIGHTS
from cluster.test_consent import CONSENT, consent
from cluster.test_placeholders import placeholder
from cluster.world import World, eventually, only, shop_with_alice, steadily
from controlplane.server import ControlPlane
from operator_process import OperatorProcess

MESH = "mesh-system"


@pytest.fixture(scope="module")
def strict(own_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """Yield an operator that routes only where it is permitted, and never to Istio's namespace, which has another name."""
    kubeconfig = own_plane.kubeconfig_for_service_account(*ACCOUNT)
    flags = ("--route-consent=Required", f"--istio-namespace={MESH}")
    with OperatorProcess(kubeconfig, tmp_path_factory.mktemp("strict"), *FLAGS, *flags) as process:
        yield process


@pytest.fixture
def guarded(own_plane: ControlPlane, strict: OperatorProcess) -> World:
    if not strict.alive:  # tests run in any order
        strict.start()
        strict.wait_ready()
    return World.new(own_plane)


def test_where_consent_is_required_nothing_is_routed_until_the_printed_command_was_run(guarded: World) -> None:
    shop_with_alice(guarded, "reviews")
    guarded.wait_condition("defaults", "shop", "ResolvedRefs", ("False", "RefNotPermitted"))
    assert guarded.condition("defaults", "shop", "Ready") == ("True", "Programmed")
    steadily("nothing is routed", lambda: guarded.rules("reviews", "shop") == ["default"], 1)
    command = guarded.message("defaults", "shop", "ResolvedRefs").partition("kubectl ")[2]
    assert command == f"annotate namespace {guarded.ns('alice')} --overwrite {CONSENT}={guarded.ns('shop')}"
    guarded.plane.kubectl(*command.split())
    eventually("routed", lambda: guarded.rules("reviews", "shop") == ["defaults.alice", "default"])
    guarded.wait_condition("defaults", "shop", "ResolvedRefs", ("True", "ResolvedRefs"))
    consent(guarded, "alice", None)
    eventually("no more", lambda: guarded.rules("reviews", "shop") == ["default"])


def test_nothing_is_routed_to_istios_namespace_whatever_its_name(guarded: World) -> None:
    plane = guarded.plane
    metadata = {"name": MESH, "annotations": {CONSENT: "*"}}
    plane.request("POST", "/api/v1/namespaces", {"metadata": metadata})
    ports = [{"name": "http", "port": 80}]
    copy = {"metadata": {"name": "reviews"}, "spec": {"selector": {"app": "reviews"}, "ports": ports}}
    plane.request("POST", f"/api/v1/namespaces/{MESH}/services", copy)
    shop_with_alice(guarded, "reviews")
    consent(guarded, "alice", "*")
    developers = [{"name": "alice", "namespaces": [MESH, guarded.ns("alice")]}, {"name": "bob", "namespaces": [MESH]}]
    guarded.policy("defaults", "shop", developers=developers)
    guarded.wait_condition("defaults", "shop", "ResolvedRefs", ("False", "NamespaceNotAllowed"))
    assert f"{MESH} is a system namespace" in guarded.message("defaults", "shop", "ResolvedRefs")
    eventually("to her own only", lambda: guarded.rules("reviews", "shop") == ["defaults.alice", "default"])
    assert guarded.destination("reviews", "shop", "defaults.alice") == guarded.host("reviews", "alice")


@pytest.fixture
def unguarded(own_plane: ControlPlane, strict: OperatorProcess, tmp_path: Path) -> Iterator[World]:
    """Yield a world of an operator that needs nobody's consent; the strict one has ended."""
    strict.close()
    own_plane.kubectl("apply", "-f", PLACEHOLDER_RIGHTS)
    kubeconfig = own_plane.kubeconfig_for_service_account(*ACCOUNT)
    with OperatorProcess(kubeconfig, tmp_path, *FLAGS, "--placeholder-consent=Optional"):
        yield World.new(own_plane)


def test_where_consent_is_optional_placeholders_are_made_unless_the_namespace_says_otherwise(unguarded: World) -> None:
    shop_with_alice(unguarded, "reviews")
    mode = {"mode": "ExternalName"}
    unguarded.policy("defaults", "shop", developersFrom=only(unguarded, "alice"), placeholder=mode)
    unguarded.wait_ready("defaults", "shop")
    unguarded.delete_service("reviews", "alice")
    eventually("a placeholder", lambda: placeholder(unguarded))
    unguarded.wait_condition("defaults", "shop", "ResolvedRefs", ("True", "ResolvedRefs"))
    assert unguarded.rules("reviews", "shop") == ["defaults.alice", "default"]
    consent(unguarded, "alice", "somebody-else")
    eventually("it is gone", lambda: placeholder(unguarded) is None)
    eventually("and its route", lambda: unguarded.rules("reviews", "shop") == ["default"])
