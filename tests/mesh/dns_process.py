"""
A resolver for Services, as CoreDNS is in a cluster: `python -m mesh.dns_process ADDRESS KUBECONFIG`.

It asks the API server at each query, so no answer is older than the cluster: an address for a Service, the
addresses of its endpoints for a headless one, the other name for an ExternalName Service and what that leads to, no such
name for everything else.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import yaml

from controlplane.client import Client
from mesh.lines import Json

SUFFIX = ".svc.cluster.local"
A, CNAME, INTERNET = 1, 5, 1
HEADER = struct.Struct(">HHHHHH")
ANSWER_FLAGS, NO_SUCH_NAME = 0x8580, 3
TTL = 1

Record = tuple[str, int, bytes]
Lookup = Callable[[str, str], Json | None]


def reply(query: bytes, lookup: Lookup) -> bytes:
    """Return the answer to one query; `lookup` gives the Service of a name in a namespace, a headless one with `addresses`."""
    name, end = _read_name(query, HEADER.size)
    (asked,) = struct.unpack_from(">H", query, end)
    records = list(_records(name, lookup))
    found = [record for record in records if record[1] == CNAME or record[1] == asked]
    flags = ANSWER_FLAGS | (0 if records else NO_SUCH_NAME)
    header = HEADER.pack(struct.unpack_from(">H", query)[0], flags, 1, len(found), 0, 0)
    return header + query[HEADER.size : end + 4] + b"".join(map(_encode, found))


def _records(name: str, lookup: Lookup) -> Iterator[Record]:
    """Yield what is known of a name; an ExternalName Service leads on, at most once."""
    for _ in range(2):
        first, _, namespace = name.removesuffix(SUFFIX).partition(".")
        service = lookup(namespace, first) if name.endswith(SUFFIX) and "." not in namespace else None
        if service is None:
            return
        if service["spec"]["type"] != "ExternalName":
            for address in service.get("addresses", [service["spec"]["clusterIP"]]):
                yield name, A, ipaddress.ip_address(address).packed
            return
        other = service["spec"]["externalName"].rstrip(".")
        yield name, CNAME, _write_name(other)
        name = other


def _encode(record: Record) -> bytes:
    name, kind, data = record
    return _write_name(name) + struct.pack(">HHIH", kind, INTERNET, TTL, len(data)) + data


def _read_name(query: bytes, at: int) -> tuple[str, int]:
    labels = []
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode().lower())
        at += 1 + length
    return ".".join(labels), at + 1


def _write_name(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def _asks(client: Client) -> Lookup:
    def lookup(namespace: str, name: str) -> Json | None:
        answer = client.fetch("GET", f"/api/v1/namespaces/{namespace}/services/{name}")
        if answer.status != 200:
            return None
        service: Json = json.loads(answer.text)
        if service["spec"].get("clusterIP") == "None":
            service["addresses"] = addresses(namespace, name)
        return service

    def addresses(namespace: str, name: str) -> list[str]:
        """Return the addresses behind a headless Service."""
        label = f"kubernetes.io/service-name={name}"
        path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices?labelSelector={quote(label)}"
        slices = json.loads(client.fetch("GET", path).text)["items"]
        return [address for found in slices for item in found["endpoints"] or () for address in item["addresses"]]

    return lookup


def main() -> None:
    """Answer until killed."""
    config = yaml.safe_load(Path(sys.argv[2]).read_text())
    cluster = config["clusters"][0]["cluster"]
    lookup = _asks(
        Client(cluster["server"], Path(cluster["certificate-authority"]), config["users"][0]["user"]["token"])
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((sys.argv[1], 53))
        while True:
            query, sender = server.recvfrom(512)
            server.sendto(reply(query, lookup), sender)


if __name__ == "__main__":
    main()
