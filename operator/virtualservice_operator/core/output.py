"""
What a template made, held against the tenant rules: it reaches no further than its policy may.

Its form was looked at before, by the schema. Here it is about what the planner knows: which hosts are the Service's,
which copies are permitted, which ports there are.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, Final

from virtualservice_operator.api import names
from virtualservice_operator.api.conditions import Reason
from virtualservice_operator.api.v1alpha1 import RESERVED_HEADERS, RETRY_CONDITIONS, RETRY_STATUS
from virtualservice_operator.core.draft import Draft
from virtualservice_operator.core.objects import Finding
from virtualservice_operator.core.routes import narrowing
from virtualservice_operator.core.template_variables import Scene
from virtualservice_operator.printable import printable, shown

# Keys under these belong to Kubernetes, Istio, and to tools that would take the object for their own.
RESERVED_PREFIXES: Final = (
    *("kubernetes.io", "k8s.io", "istio.io", "argoproj.io", "fluxcd.io", "helm.sh"),
    names.GROUP,
)
_MESH: Final = "mesh"
_SHOWN: Final = 3
_QUOTED: Final = 100
_HOST_HEADER: Final = "host"
_LEAST_PERCENT: Final = 0.0001


def check_draft(draft: Draft, scene: Scene) -> tuple[Finding, ...]:
    """Return the first that is not allowed of a template's output, each with template, line, field, value and remedy."""
    problems = chain(
        _metadata_problems(draft.metadata, scene),
        _host_problems(draft.spec, scene),
        _destination_problems(draft.spec, scene),
        _scope_problems(draft.spec, scene.service.key.namespace),
        _match_problems(draft.spec),
        _rule_problems(draft.spec),
        _setting_problems(draft.spec),
        _header_problems(draft.spec),
        _order_problems(draft.spec.get("http") or (), {port.number for port in scene.service.http_ports}),
    )
    # Thousands of rules can be wrong; to say where each comes from takes time.
    first = islice(problems, _SHOWN)
    return tuple(Finding(Reason.OUTPUT_NOT_ALLOWED, _said(draft, *problem)) for problem in first)


def _said(draft: Draft, path: str, value: Any, text: str) -> str:
    place = draft.place(path)
    quoted = "" if value is None else f" {shown(value, _QUOTED)}"
    return f"{printable(place) + ': ' if place else ''}{printable(path)}:{quoted} {text}".replace(":  ", ": ")


Problem = tuple[str, Any, str]


def _metadata_problems(metadata: Mapping[str, Any], scene: Scene) -> Iterator[Problem]:
    for field, expected in (
        ("name", names.virtual_service_name(scene.service.key.name)),
        ("namespace", scene.service.key.namespace),
    ):
        if metadata.get(field, expected) != expected:
            yield f"metadata.{field}", metadata[field], f"is not {expected}; leave it out, or write it so"
    for kind in ("labels", "annotations"):
        for key in metadata.get(kind) or ():
            domain = key.partition("/")[0] if "/" in key else ""
            for prefix in RESERVED_PREFIXES:
                if domain == prefix or domain.endswith(f".{prefix}"):
                    yield f"metadata.{kind}", key, f"is reserved ({prefix}); choose a key of your own"


def _host_problems(spec: Mapping[str, Any], scene: Scene) -> Iterator[Problem]:
    for index, host in enumerate(spec["hosts"]):
        if host != scene.own_host:
            yield (
                f"spec.hosts[{index}]",
                host,
                f"is not the Service's own host, {scene.own_host}; write {{{{ ServiceFQDN }}}}",
            )
    if len(spec["hosts"]) > 1 and all(host == scene.own_host for host in spec["hosts"]):
        yield "spec.hosts", None, "the host is there twice; keep one"
    for path, gateways in _gateways(spec):
        for gateway in gateways:
            if gateway != _MESH:
                yield path, gateway, "is not permitted: only mesh; leave gateways out"


