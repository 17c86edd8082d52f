"""Never a moment without the catch-all, or with a developer's route lost: every stored version is looked at."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from typing import Any

from cluster.world import World, eventually, only, shop_with_alice
from virtualservice_operator.kube.client import KubeClient
from virtualservice_operator.kube.connection import Source

EDITS = 50
# What aiohttp has closed is closed by the loop in its next turns, after TLS has said goodbye.
CLOSE_SECONDS = 0.25


@contextmanager
def stored_versions(world: World, path: str) -> Iterator[list[dict[str, Any]]]:
    """Collect every version that the API server stores under a path, as a watch shows them."""
    versions: list[dict[str, Any]] = []
    stop = asyncio.Event()
    loop = asyncio.new_event_loop()
    opened = threading.Event()

    async def collect() -> None:
        async with KubeClient(Source(str(world.plane.kubeconfig))) as client:
            listed = await client.request("GET", path)
            params = {"resourceVersion": listed["metadata"]["resourceVersion"]}
            async with aclosing(client.watch(path, params, silence=120, opened=opened.set)) as events:
                async for event in events:
                    if event["type"] != "BOOKMARK":
                        versions.append({"event": event["type"], **event["object"]})  # noqa: PERF401 - read while it grows

    async def until_stopped() -> None:
        task = asyncio.create_task(collect())
        await stop.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(CLOSE_SECONDS)

    thread = threading.Thread(target=lambda: loop.run_until_complete(until_stopped()))
    thread.start()
    assert opened.wait(30)
    try:
        yield versions
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)
        loop.close()


def test_fifty_edits_never_lose_the_catch_all_or_a_route(world: World) -> None:
    shop_with_alice(world, "reviews")
    world.namespace("bob")
    world.service("reviews", "bob")
    both = only(world, "alice", "bob") | {"stripPrefix": f"{world.prefix}-"}
    world.policy("defaults", "shop", developersFrom=both)
    world.wait_ready("defaults", "shop")
    path = f"/apis/networking.istio.io/v1/namespaces/{world.ns('shop')}/virtualservices"
    with stored_versions(world, path) as versions:
        for number in range(EDITS):
            _edit(world, number, both)
        world.policy("defaults", "shop", developersFrom=both, priority=7)
        world.wait_ready("defaults", "shop")
        eventually("bob is back", lambda: "defaults.bob" in world.rules("reviews", "shop"))
    assert len(versions) >= EDITS // 2
    uids = {version["metadata"]["uid"] for version in versions}
    assert len(uids) == 1, "it was deleted and made again"
    for version in versions:
        assert version["event"] == "MODIFIED"
        rules = version["spec"]["http"]
        assert rules[-1]["name"].startswith("default"), json.dumps(rules)
        assert "headers" not in json.dumps(rules[-1].get("match", []))
        # alice has a copy and is a developer at every moment, so her route is always there.
        assert any(rule["name"].startswith("defaults.alice") for rule in rules), json.dumps(rules)


def _edit(world: World, number: int, developers: dict[str, Any]) -> None:
    """Change something that moves the VirtualService, a different kind of thing each time."""
    match number % 5:
        case 0:
            world.service("reviews", "bob", ("http", 8000 + number))
        case 1:
            matches = [{"type": "Header", "name": name} for name in ("x-developer", f"x-{number}")]
            world.policy("defaults", "shop", developersFrom=developers, matches=matches)
        case 2:
            world.delete_service("reviews", "bob")
        case 3:
            world.service("reviews", "shop", ("http", 80), *((("grpc", 9090),) if number % 2 else ()))
        case _:
            world.service("reviews", "bob")
