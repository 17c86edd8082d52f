"""Run kubectl against the control plane of the tests, and against nothing else."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from controlplane.errors import ControlPlaneError, KubectlError

SECONDS = 120.0
OTHER_CLUSTERS = ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "KUBERNETES_MASTER")
OTHER_SERVERS = ("--kubeconfig", "--server", "-s", "--context", "--cluster")


def clean_environment(directory: Path) -> dict[str, str]:
    """Return this process's environment without whatever names a cluster of the user's, or their kubectl preferences."""
    kept: Mapping[str, str] = {name: value for name, value in os.environ.items() if name not in OTHER_CLUSTERS}
    return {**kept, "KUBECACHEDIR": str(directory / "kubectl-cache"), "KUBERC": "off"}


def run_kubectl(
    program: Path, kubeconfig: Path, *arguments: str, stdin: str | None, env: Mapping[str, str], check: bool
) -> subprocess.CompletedProcess[str]:
    """
    Run kubectl with an explicit kubeconfig.

    Errors: `KubectlError` when it fails and `check` is set; `ControlPlaneError` when the kubeconfig is missing, or
    when the arguments name another server.
    """
    if not kubeconfig.is_file():
        raise ControlPlaneError(f"there is no kubeconfig {kubeconfig}: without it kubectl might ask a real cluster")
    for argument in arguments:
        if argument.split("=")[0] in OTHER_SERVERS:
            raise ControlPlaneError(f"kubectl {argument}: the control plane decides the server; pass kubeconfig=…")
    command = (str(program), f"--kubeconfig={kubeconfig}", *arguments)
    done = subprocess.run(command, input=stdin, env=env, capture_output=True, text=True, timeout=SECONDS, check=False)
    if check and done.returncode != 0:
        raise KubectlError(command, done.returncode, done.stdout, done.stderr)
    return done
