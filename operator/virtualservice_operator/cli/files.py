"""
Kubernetes objects from files: what the planner can use of them, and everything that is wrong with them.

A problem names file, document, field, value and limit. All are found before anything else is done.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from virtualservice_operator.api import names
from virtualservice_operator.api.v1alpha1 import read_spec
from virtualservice_operator.core.objects import ClusterObject, Namespace, Policy, Service, VirtualService
from virtualservice_operator.kube.decode import DECODERS
from virtualservice_operator.printable import printable

_CREATED: Final = "1970-01-01T00:00:00Z"
_LONGEST_NAME: Final = 253
_LAST_PORT: Final = 65535
_SHOWN: Final = 100
_SUFFIXES: Final = (".yaml", ".yml", ".json")
_Loader: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_KINDS: Final[Mapping[tuple[str, str], type[ClusterObject]]] = {
    ("", "Namespace"): Namespace,
    ("", "Service"): Service,
    (names.GROUP, names.KIND): Policy,
    (names.ISTIO_GROUP, "VirtualService"): VirtualService,
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
    for name, text in _read_texts(paths, problems):
        try:
            for number, document in enumerate(yaml.load_all(text, Loader=_Loader), start=1):
                place = f"{name}, document {number}"
                items = document.get("items") if isinstance(document, dict) else None
                if document is None:
                    continue
                if _is_object(document) and document["kind"].endswith("List") and isinstance(items, list):
                    found = [(f"{place}, item {index}", item) for index, item in enumerate(items, 1)]
                else:
                    found = [(place, document)]
                for where, item in found:
                    if _is_object(item):
                        yield where, item
                    else:
                        problems.append(
                            f"{where}: this is no Kubernetes object: it has no kind; remove it, or correct it"
                        )
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = f", line {mark.line + 1}" if mark is not None else ""
            problems.append(f"{name}{line}: this is no YAML: {getattr(error, 'problem', None) or 'it cannot be read'}")
        except (RecursionError, ValueError) as error:
            problems.append(f"{name}: this cannot be read: {str(error)[:100]}")


def _is_object(document: Any) -> bool:
    return isinstance(document, dict) and isinstance(document.get("kind"), str)


def _read_texts(paths: Sequence[str], problems: list[str]) -> Iterator[tuple[str, str]]:
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
    yield from _METADATA("metadata", document.get("metadata"))
    if kind in _SPECS and "spec" in document:
        yield from _SPECS[kind]("spec", document["spec"])
    if kind is Policy:
        if document.get("spec") is None:
            yield "spec: it is missing; add it: spec: {} is a complete policy"
            return
        yield from read_spec(document["spec"])[1]


# ---- what the decoders take for granted: each yields what is wrong about a value

_Check = Callable[[str, Any], Iterator[str]]


def _text(path: str, value: Any) -> Iterator[str]:
    if not isinstance(value, str):
        yield f"{path}: {_shown(value)} is not text (in quotes)"


def _name(path: str, value: Any) -> Iterator[str]:
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_NAME:
        yield f"{path}: {_shown(value)} is no name of 1 to {_LONGEST_NAME} characters"


def _port_number(path: str, value: Any) -> Iterator[str]:
    if type(value) is not int:
        yield f"{path}: {_shown(value)} is not a whole number"
    elif not 0 < value <= _LAST_PORT:
        yield f"{path}: {value} is {'less than 1' if value < 1 else f'more than {_LAST_PORT}'}"


def _texts(path: str, value: Any) -> Iterator[str]:
    if value is not None and not isinstance(value, dict):
        yield f"{path}: {_shown(value)} is not a mapping"
    for key, item in (value or {}).items() if isinstance(value, dict) else ():
        yield from _text(f"{path}.{key}", item)


def _list_of(check: _Check) -> _Check:
    def check_list(path: str, value: Any) -> Iterator[str]:
        if not isinstance(value, list):
            yield f"{path}: {_shown(value)} is not a list"
            return
        for number, item in enumerate(value):
            yield from check(f"{path}[{number}]", item)

    return check_list


def _mapping(required: str = "", **checks: _Check) -> _Check:
    def check_mapping(path: str, value: Any) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{path}: {_shown(value)} is not a mapping" if value is not None else f"{path}: it is missing; add it"
            return
        if required and required not in value:
            yield f"{path}: {required} is missing; add it"
        for name, check in checks.items():
            if name in value:
                yield from check(f"{path}.{name}", value[name])

    return check_mapping


_METADATA: Final = _mapping("name", name=_name, namespace=_name, labels=_texts, annotations=_texts)
_PORT: Final = _mapping("port", port=_port_number, name=_text, protocol=_text, appProtocol=_text)
_HOSTS: Final = _list_of(_text)
_SPECS: Final[Mapping[type[ClusterObject], _Check]] = {
    Service: _mapping(ports=_list_of(_PORT), type=_text),
    VirtualService: _mapping(hosts=_HOSTS, gateways=_HOSTS, exportTo=_HOSTS),
}


def _shown(value: Any) -> str:
    is_scalar = value is None or isinstance(value, str | int | float)
    return printable(json.dumps(value, ensure_ascii=False) if is_scalar else repr(value), _SHOWN)


def _completed(kind: type[ClusterObject], document: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    """Return a document with what the API server would add."""
    metadata = {key: value for key, value in document["metadata"].items() if value is not None}
    added: dict[str, Any] = {"uid": "", "resourceVersion": "1", "creationTimestamp": _CREATED, "generation": 1}
    if kind is not Namespace:
        added["namespace"] = namespace
    return {**document, "metadata": {**added, **metadata}}
