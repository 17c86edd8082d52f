"""Choose free ports on the loopback interface."""

from __future__ import annotations

import secrets
import socket

from controlplane.errors import ControlPlaneError

LOOPBACK = "127.0.0.1"
FIRST, LAST = 20_000, 32_000
"""
Below the range from which Linux takes the ports of outgoing connections: a server that is stopped and started again
on its port must find it free. Not from `random`: test runs that share a seed would choose the same.
"""
TRIES = 200


def free_port() -> int:
    """Return a port on which nothing listens; someone may still be faster, so callers try again when that happens."""
    for _ in range(TRIES):
        port = FIRST + secrets.randbelow(LAST - FIRST)
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
    raise ControlPlaneError(f"no free port found between {FIRST} and {LAST} on {LOOPBACK}: end what listens there")
