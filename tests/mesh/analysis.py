"""What `istioctl analyze` says of the cluster as it is."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass

from mesh.errors import MeshError
from mesh.rig import Rig

NOTHING_FOUND, ISSUES_FOUND = 0, 79
SECONDS = 120


@dataclass(frozen=True, slots=True)
class Message:
    """One thing that it found, such as IST0101 of `VirtualService shop/reviews`."""

    code: str
    level: str
    origin: str
    text: str

    def __str__(self) -> str:
        return f"{self.code} {self.level} {self.origin}: {self.text}"


def analyze(rig: Rig) -> list[Message]:
    """
    Return what it finds in all namespaces, from notes to errors.

    Errors: `MeshError` where it has not come to a result.
    """
    argv = (str(rig.programs.istioctl), "analyze", "--all-namespaces", f"--kubeconfig={rig.plane.kubeconfig}")
    done = subprocess.run([*argv, "-o", "json"], capture_output=True, text=True, check=False, timeout=SECONDS)
    return read(done.returncode, done.stdout, done.stderr)


def read(code: int, output: str, said: str) -> list[Message]:
    """Return the messages of one run; nothing at all is no result."""
    try:
        found = json.loads(output)
    except ValueError:
        found = None
    if code not in (NOTHING_FOUND, ISSUES_FOUND) or not isinstance(found, list):
        raise MeshError(f"istioctl analyze ended with {code} and no result; it said: {output}{said}")
    return [Message(item["code"], item["level"], item.get("origin", ""), item["message"]) for item in found]
