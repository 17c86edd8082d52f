"""Use the images and the cluster by hand: `python -m kind build`, `… run -- COMMAND`."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence

from controlplane.errors import ControlPlaneError
from controlplane.progress import say_to_stderr
from kind.base_image import ensure_base
from kind.cluster import open_cluster
from kind.engine import docker_answers
from kind.node_image import ensure_node_archive
from kind.programs import ensure_kind


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command and return the exit code."""
    parser = argparse.ArgumentParser(prog="kind", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build", help="make now what the first test would make, so that it does not")
    run = commands.add_parser("run", help="create a cluster, run a command with KUBECONFIG set, delete the cluster")
    run.add_argument("argv", nargs="+", metavar="COMMAND", help="after `--`")
    options = parser.parse_args(arguments)
    try:
        return _build() if options.command == "build" else _run(options.argv)
    except ControlPlaneError as error:
        print(error, file=sys.stderr)
        return 1


def _build() -> int:
    """Make what this machine will need: images only where there is no Docker that could pull them."""
    print(ensure_kind(say_to_stderr)[0].parent)
    if not docker_answers():
        print(ensure_node_archive(say_to_stderr))
        print(ensure_base(say_to_stderr).archive)
    return 0


def _run(argv: Sequence[str]) -> int:
    """Run the command where the cluster's ports are, with its kubectl first in PATH."""
    with open_cluster("vso-by-hand", "by-hand", keep=False, say=say_to_stderr) as cluster:
        path = f"{cluster.kind.kubectl_path.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        env = {**os.environ, "KUBECONFIG": str(cluster.kind.kubeconfig_path), "PATH": path}
        return subprocess.run([*cluster.engine.enter, *argv], env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
