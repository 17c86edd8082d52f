"""
Read request tables: what is asked of which cluster, and what should come back.

A file has one or more documents of kind RequestTests. Each says what the cluster has in `cluster` (files and folders,
relative to its own) and `objects` (which replace one of the same name), less `without` ("Kind namespace/name"). With
`continues: true` the cluster of the document before is changed into this one, as users change it; otherwise all begins anew.

    request   to, port (80), from (a namespace; that of `to` unless given), protocol (http, grpc, websocket), method, path, headers
    expect    destination (`name.namespace` of who answers) or status; flag (Envoy's, such as NC), policy or rule (which
              route took it), headers, body
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mesh.cluster import Identity, identity
from mesh.errors import MeshError
from mesh.lines import Json
from mesh.requests import GRPC, HTTP, WEBSOCKET, Request

KIND = "RequestTests"
FIELDS = {"apiVersion", "kind", "title", "continues", "cluster", "objects", "without", "tests"}
REQUEST_FIELDS = {"from", "to", "port", "protocol", "method", "path", "headers"}
EXPECT_FIELDS = {"destination", "status", "flag", "policy", "rule", "headers", "body"}
PROTOCOLS = {HTTP, GRPC, WEBSOCKET}
OPERATOR = "app.kubernetes.io/managed-by"


@dataclass(frozen=True, slots=True)
class Row:
    """One request and what should come of it."""

    name: str
    request: Request
    expect: Json


@dataclass(frozen=True, slots=True)
class Table:
    """What is asked of one state of the cluster; `number` counts the documents of the file."""

    file: Path
    number: int
    title: str
    continues: bool
    documents: tuple[Json, ...]
    rows: tuple[Row, ...]

    @property
    def name(self) -> str:
        """The file's name and the title."""
        return f"{self.file.stem}: {self.title}" if self.title else self.file.stem


def read_tables(file: Path) -> list[Table]:
    """
    Return the tables of a file in their order.

    Errors: `MeshError` that names the file, the document and the field.
    """
    documents = [item for item in yaml.safe_load_all(file.read_text()) if item is not None]
    return [_table(file, number, document) for number, document in enumerate(documents, 1)]


def _table(file: Path, number: int, document: Json) -> Table:
    where = f"{file.name}, document {number}"
    if document.get("kind") != KIND:
        raise MeshError(f"{where}: kind is {document.get('kind')}, write {KIND}")
    _know(document, FIELDS, where)
    rows = tuple(_row(item, f"{where}, {item.get('name')!r}") for item in document["tests"])
    names = [row.name for row in rows]
    if len(set(names)) < len(names):
        raise MeshError(
            f"{where}: two tests have the same name: {sorted({name for name in names if names.count(name) > 1})}"
        )
    found = tuple(_cluster(file, document, where))
    return Table(file, number, document.get("title", ""), document.get("continues", False), found, rows)


def _row(item: Json, where: str) -> Row:
    asked, expect = item["request"], item["expect"]
    _know(asked, REQUEST_FIELDS, f"{where}, request")
    _know(expect, EXPECT_FIELDS, f"{where}, expect")
    if ("destination" in expect) == ("status" in expect):
        raise MeshError(f"{where}: expect says either destination or status")
    if asked.get("protocol", HTTP) not in PROTOCOLS:
        raise MeshError(f"{where}: protocol is {asked['protocol']}, write one of {', '.join(sorted(PROTOCOLS))}")
    return Row(item["name"], _request(asked), expect)


def _request(asked: Json) -> Request:
    namespace = ([*asked["to"].split("."), "shop"])[1]
    return Request(
        caller=asked.get("from", namespace),
        to=asked["to"],
        port=asked.get("port", 80),
        protocol=asked.get("protocol", HTTP),
        method=asked.get("method", "GET"),
        path=asked.get("path", "/"),
        headers=asked.get("headers", {}),
    )


def _cluster(file: Path, document: Json, where: str) -> Iterator[Json]:
    """Yield the objects of a table's cluster; what the operator itself has written is left to the operator."""
    found: dict[Identity, Json] = {}
    for name in document.get("cluster", ()):
        for item in _read(file.parent / name):
            found[identity(item)] = item
    for item in document.get("objects", ()):
        found[identity(item)] = item
    for words in document.get("without", ()):
        kind, _, place = words.partition(" ")
        namespace, _, name = place.rpartition("/")
        if found.pop((kind, namespace, name), None) is None:
            raise MeshError(f"{where}: without names {words}, which the cluster does not have")
    for item in found.values():
        if OPERATOR not in item["metadata"].get("labels", {}):
            yield item


def _read(path: Path) -> Iterator[Json]:
    for file in sorted(path.glob("*.yaml")) if path.is_dir() else [path]:
        for item in yaml.safe_load_all(file.read_text()):
            if item is not None:
                yield item


def _know(found: dict[str, Any], fields: set[str], where: str) -> None:
    unknown = sorted(set(found) - fields)
    if unknown:
        raise MeshError(f"{where}: unknown field {unknown[0]!r}; known are {', '.join(sorted(fields))}")
