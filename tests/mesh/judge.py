"""Compare an answer with what a row expects, and show everything that tells why it is another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import yaml

from mesh.beacon import virtual_hosts
from mesh.callers import Caller
from mesh.cluster import Cluster
from mesh.lines import Json
from mesh.requests import GRPC, WEBSOCKET, Answer, Request
from mesh.tables import Row

SUCCESS: Mapping[str, int | str] = {GRPC: "OK", WEBSOCKET: 101}
SUFFIX = ".svc.cluster.local"


def differences(row: Row, answer: Answer) -> list[str]:
    """Return what is not as a row expects, each as a sentence."""
    return list(_differences(row.request, row.expect, answer))


def _differences(request: Request, expect: Json, answer: Answer) -> Iterator[str]:
    rule = answer.logged.route if answer.logged is not None else ""
    if answer.who != expect.get("destination"):
        yield f"answered by {answer.who or 'no backend'}"
    wanted = expect.get("status", SUCCESS.get(request.protocol, 200))
    if answer.status != wanted:
        yield f"status {answer.status} is not {wanted}"
    if "flag" in expect and answer.flag != expect["flag"]:
        yield f"flag {answer.flag or '(none)'} is not {expect['flag']}"
    if "policy" in expect and not rule.startswith(f"{expect['policy']}."):
        yield f"rule {rule or '(none)'} is not of policy {expect['policy']}"
    if "rule" in expect and rule.removesuffix(".") != expect["rule"]:
        yield f"rule {rule or '(none)'} is not {expect['rule']}"
    if "body" in expect and answer.body != expect["body"]:
        yield f"body {answer.body!r} is not {expect['body']!r}"
    for name, value in expect.get("headers", {}).items():
        if answer.headers.get(name) != value:
            yield f"header {name} is {answer.headers.get(name)!r}, not {value!r}"


def explain(row: Row, answer: Answer, found: list[str], cluster: Cluster, caller: Caller) -> str:
    """Return the whole story of a row that failed: request, expected and real answer, VirtualService, Envoy's route."""
    host = host_of(row.request)
    parts = [
        f"request   {row.request}",
        f"expected  {_short(row.expect)}",
        f"real      {answer}",
        *(f"          {sentence}" for sentence in found),
    ]
    written = _virtual_services(cluster, host)
    parts += [f"\nVirtualServices for {host}:", _yaml(written) if written else "  none"]
    if answer.logged is not None:
        parts += [
            f"\nEnvoy's route, {answer.logged.route or '(without a name)'} → {answer.logged.cluster or 'no cluster'}:"
        ]
        parts += [_yaml(routes) if (routes := _routes(caller, host, answer)) else "  no route of this name is there"]
    return "\n".join(parts)


def host_of(request: Request) -> str:
    """Return the full name of the Service that a request asks for."""
    labels = request.to.removesuffix(SUFFIX).split(".")
    namespace = labels[1] if len(labels) > 1 else request.caller
    return f"{labels[0]}.{namespace}{SUFFIX}"


def _virtual_services(cluster: Cluster, host: str) -> list[Json]:
    items = cluster.plane.request("GET", "/apis/networking.istio.io/v1/virtualservices")["items"]
    service, namespace, *_ = host.split(".")
    short = {"hosts": [service]}
    found = []
    for item in items:
        hosts, at_home = item["spec"].get("hosts", ()), item["metadata"]["namespace"] == namespace
        if host in hosts or (at_home and short["hosts"][0] in hosts):
            kept = {key: item["metadata"][key] for key in ("namespace", "name", "creationTimestamp")}
            found.append({"metadata": kept, "spec": item["spec"]})
    return found


def _routes(caller: Caller, host: str, answer: Answer) -> list[Json]:
    if caller.proxy is None or answer.logged is None:
        return []
    found = []
    for _, virtual_host in virtual_hosts(caller.proxy):
        if host in virtual_host["domains"]:
            found += [route for route in virtual_host["routes"] if route.get("name", "") == answer.logged.route]
    return [{key: route[key] for key in route if key not in ("metadata", "typed_per_filter_config")} for route in found]


def _short(expect: Json) -> str:
    return ", ".join(f"{name} {value}" for name, value in expect.items())


def _yaml(value: object) -> str:
    text = yaml.safe_dump(value, sort_keys=False, default_flow_style=None, width=120)
    return "".join(f"  {line}\n" for line in text.splitlines()).rstrip("\n")
