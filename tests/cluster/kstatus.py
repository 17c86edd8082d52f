"""
What kstatus makes of an object: the rules by which Flux, kpt and Argo CD's progressive tools wait.

Source: kubernetes-sigs/cli-utils:pkg/kstatus/status/generic.go, status.go (checked against its rules in words).
"""

from collections.abc import Mapping
from enum import Enum
from typing import Any


class Kstatus(Enum):
    """The words of kstatus that a custom resource can come to."""

    CURRENT = "Current"
    IN_PROGRESS = "InProgress"
    FAILED = "Failed"


def kstatus(stored: Mapping[str, Any]) -> Kstatus:
    """Return how an object stands, from what is stored alone."""
    status = stored.get("status", {})
    if status.get("observedGeneration") not in (None, stored["metadata"]["generation"]):
        return Kstatus.IN_PROGRESS
    conditions = {item["type"]: item["status"] for item in status.get("conditions", ())}
    if conditions.get("Reconciling") == "True":
        return Kstatus.IN_PROGRESS
    if conditions.get("Stalled") == "True":
        return Kstatus.FAILED
    return Kstatus.CURRENT if conditions.get("Ready", "True") == "True" else Kstatus.IN_PROGRESS
