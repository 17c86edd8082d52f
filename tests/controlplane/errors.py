"""
What can go wrong with the control plane of the tests.

    ControlPlaneError
     ├── BuildError     a program could not be found or built
     ├── ProcessError   a program did not start, or ended too early
     ├── KubectlError   kubectl answered with an error
     └── ApiError       the API server answered with an error
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class ControlPlaneError(Exception):
    """The control plane of the tests cannot do what it was asked for."""


class BuildError(ControlPlaneError):
    """A program of the control plane could not be found or built."""


class ProcessError(ControlPlaneError):
    """A program of the control plane did not start, or ended too early."""


class KubectlError(ControlPlaneError):
    """kubectl ended with an error: `command`, `returncode`, `stdout` and `stderr` say which."""

    def __init__(self, command: Sequence[str], returncode: int, stdout: str, stderr: str) -> None:
        super().__init__(f"{' '.join(command)} ended with {returncode}\nstdout: {stdout}\nstderr: {stderr}")
        self.command = tuple(command)
        self.returncode = returncode
        self.stdout = stdout
        self.stderr = stderr


class ApiError(ControlPlaneError):
    """The API server answered with an error: `status` is its code, `body` its words."""

    def __init__(self, method: str, path: str, status: int, body: str) -> None:
        super().__init__(f"{method} {path} was answered with {status}: {body}")
        self.method = method
        self.path = path
        self.status = status
        self.body = body


def last_lines(path: Path, count: int = 20) -> str:
    """Return the end of a log file for an error message; a missing file is said, not raised."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return f"(there is no {path})"
    return "\n".join(lines[-count:]) or "(it is empty)"
