"""The control plane can be used by hand."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.controlplane


def test_run_gives_a_command_its_own_cluster_and_returns_its_code(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "TMPDIR": str(tmp_path)}
    env["KUBECONFIG"] = "/somebody/elses/cluster"
    script = "kubectl get namespaces --output=name && exit 7"
    command = (sys.executable, "-m", "controlplane", "run", "--", "sh", "-c", script)
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert "namespace/kube-system" in done.stdout
    assert done.returncode == 7
    assert list(tmp_path.iterdir()) == []
