"""Use the images and the cluster by hand: `python -m kind build`, `… image`, `… run -- COMMAND`."""

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
from kind.engine import docker_answers, open_engine, scratch
from kind.node_image import ensure_node_archive
from kind.operator_image import build_operator_image
from kind.paths import ROOT
from kind.programs import ensure_kind


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command and return the exit code."""
    parser = argparse.ArgumentParser(prog="kind", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build", help="make now what the first test would make, so that it does not")
    commands.add_parser("image", help="build the operator's image, in Docker where that runs, else into a file")
    run = commands.add_parser("run", help="create a cluster, run a command with KUBECONFIG set, delete the cluster")
    run.add_argument("argv", nargs="+", metavar="COMMAND", help="after `--`")
    options = parser.parse_args(arguments)
    try:
        match options.command:
            case "build":
                return _build()
            case "image":
                return _image()
        return _run(options.argv)
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


def _image() -> int:
    """Build the operator's image; an engine of our own goes with this process, so the image is saved from it."""
    with scratch() as (supervisor, directory), open_engine(supervisor, directory, say_to_stderr) as engine:
        name = build_operator_image(engine, directory, say_to_stderr)
        if engine.is_ours:
            archive = ROOT / "build" / f"{name.replace(':', '-')}.tar"
            archive.parent.mkdir(exist_ok=True)
            engine.docker("save", f"--output={archive}", name)
            say_to_stderr(f"no Docker runs here, so the image is in a file: kind load image-archive {archive}")
        print(name)
    return 0


def _run(argv: Sequence[str]) -> int:
    """Run the command where the cluster's ports are, with its kubectl first in PATH."""
    with open_cluster("vso-by-hand", keep=False, say=say_to_stderr) as cluster:
        path = f"{cluster.kind.kubectl_path.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        env = {**os.environ, "KUBECONFIG": str(cluster.kind.kubeconfig_path), "PATH": path}
        return subprocess.run([*cluster.engine.enter, *argv], env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
