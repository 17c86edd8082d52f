"""
Kubernetes objects from files: what the planner can use of them, and everything that is wrong with them.

A problem names file, document, field, value and limit. All are found before anything else is done.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from virtualservice_operator.api import names
from virtualservice_operator.api.v1alpha1 import RoutingPolicySpec
from virtualservice_operator.core.objects import ClusterObject, Namespace, Policy, Service, VirtualService
from virtualservice_operator.kube.decode import DECODERS
from virtualservice_operator.templates import judge

_CREATED: Final = "1970-01-01T00:00:00Z"
_SUFFIXES: Final = (".yaml", ".yml", ".json")
_Loader: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_KINDS: Final[Mapping[tuple[str, str], type[ClusterObject]]] = {
    ("", "Namespace"): Namespace,
    ("", "Service"): Service,
    (names.GROUP, names.KIND): Policy,
    (names.ISTIO_GROUP, "VirtualService"): VirtualService,
}
_NAME: Final = {"type": "string", "minLength": 1, "maxLength": 253}
_TEXTS: Final = {"type": ["object", "null"], "additionalProperties": {"type": "string"}}
_METADATA: Final = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": _NAME, "namespace": _NAME, "labels": _TEXTS, "annotations": _TEXTS},
}
_PORT: Final = {
    "type": "object",
    "required": ["port"],
    "properties": {
        "port": {"type": "integer", "minimum": 1, "maximum": 65535},
        "name": {"type": "string"},
        "protocol": {"type": "string"},
        "appProtocol": {"type": "string"},
    },
}
_HOSTS: Final = {"type": "array", "items": {"type": "string"}}
_SPECS: Final[Mapping[type[ClusterObject], Mapping[str, Any]]] = {
    Service: {"type": "object", "properties": {"ports": {"type": "array", "items": _PORT}, "type": {"type": "string"}}},
    VirtualService: {"type": "object", "properties": {"hosts": _HOSTS, "gateways": _HOSTS, "exportTo": _HOSTS}},
}


@dataclass(frozen=True, slots=True)
class Read:
    """
    What files held: objects, where each policy stands, what is wrong.

    `unused` counts the documents of other kinds.
    """

    objects: tuple[ClusterObject, ...]
    places: Mapping[Any, str]
    problems: tuple[str, ...]
    unused: int


def read_files(paths: Sequence[str], namespace: str) -> Read:
    """Return what is in files, folders (their YAML and JSON files) and, for `-`, standard input."""
    objects: list[ClusterObject] = []
    places: dict[Any, str] = {}
    problems: list[str] = []
    unused = 0
    for place, document in _documents(paths, problems):
        kind = _kind(document)
        if kind is None:
            unused += 1
            continue
        found = list(_problems(kind, document))
        if found:
            problems.extend(f"{place}: {_title(document)}: {text}" for text in found)
            continue
        item = DECODERS[kind](_completed(kind, document, namespace))
        if isinstance(item, Policy):
            places[item.key] = place
        objects.append(item)
    objects.extend(_implied(objects))
    return Read(tuple(objects), places, tuple(problems), unused)


def _implied(objects: Sequence[ClusterObject]) -> Iterator[ClusterObject]:
    """Yield the namespaces that must be there, because something is in them."""
    known = {item.key.name for item in objects if isinstance(item, Namespace)}
    for name in sorted({item.key.namespace for item in objects if not isinstance(item, Namespace)} - known):
        yield DECODERS[Namespace](_completed(Namespace, {"metadata": {"name": name}}, ""))


def _documents(paths: Sequence[str], problems: list[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every document with its place; lists, as kubectl prints them, are taken apart."""
    for name, text in _texts(paths, problems):
        try:
            for number, document in enumerate(yaml.load_all(text, Loader=_Loader), start=1):
                place = f"{name}, document {number}"
                if document is None:
                    continue
                if not isinstance(document, dict) or not isinstance(document.get("kind"), str):
                    problems.append(f"{place}: this is no Kubernetes object: it has no kind; remove it, or correct it")
                elif document["kind"].endswith("List") and isinstance(document.get("items"), list):
                    yield from ((f"{place}, item {index}", item) for index, item in enumerate(document["items"], 1))
                else:
                    yield place, document
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = f", line {mark.line + 1}" if mark is not None else ""
            problems.append(f"{name}{line}: this is no YAML: {getattr(error, 'problem', None) or 'it cannot be read'}")
        except (RecursionError, ValueError) as error:
            problems.append(f"{name}: this cannot be read: {str(error)[:100]}")


def _texts(paths: Sequence[str], problems: list[str]) -> Iterator[tuple[str, str]]:
    for given in paths:
        if given == "-":
            yield "standard input", sys.stdin.read()
            continue
        path = Path(given)
        files = sorted(item for item in path.rglob("*") if item.suffix in _SUFFIXES) if path.is_dir() else [path]
        if not files:
            problems.append(f"{given}: the folder holds no file that ends in {', '.join(_SUFFIXES)}")
        for file in files:
            try:
                yield str(file), file.read_text()
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
                problems.append(f"{file}: it cannot be read: {reason}")


def _kind(document: Mapping[str, Any]) -> type[ClusterObject] | None:
    version = str(document.get("apiVersion", ""))
    group = version.partition("/")[0] if "/" in version else ""
    return _KINDS.get((group, str(document.get("kind"))))


def _title(document: Mapping[str, Any]) -> str:
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return f"{document['kind']} {name}" if isinstance(name, str) else str(document["kind"])


def _problems(kind: type[ClusterObject], document: Mapping[str, Any]) -> Iterator[str]:
    wanted: dict[str, Any] = {"type": "object", "required": ["metadata"], "properties": {"metadata": _METADATA}}
    if kind in _SPECS:
        wanted["properties"]["spec"] = _SPECS[kind]
    for path, text in judge.problems(judge.make_validator(wanted), document):
        yield f"{path}: {text}"
    if kind is Policy:
        try:
            RoutingPolicySpec.model_validate(document.get("spec") or {})
        except ValidationError as error:
            yield from (_explain(item) for item in error.errors(include_url=False))


def _explain(error: Any) -> str:
    """Return a problem of a policy's spec: field, value, limit."""
    path = "spec" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{path}: there is no such field; remove it, or see vso crd for those that there are"
    if error["type"] == "missing":
        return f"{path}: it is missing; add it"
    message = error["msg"].removeprefix("Value error, ")
    value = error.get("input")
    shown = f"{value!r:.80}: " if isinstance(value, str | int | float) else ""
    return f"{path}: {shown}{message}"


def _completed(kind: type[ClusterObject], document: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    """Return a document with what the API server would add."""
    metadata = {key: value for key, value in document["metadata"].items() if value is not None}
    added: dict[str, Any] = {"uid": "", "resourceVersion": "1", "creationTimestamp": _CREATED, "generation": 1}
    if kind is not Namespace:
        added["namespace"] = namespace
    return {**document, "metadata": {**added, **metadata}}