def _scope_problems(spec: Mapping[str, Any], namespace: str) -> Iterator[Problem]:
    """Yield what Istio would refuse of exportTo. Source: istio/istio:pkg/config/validation, validateExportTo."""
    scopes = spec.get("exportTo") or ()
    if "*" in scopes and len(scopes) > 1:
        yield "spec.exportTo", scopes, "* is everybody, and stands alone; leave the others out"
    elif len({namespace if scope == "." else scope for scope in scopes}) < len(scopes):
        yield "spec.exportTo", scopes, f"a namespace is there twice (. is {namespace}); keep one"


def _gateways(spec: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[str]]]:
    yield "spec.gateways", spec.get("gateways") or ()
    for place, rule in _rules(spec):
        for number, match in enumerate(rule.get("match") or ()):
            yield f"{place}.match[{number}].gateways", match.get("gateways") or ()


def _destination_problems(spec: Mapping[str, Any], scene: Scene) -> Iterator[Problem]:
    permitted = scene.destinations()
    for path, host in _destinations(spec):
        if host not in permitted:
            yield path, host, _NOT_PERMITTED


_NOT_PERMITTED: Final = (
    "is neither the Service nor a copy that its policies may use; write {{ ServiceFQDN }}, "
    "{{ fqdn(ServiceName, DeveloperNamespace) }} or the host of one of Developers"
)


