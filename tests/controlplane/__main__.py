"""Use the control plane of the tests by hand: `python -m controlplane build`, `… up`, `… run -- COMMAND`."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from controlplane.build import ensure_programs, istio_crds
from controlplane.errors import ControlPlaneError
from controlplane.kubectl import clean_environment
from controlplane.server import ControlPlane


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command and return the exit code."""
    options = _parse(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        if options.command == "build":
            print(ensure_programs().kube_apiserver.parent)
            return 0
        with _started(options) as plane:
            return _run(plane, options.argv) if options.command == "run" else _stay(plane)
    except ControlPlaneError as error:
        print(error, file=sys.stderr)
        return 1


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="controlplane", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build", help="build the programs now, so that the first test does not")
    up = commands.add_parser("up", help="start a control plane and keep it until Ctrl-C")
    run = commands.add_parser("run", help="start a control plane, run a command with KUBECONFIG set, stop it")
    for command in (up, run):
        command.add_argument("--crd", type=Path, action="append", default=[], help="a file to install; repeatable")
        command.add_argument("--istio", action="store_true", help="install Istio's CustomResourceDefinitions")
    run.add_argument("argv", nargs="+", metavar="COMMAND", help="after `--`")
    return parser.parse_args(arguments)


@contextlib.contextmanager
def _started(options: argparse.Namespace) -> Iterator[ControlPlane]:
    ensure_programs()
    crds = [*options.crd, *([istio_crds()] if options.istio else [])]
    directory = Path(tempfile.mkdtemp(prefix="controlplane-"))
    with ControlPlane.start(directory, crds=crds) as plane:
        yield plane


def _run(plane: ControlPlane, argv: Sequence[str]) -> int:
    """Run the command; its own kubectl is the one that fits. Ctrl-C reaches it too, so we wait for its end."""
    path = f"{plane.programs.kubectl.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    env = {**clean_environment(plane.directory), "KUBECONFIG": str(plane.kubeconfig), "PATH": path}
    with subprocess.Popen(argv, env=env) as process:
        try:
            while True:
                with contextlib.suppress(KeyboardInterrupt):
                    return process.wait()
        finally:
            process.terminate()


def _stay(plane: ControlPlane) -> int:
    print(f"export KUBECONFIG={shlex.quote(str(plane.kubeconfig))}", flush=True)
    print("The control plane runs until Ctrl-C; then its folder goes, too.", file=sys.stderr)
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()
    return 0


if __name__ == "__main__":
    sys.exit(main())
