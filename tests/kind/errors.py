"""What can go wrong before there is a cluster."""

from __future__ import annotations

from controlplane.errors import ControlPlaneError


class KindError(ControlPlaneError):
    """There is no kind cluster; the message says what is missing and what to do."""
