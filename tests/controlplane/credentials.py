"""Keys, tokens and kubeconfigs: everything that says who someone is to the API server."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
P256_KEY = "30310201010420{:064x}a00a06082a8648ce3d030107"
"""SEC 1 `ECPrivateKey` in DER: version 1, the 32-byte scalar, the curve P-256; readers compute the public half."""

ADMIN = "ci-admin"
GROUPS = {
    ADMIN: "system:masters",
    "system:kube-controller-manager": "system:masters",
    "alice": "developers",
    "bob": "developers",
    "carol": "developers",
}
"""The test identities: user → group. What `developers` may do is for each test's RBAC to say."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a client must know of the API server."""

    url: str
    ca_file: Path


def write_signing_key(path: Path) -> None:
    """
    Write a new P-256 key with which the API server signs the tokens of ServiceAccounts.

    Written by hand, because it is all that a certificate library or openssl would be needed for.
    """
    scalar = 1 + secrets.randbelow(P256_ORDER - 1)
    encoded = base64.encodebytes(bytes.fromhex(P256_KEY.format(scalar))).decode()
    write_secret(path, f"-----BEGIN EC PRIVATE KEY-----\n{encoded}-----END EC PRIVATE KEY-----\n")


def write_user_tokens(path: Path) -> dict[str, str]:
    """Write the API server's token file for the test identities and return user → token."""
    tokens = {user: secrets.token_urlsafe(24) for user in GROUPS}
    lines = [f"{token},{user},{user},{GROUPS[user]}\n" for user, token in tokens.items()]
    write_secret(path, "".join(lines))
    return tokens


def write_kubeconfig(
    path: Path, cluster: Cluster, user: str, credential: Mapping[str, str], namespace: str = "default"
) -> Path:
    """Write a kubeconfig with one context; `credential` is its user entry, `token` or `tokenFile`."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "test", "cluster": {"server": cluster.url, "certificate-authority": str(cluster.ca_file)}}
        ],
        "users": [{"name": user, "user": dict(credential)}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": user, "namespace": namespace}}],
        "current-context": "test",
    }
    return write_secret(path, yaml.safe_dump(document, sort_keys=False))


def with_server(base: Path, url: str, path: Path) -> Path:
    """Copy a kubeconfig with another server address; names and credentials stay."""
    document: dict[str, Any] = yaml.safe_load(base.read_text())
    for cluster in document["clusters"]:
        cluster["cluster"]["server"] = url
    return write_secret(path, yaml.safe_dump(document, sort_keys=False))


def token_request(seconds: int, pod: str | None = None) -> str:
    """Return the body that asks for a ServiceAccount token, bound to a Pod if one is named; at least 600 s."""
    bound = {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": pod}} if pod is not None else {}
    return json.dumps(
        {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds, **bound},
        }
    )


def write_secret(path: Path, text: str) -> Path:
    """Write a file that only its owner reads, by renaming: a client that reads it meanwhile sees old or new, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.touch(mode=0o600)
    unfinished.write_text(text)
    return unfinished.rename(path)
