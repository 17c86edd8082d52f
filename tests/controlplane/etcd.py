"""Ask etcd itself, over its JSON gateway, for what the API server does not offer."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from controlplane.ports import LOOPBACK

SECONDS = 10.0
FIRST_KEY = "AA=="  # one zero byte in base64: etcd wants some key to be asked for


def is_healthy(port: int) -> bool:
    """Tell whether etcd answers and can write."""
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/health", timeout=SECONDS) as response:
            healthy: bool = json.load(response).get("health") == "true"
    except OSError:
        return False
    return healthy


def compact(port: int) -> int:
    """Forget all history before the current revision, and return that revision."""
    revision = int(_call(port, "range", {"key": FIRST_KEY})["header"]["revision"])
    _call(port, "compaction", {"revision": str(revision), "physical": True})
    return revision


def _call(port: int, what: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        f"http://{LOOPBACK}:{port}/v3/kv/{what}",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=SECONDS) as response:
        return json.load(response)
