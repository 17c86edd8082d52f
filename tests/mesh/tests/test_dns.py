"""The resolver says of Services what a cluster's resolver says."""

import struct
from typing import Any

import pytest

from mesh.dns_process import reply

ADDRESS = {"spec": {"type": "ClusterIP", "clusterIP": "10.96.0.7"}}
SERVICES: dict[tuple[str, str], dict[str, Any]] = {
    ("shop", "reviews"): ADDRESS,
    ("shop", "db"): {"spec": {"type": "ClusterIP", "clusterIP": "None"}, "addresses": ["198.19.0.1", "198.19.0.2"]},
    ("shop", "idle"): {"spec": {"type": "ClusterIP", "clusterIP": "None"}, "addresses": []},
    ("alice", "reviews"): {"spec": {"type": "ExternalName", "externalName": "reviews.shop.svc.cluster.local"}},
    ("bob", "reviews"): {"spec": {"type": "ExternalName", "externalName": "placeholder.local"}},
}
A, AAAA = 1, 28


def look_up(namespace: str, name: str) -> dict[str, Any] | None:
    return SERVICES.get((namespace, name))


def asked(name: str, kind: int = A) -> tuple[int, int, bytes]:
    """Return code, number of records, and the last four bytes of the answer."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    query = struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", kind, 1)
    answer = reply(query, look_up)
    number, flags, questions, records, _, _ = struct.unpack_from(">HHHHHH", answer)
    assert (number, questions) == (7, 1)
    return flags & 0xF, records, answer[-4:]


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("reviews.shop.svc.cluster.local", A, (0, 1, bytes([10, 96, 0, 7]))),
        ("REVIEWS.shop.svc.cluster.local", A, (0, 1, bytes([10, 96, 0, 7]))),
        ("reviews.alice.svc.cluster.local", A, (0, 2, bytes([10, 96, 0, 7]))),
        ("db.shop.svc.cluster.local", A, (0, 2, bytes([198, 19, 0, 2]))),
    ],
    ids=["a Service", "in upper case", "an alias, with what it leads to", "a headless Service, by its endpoints"],
)
def test_an_address(name: str, kind: int, expected: tuple[int, int, bytes]) -> None:
    assert asked(name, kind) == expected


@pytest.mark.parametrize(
    ("name", "kind", "code", "records"),
    [
        ("reviews.shop.svc.cluster.local", AAAA, 0, 0),
        ("reviews.bob.svc.cluster.local", A, 0, 1),
        ("ratings.shop.svc.cluster.local", A, 3, 0),
        ("idle.shop.svc.cluster.local", A, 3, 0),
        ("reviews.shop", A, 3, 0),
        ("example.com", A, 3, 0),
    ],
    ids=[
        "no IPv6",
        "a name that leads nowhere",
        "no Service",
        "no endpoints",
        "not the full name",
        "not of the cluster",
    ],
)
def test_no_address(name: str, kind: int, code: int, records: int) -> None:
    assert asked(name, kind)[:2] == (code, records)