def _destinations(spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield every host that requests are sent to: routes and mirrors."""
    for place, rule in _rules(spec):
        for number, route in enumerate(rule.get("route") or ()):
            yield f"{place}.route[{number}].destination.host", route["destination"]["host"]
        if "mirror" in rule:
            yield f"{place}.mirror.host", rule["mirror"]["host"]
        for number, mirror in enumerate(rule.get("mirrors") or ()):
            yield f"{place}.mirrors[{number}].destination.host", mirror["destination"]["host"]


_NO_HEADER: Final = (
    "is part of the request line, not a header, so Istio would ignore it; write uri, method or authority beside headers"
)


def _match_problems(spec: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield the parts of matches that Istio would ignore, so that a rule takes other requests than it says."""
    for place, rule in _rules(spec):
        for number, match in enumerate(rule.get("match") or ()):
            path = f"{place}.match[{number}]"
            for kind in ("headers", "withoutHeaders"):
                for header in RESERVED_HEADERS:
                    if header in (match.get(kind) or ()):
                        yield f"{path}.{kind}", header, _NO_HEADER
            for field in ("sourceNamespace", "sourceLabels"):
                if match.get(field) and match.get("gateways"):
                    yield f"{path}.{field}", match[field], "is ignored by Istio beside gateways; leave gateways out"


def _rule_problems(spec: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what Istio would refuse of a rule as a whole."""
    for place, rule in _rules(spec):
        for answer in ("directResponse", "redirect"):
            for field in ("rewrite", "fault"):
                if answer in rule and field in rule:
                    yield f"{place}.{field}", None, f"Istio refuses it beside {answer}; leave it out"
        if "mirror" in rule and "mirrors" in rule:
            yield f"{place}.mirror", None, "Istio refuses it beside mirrors; keep one of them"
        weights = [route.get("weight", 0) for route in rule.get("route") or ()]
        if len(weights) > 1 and not any(weights):
            yield (
                f"{place}.route",
                None,
                "no destination has a weight, so nobody would get a request; give them weights",
            )


def _setting_problems(spec: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what Istio would refuse of a rule's settings."""
    for place, rule in _rules(spec):
        retries, rewrite, redirect = (rule.get(field) for field in ("retries", "rewrite", "redirect"))
        if retries is not None:
            yield from _retry_problems(f"{place}.retries", retries)
        if rewrite is not None and "uri" in rewrite and "uriRegexRewrite" in rewrite:
            yield f"{place}.rewrite", None, "has both uri and uriRegexRewrite, which Istio refuses; keep one of them"
        if rewrite == {}:
            yield f"{place}.rewrite", None, "says nothing; write uri, uriRegexRewrite or authority, or leave it out"
        if redirect is not None:
            if redirect.keys() <= {"redirectCode"}:
                yield f"{place}.redirect", None, "leads to the same place; write uri, authority, scheme or port"
            if "port" in redirect and "derivePort" in redirect:
                yield f"{place}.redirect", None, "has both port and derivePort, which Istio refuses; keep one of them"
        if "fault" in rule:
            yield from _fault_problems(f"{place}.fault", rule["fault"])


def _retry_problems(place: str, retries: Mapping[str, Any]) -> Iterator[Problem]:
    if retries.get("attempts") == 0 and len(retries) > 1:
        yield place, retries, "has settings for 0 attempts, which Istio refuses; leave them out"
    for item in retries.get("retryOn", "").split(",") if "retryOn" in retries else ():
        if item not in RETRY_CONDITIONS and not re.fullmatch(RETRY_STATUS, item):
            known = ", ".join(RETRY_CONDITIONS)
            yield f"{place}.retryOn", item, f"is not known to Istio; write statuses of HTTP and {known}, without spaces"


def _fault_problems(place: str, fault: Mapping[str, Any]) -> Iterator[Problem]:
    if not fault:
        yield place, None, "makes no trouble; write abort or delay, or leave it out"
    abort = fault.get("abort")
    if abort is not None and ("httpStatus" in abort) == ("grpcStatus" in abort):
        yield f"{place}.abort", None, "has exactly one of httpStatus, grpcStatus"
    for kind in ("abort", "delay"):
        share = ((fault.get(kind) or {}).get("percentage") or {}).get("value", 0)
        if 0 < share < _LEAST_PERCENT:
            yield f"{place}.{kind}.percentage.value", share, f"is less than {_LEAST_PERCENT}, and not 0"


def _header_problems(spec: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield operations on the host header that Istio refuses: only a request's can be set, and only once."""
    for place, rule in _rules(spec):
        for path, headers in _headers(place, rule):
            for way, operations in headers.items():
                for operation, named in operations.items():
                    if _HOST_HEADER in named and (way == "response" or operation == "remove"):
                        said = "cannot be changed so, says Istio; leave it out"
                        yield f"{path}.{way}.{operation}", _HOST_HEADER, said
        request = (rule.get("headers") or {}).get("request") or {}
        times = sum(_HOST_HEADER in request.get(operation, ()) for operation in ("set", "add"))
        if times + ("authority" in (rule.get("rewrite") or {})) > 1:
            yield f"{place}.headers.request", _HOST_HEADER, "is set twice; keep rewrite.authority"


def _headers(place: str, rule: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield f"{place}.headers", rule.get("headers") or {}
    for number, route in enumerate(rule.get("route") or ()):
        yield f"{place}.route[{number}].headers", route.get("headers") or {}


def _rules(spec: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for index, rule in enumerate(spec.get("http") or ()):
        yield f"spec.http[{index}]", rule


def _order_problems(rules: Sequence[Mapping[str, Any]], ports: set[int]) -> Iterator[Problem]:
    """
    Yield what Istio would never reach, and the port that lacks a last rule: its other requests would be answered 404.

    A rule that names no port is for all of the Service's.
    """
    for index, rule in enumerate(rules[:-1]):
        if not _selects(rule):
            yield (
                f"spec.http[{index}]",
                None,
                "takes every request, so the rules after it are never reached; put it last",
            )
            return
    caught = {match.get("port") for rule in rules for match in _matches(rule) if not narrowing(match)}
    if None in caught:
        return
    named = {int(match["port"]) if "port" in match else None for rule in rules for match in _matches(rule)}
    wanted = {port for port in named if port is not None} | (ports if None in named else set())
    text = (
        "port {} has rules and no last one that takes the rest, so all other requests would be answered 404; end with a rule "
        "without match that leads to {{{{ ServiceFQDN }}}}"
    )
    yield from (("spec.http", None, text.format(port)) for port in sorted(wanted - caught))


def _matches(rule: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return rule.get("match") or ({},)


def _selects(rule: Mapping[str, Any]) -> bool:
    return all(narrowing(match) or "port" in match for match in _matches(rule))
