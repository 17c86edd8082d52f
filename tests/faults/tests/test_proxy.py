"""The proxy breaks what it is told to break, and nothing else; its upstream here is a small server of the test's own."""

import contextlib
import http.client
import json
import socket
import time
from collections.abc import Iterator
from typing import Self

import pytest
from aiohttp import web

from controlplane.loop_thread import LoopThread
from controlplane.ports import LOOPBACK, free_port
from controlplane.waiting import wait_for
from faults.breakage import Delay, Kill, LostAnswer, Reset, Status
from faults.call import READS, WRITES
from faults.proxy import FaultProxy
from faults.rules import EventRule, Rule, Treatment

SERVICES = "/api/v1/namespaces/shop/services"
WATCH = "/api/v1/services?watch=true"
BROKEN = (ConnectionResetError, http.client.RemoteDisconnected, BrokenPipeError)


def event(kind: str, name: str) -> bytes:
    return json.dumps({"type": kind, "object": {"metadata": {"name": name, "namespace": "shop"}}}).encode() + b"\n"


class Upstream:
    """Answers every request with what it got, and a watch with what the test says."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, str]] = []
        self.port = free_port()
        self._watches: set[web.StreamResponse] = set()
        self._loop = LoopThread("upstream")
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.heard.append((request.method, request.raw_path, request.headers.get("Authorization", "")))
        if "watch" not in request.query:
            return web.json_response({"got": (await request.read()).decode()}, status=201)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        self._watches.add(response)
        try:
            await self._over.wait()
        finally:
            self._watches.discard(response)
        return response

    def __enter__(self) -> Self:
        self._loop.start()
        self._loop.run(self._start())
        return self

    async def _start(self) -> None:
        import asyncio

        self._over = asyncio.Event()
        await self._runner.setup()
        await web.TCPSite(self._runner, LOOPBACK, self.port).start()

    def __exit__(self, *_: object) -> None:
        self._loop.ask(self._over.set)
        self._loop.run(self._runner.cleanup())
        self._loop.stop()

    def tell(self, *lines: bytes) -> None:
        async def write() -> None:
            for response in self._watches:
                for line in lines:
                    await response.write(line)

        self._loop.run(write())

    def end(self) -> None:
        self._loop.ask(self._over.set)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture
def proxy(upstream: Upstream) -> Iterator[FaultProxy]:
    with FaultProxy(f"http://{LOOPBACK}:{upstream.port}") as running:
        yield running


class Watch:
    """One open watch, read line by line."""

    def __init__(self, proxy: FaultProxy, timeout: float = 10) -> None:
        self._connection = http.client.HTTPConnection(LOOPBACK, proxy.port, timeout=timeout)
        self._connection.request("GET", WATCH)
        self.response = self._connection.getresponse()

    def line(self) -> bytes:
        return self.response.readline()

    def names(self, count: int) -> list[str]:
        return [json.loads(self.line())["object"]["metadata"]["name"] for _ in range(count)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.response.close()
        self._connection.close()


def ask(proxy: FaultProxy, method: str, path: str, body: str = "") -> tuple[int, str]:
    connection = http.client.HTTPConnection(LOOPBACK, proxy.port, timeout=10)
    try:
        connection.request(method, path, body=body, headers={"Authorization": "Bearer secret"})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_it_passes_a_request_its_token_and_the_answer_on(proxy: FaultProxy, upstream: Upstream) -> None:
    assert ask(proxy, "POST", f"{SERVICES}?fieldManager=a%2Fb", "body") == (201, '{"got": "body"}')
    assert upstream.heard == [("POST", f"{SERVICES}?fieldManager=a%2Fb", "Bearer secret")]


def test_the_journal_says_what_was_asked_stored_and_answered(proxy: FaultProxy) -> None:
    ask(proxy, "PATCH", f"{SERVICES}/reviews")
    (entry,) = proxy.journal
    call = entry.call
    assert (call.verb, call.resource, call.namespace, call.name) == ("patch", "services", "shop", "reviews")
    assert (entry.stored, entry.answered, entry.injected) == (201, 201, False)


def test_a_reset_reaches_nobody(proxy: FaultProxy, upstream: Upstream) -> None:
    rule = proxy.add(Rule(Reset(), WRITES))
    with pytest.raises(BROKEN):
        ask(proxy, "POST", SERVICES)
    assert upstream.heard == []
    assert proxy.journal[0].stored is None
    assert rule.hits == 1


def test_a_lost_answer_is_of_a_request_that_was_carried_out(proxy: FaultProxy, upstream: Upstream) -> None:
    proxy.add(Rule(LostAnswer(), WRITES))
    with pytest.raises(BROKEN):
        ask(proxy, "DELETE", f"{SERVICES}/reviews")
    assert len(upstream.heard) == 1
    assert (proxy.journal[0].stored, proxy.journal[0].answered) == (201, None)


@pytest.mark.parametrize(("too_early", "heard"), [(False, 1), (True, 0)], ids=["after", "before"])
def test_a_kill_comes_before_or_after_the_request(
    proxy: FaultProxy,
    upstream: Upstream,
    too_early: bool,  # noqa: FBT001 - a parameter of the test
    heard: int,
) -> None:
    killed: list[int] = []
    proxy.add(Rule(Kill(lambda: killed.append(len(upstream.heard)), too_early), WRITES))
    with pytest.raises(BROKEN):
        ask(proxy, "POST", SERVICES)
    assert killed == [heard]
    assert len(upstream.heard) == heard


def test_an_injected_status_is_a_status_object_and_says_when_to_come_back(
    proxy: FaultProxy, upstream: Upstream
) -> None:
    proxy.add(Rule(Status(503, "ServiceUnavailable", "closed", retry_after=2), READS))
    connection = http.client.HTTPConnection(LOOPBACK, proxy.port, timeout=10)
    connection.request("GET", SERVICES)
    response = connection.getresponse()
    assert response.headers["Retry-After"] == "2"
    body = json.loads(response.read())
    connection.close()
    assert (body["kind"], body["code"], body["reason"], body["message"]) == (
        "Status",
        503,
        "ServiceUnavailable",
        "closed",
    )
    assert upstream.heard == []


def test_a_delay_is_only_a_delay(proxy: FaultProxy) -> None:
    proxy.add(Rule(Delay(0.3), WRITES))
    started = time.monotonic()
    assert ask(proxy, "POST", SERVICES)[0] == 201
    assert time.monotonic() - started >= 0.3


def test_a_rule_hits_the_calls_it_names_and_counts_them(proxy: FaultProxy) -> None:
    rule = proxy.add(Rule(Status(500), WRITES, frozenset({"services"}), name="b", skip=1, times=1))
    statuses = [ask(proxy, "PATCH", f"{SERVICES}/{name}")[0] for name in ("a", "b", "b", "b")]
    assert statuses == [201, 201, 500, 201]
    assert (rule.seen, rule.hits) == (2, 1)


def test_a_share_of_the_calls_is_hit_the_same_in_each_run(proxy: FaultProxy) -> None:
    rule = Rule(Status(500), WRITES, times=None, share=0.5)
    again = Rule(Status(500), WRITES, times=None, share=0.5)
    proxy.add(rule)
    hit = [ask(proxy, "PATCH", f"{SERVICES}/a")[0] == 500 for _ in range(40)]
    call = proxy.journal[0].call
    assert hit == [again.takes(call) for _ in range(40)]
    assert 5 < rule.hits < 35


def test_heal_ends_all_rules(proxy: FaultProxy) -> None:
    proxy.add(Rule(Reset(), WRITES, times=None))
    proxy.heal()
    assert ask(proxy, "POST", SERVICES)[0] == 201


def test_events_pass_as_they_are(proxy: FaultProxy, upstream: Upstream) -> None:
    with Watch(proxy) as watch:
        upstream.tell(event("ADDED", "a"), event("DELETED", "a"))
        assert [watch.line(), watch.line()] == [event("ADDED", "a"), event("DELETED", "a")]
        upstream.end()
        assert watch.line() == b""


def test_an_event_can_be_dropped(proxy: FaultProxy, upstream: Upstream) -> None:
    rule = proxy.treat(EventRule(Treatment.DROP, "services", frozenset({"DELETED"}), name="a"))
    with Watch(proxy) as watch:
        upstream.tell(event("ADDED", "a"), event("DELETED", "b"), event("DELETED", "a"), event("ADDED", "c"))
        assert watch.names(3) == ["a", "b", "c"]
    assert rule.hits == 1


def test_an_event_can_come_twice(proxy: FaultProxy, upstream: Upstream) -> None:
    proxy.treat(EventRule(Treatment.DUPLICATE, "services"))
    with Watch(proxy) as watch:
        upstream.tell(event("ADDED", "a"), event("ADDED", "b"))
        assert watch.names(3) == ["a", "a", "b"]


def test_an_event_can_be_held_and_comes_after_later_ones(proxy: FaultProxy, upstream: Upstream) -> None:
    proxy.treat(EventRule(Treatment.HOLD, "services", name="a"))
    with Watch(proxy) as watch:
        upstream.tell(event("ADDED", "a"), event("ADDED", "b"))
        assert watch.names(1) == ["b"]
        assert proxy.release("services") == 1
        assert watch.names(1) == ["a"]


def test_a_watch_can_be_cut_and_others_stay(proxy: FaultProxy, upstream: Upstream) -> None:
    with Watch(proxy) as watch:
        assert proxy.cut("namespaces") == 0
        upstream.tell(event("ADDED", "a"))
        assert watch.names(1) == ["a"]
        assert proxy.cut("services") == 1
        with pytest.raises(BROKEN):
            watch.line()
    wait_for(lambda: proxy.watches() == 0, what="the watch to be forgotten")


def test_a_watch_can_be_cut_in_the_middle_of_a_line(proxy: FaultProxy) -> None:
    with Watch(proxy) as watch:
        proxy.cut_line()
        with pytest.raises((*BROKEN, http.client.IncompleteRead)):
            watch.response.read()


def test_a_watch_can_expire(proxy: FaultProxy) -> None:
    with Watch(proxy) as watch:
        proxy.expire()
        said = json.loads(watch.line())
        assert (said["type"], said["object"]["code"], said["object"]["reason"]) == ("ERROR", 410, "Expired")
        assert watch.line() == b""


def test_a_silent_watch_says_nothing_and_stays_open(proxy: FaultProxy, upstream: Upstream) -> None:
    with Watch(proxy, timeout=0.5) as watch:
        proxy.silence()
        upstream.tell(event("ADDED", "a"))
        with pytest.raises(TimeoutError):
            watch.line()
        assert proxy.watches("services") == 1


def test_where_the_api_server_is_gone_connections_break() -> None:
    with FaultProxy(f"http://{LOOPBACK}:{free_port()}") as proxy, pytest.raises(BROKEN):
        ask(proxy, "GET", SERVICES)


def test_closing_resets_what_is_open(upstream: Upstream) -> None:
    with contextlib.ExitStack() as stack:
        with FaultProxy(f"http://{LOOPBACK}:{upstream.port}") as proxy:
            watch = stack.enter_context(Watch(proxy))
        with pytest.raises(BROKEN):
            watch.line()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((LOOPBACK, proxy.port), timeout=5)
