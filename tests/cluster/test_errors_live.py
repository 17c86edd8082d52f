"""The table of errors against a real API server: each row that can be had is had, and judged."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.conftest import ACCOUNT
from cluster.trouble import denying_policy, hanging_port, overload, set_quota, split_rights, virtual_service, webhook
from cluster.world import ISTIO, World
from controlplane.ports import free_port
from controlplane.server import ControlPlane
from virtualservice_operator.kube.client import KubeClient
from virtualservice_operator.kube.connection import Source
from virtualservice_operator.kube.errors import ApiError, Reaction, Situation, judge

ROOT = Path(__file__).resolve().parents[2]
APPLY = "application/apply-patch+yaml"


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory, istio_crds: Path) -> Iterator[ControlPlane]:
    directory = tmp_path_factory.mktemp("errors") / "plane"
    with ControlPlane.start(directory, crds=[istio_crds]) as plane:
        plane.kubectl("apply", "-k", str(ROOT / "kustomize/base"))
        split_rights(plane)
        yield plane


@pytest.fixture
async def admin(plane: ControlPlane) -> AsyncIterator[KubeClient]:
    async with KubeClient(Source(str(plane.kubeconfig))) as client:
        yield client


@pytest.fixture
async def account(plane: ControlPlane) -> AsyncIterator[KubeClient]:
    async with KubeClient(Source(str(plane.kubeconfig_for_service_account(*ACCOUNT)))) as client:
        yield client


@pytest.fixture
def world(plane: ControlPlane) -> World:
    world = World.new(plane)
    world.namespace("shop")
    return world


def path(world: World, name: str = "a", namespace: str = "shop") -> str:
    return f"{ISTIO}/namespaces/{world.ns(namespace)}/virtualservices/{name}"


async def refused(client: KubeClient, method: str, path: str, body: Any = None, content_type: str = APPLY) -> ApiError:
    """Send a request that must be refused and return how."""
    params = {"fieldManager": "t", "fieldValidation": "Strict"} if method == "PATCH" else None
    with pytest.raises(ApiError) as caught:
        await client.request(method, path, params=params, body=body, content_type=content_type)
    return caught.value


async def finally_refused(
    client: KubeClient, world: World, is_it: Callable[[ApiError], bool], *, at_once: int = 1
) -> ApiError:
    """Apply until it is refused as is expected: what was just set up is in force a moment later."""

    async def apply(name: str) -> ApiError | None:
        params, body = {"fieldManager": "t"}, virtual_service(name)
        try:
            await client.request("PATCH", path(world, name), params=params, body=body, content_type=APPLY)
        except ApiError as error:
            return error
        return None

    for attempt in range(300):
        met = await asyncio.gather(*(apply(f"a{attempt}-{number}") for number in range(at_once)))
        for error in met:
            if error is not None and is_it(error):
                return error
        await asyncio.sleep(0.1)
    raise AssertionError(f"never refused as expected; last: {met[-3:]}")


def found(error: ApiError) -> Situation:
    return judge(error).situation


async def test_no_right(world: World, account: KubeClient) -> None:
    error = await refused(account, "PATCH", path(world), virtual_service("a"))
    assert (found(error), error.status) == (Situation.FORBIDDEN, 403)


async def test_a_namespace_that_is_being_deleted(world: World, admin: KubeClient) -> None:
    stuck = {"metadata": {"name": "stuck", "finalizers": ["example.com/never"]}, "data": {}}
    world.plane.request("POST", f"/api/v1/namespaces/{world.ns('shop')}/configmaps", stuck)
    world.delete_namespace("shop")
    error = await refused(admin, "PATCH", path(world), virtual_service("a"))
    assert (found(error), error.status) == (Situation.NAMESPACE_TERMINATING, 403)


async def test_a_namespace_that_is_missing(world: World, admin: KubeClient) -> None:
    error = await refused(admin, "PATCH", path(world, namespace="nowhere"), virtual_service("a"))
    assert (found(error), error.status) == (Situation.NAMESPACE_MISSING, 404)


async def test_a_kind_that_is_not_installed(world: World, admin: KubeClient) -> None:
    where = f"/apis/nobody.example.com/v1/namespaces/{world.ns('shop')}/virtualservices/a"
    error = await refused(admin, "PATCH", where, virtual_service("a"))
    assert (found(error), error.reason, error.message) == (Situation.KIND_MISSING, "", "404 page not found")


async def test_a_field_that_another_owns(world: World, admin: KubeClient) -> None:
    world.virtual_service("a", "shop", virtual_service("a")["spec"])
    wanted = virtual_service("a")
    wanted["spec"]["http"][0]["name"] = "other"
    error = await refused(admin, "PATCH", path(world), wanted)
    assert (found(error), error.status) == (Situation.FIELD_CONFLICT, 409)


async def test_a_delete_of_another_uid(world: World, admin: KubeClient) -> None:
    world.virtual_service("a", "shop", virtual_service("a")["spec"])
    body = {"preconditions": {"uid": "00000000-0000-4000-8000-000000000000"}}
    error = await refused(admin, "DELETE", path(world), body, "application/json")
    assert (found(error), error.status) == (Situation.CONFLICT, 409)


async def test_an_apply_to_another_uid(world: World, admin: KubeClient) -> None:
    world.virtual_service("a", "shop", virtual_service("a")["spec"])
    error = await refused(admin, "PATCH", path(world), virtual_service("a", uid="00000000-0000-4000-8000-000000000000"))
    assert (found(error), error.status) == (Situation.REPLACED, 422)


async def test_a_create_over_what_is_there(world: World, admin: KubeClient) -> None:
    world.virtual_service("a", "shop", virtual_service("a")["spec"])
    error = await refused(admin, "PATCH", path(world), virtual_service("a", resourceVersion="0"))
    assert (found(error), error.status) == (Situation.REPLACED, 422)


async def test_a_json_patch_whose_test_fails(world: World, admin: KubeClient) -> None:
    world.virtual_service("a", "shop", virtual_service("a")["spec"])
    patch = [{"op": "test", "path": "/metadata/resourceVersion", "value": "1"}]
    error = await refused(admin, "PATCH", path(world), patch, "application/json-patch+json")
    assert (found(error), error.status) == (Situation.REPLACED, 422)


async def test_an_object_that_is_gone(world: World, admin: KubeClient) -> None:
    error = await refused(admin, "DELETE", path(world))
    assert (found(error), error.status) == (Situation.OBJECT_MISSING, 404)


async def test_a_field_that_the_schema_does_not_know(world: World, admin: KubeClient) -> None:
    wanted = virtual_service("a")
    wanted["spec"]["rout"] = []
    error = await refused(admin, "PATCH", path(world), wanted)
    assert (found(error), error.status) == (Situation.SCHEMA_MISMATCH, 500)


@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")  # it is meant to be large
@pytest.mark.parametrize(
    ("megabytes", "expected"),
    [(1.7, (Situation.TOO_LARGE, 500)), (2.5, (Situation.TOO_LARGE, 500)), (4.0, (Situation.TOO_LARGE, 413))],
    ids=["for etcd", "for the way to etcd", "for the API server"],
)
async def test_an_object_that_is_too_large(
    world: World, admin: KubeClient, megabytes: float, expected: tuple[Situation, int]
) -> None:
    wanted = virtual_service("a")
    wanted["spec"]["http"] = [
        {"directResponse": {"status": 503, "body": {"string": "x" * 1000}}} for _ in range(int(megabytes * 1000))
    ]
    error = await refused(admin, "PATCH", path(world), wanted)
    assert (found(error), error.status) == expected
    assert judge(error).reaction is Reaction.REFUSED


async def test_annotations_that_are_too_large(world: World, admin: KubeClient) -> None:
    error = await refused(admin, "PATCH", path(world), virtual_service("a", annotations={"a": "x" * 300_000}))
    assert (found(error), error.status) == (Situation.INVALID, 422)


async def test_an_admission_policy_says_no(world: World, admin: KubeClient) -> None:
    with denying_policy(world, "shop"):
        error = await refused(admin, "PATCH", path(world), virtual_service("a"))
    assert (found(error), error.status) == (Situation.ADMISSION_DENIED, 422)


async def test_a_full_quota(world: World, admin: KubeClient) -> None:
    set_quota(world, "shop", hard=1, used=1)
    error = await finally_refused(admin, world, lambda error: error.status == 403)
    assert (found(error), error.status) == (Situation.QUOTA_EXCEEDED, 403)


async def test_a_webhook_that_is_away(world: World, admin: KubeClient) -> None:
    with webhook(world, "shop", free_port()):
        error = await refused(admin, "PATCH", path(world), virtual_service("a"))
    assert (found(error), error.status) == (Situation.WEBHOOK_FAILED, 500)


async def test_a_webhook_that_hangs(world: World, admin: KubeClient) -> None:
    with hanging_port(world.plane) as port, webhook(world, "shop", port, seconds=1):
        error = await refused(admin, "PATCH", path(world), virtual_service("a"))
    assert (found(error), error.status) == (Situation.WEBHOOK_FAILED, 500)


async def test_overload_answers_in_plain_text_and_says_for_how_long(world: World, account: KubeClient) -> None:
    with overload(world.plane):
        error = await finally_refused(account, world, lambda error: error.status == 429, at_once=20)
    assert (found(error), error.status, error.reason, error.retry_after) == (Situation.OVERLOAD, 429, "", 1)
    assert error.message == "Too many requests, please try again later."


async def test_a_list_at_a_future_version(world: World, admin: KubeClient) -> None:
    with pytest.raises(ApiError) as caught:
        await admin.request("GET", "/api/v1/services", params={"resourceVersion": "999999999", "limit": "500"})
    assert (found(caught.value), caught.value.status) == (Situation.FUTURE_VERSION, 504)
    assert caught.value.retry_after == 1


async def test_a_bad_token_is_read_anew_once_and_then_waited_out(plane: ControlPlane) -> None:
    """The token file holds a bad one first, then a good one."""
    kubeconfig = plane.kubeconfig_for_service_account(*ACCOUNT)
    token = next(kubeconfig.parent.glob(f"{'.'.join(ACCOUNT)}.token"))
    good = token.read_text()

    def unauthorized() -> int:
        counted = re.search(r'^authentication_attempts\{result="error"\} (\S+)$', plane.metrics(), re.MULTILINE)
        return int(float(counted[1])) if counted else 0

    token.write_text("no-token-at-all")
    async with KubeClient(Source(str(kubeconfig))) as client:
        before = unauthorized()
        error = await refused(client, "GET", "/api/v1/services")
        assert found(error) is Situation.UNAUTHORIZED
        assert unauthorized() == before + 2
        token.write_text(good)
        await client.request("GET", "/api/v1/services")
        assert unauthorized() == before + 3
