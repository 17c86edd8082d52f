"""Use the mesh of the tests by hand: `python -m mesh build`, `… latency`, `… up`."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from collections.abc import Sequence

from controlplane.build import ensure_programs as ensure_control_plane
from controlplane.errors import ControlPlaneError
from mesh.istiod import Options
from mesh.latency import measure_pods, measure_policies
from mesh.programs import ensure_programs
from mesh.rig import running_rig


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command and return the exit code."""
    parser = argparse.ArgumentParser(prog="mesh", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build", help="build the programs now, so that the first test does not")
    commands.add_parser("up", help="start a mesh and keep it until Ctrl-C")
    latency = commands.add_parser("latency", help="measure the time from an event to the first request that follows it")
    latency.add_argument("--tries", type=int, default=30)
    latency.add_argument(
        "--debounce", default="100ms", help="how long istiod waits for more changes; Istio's default is 100ms"
    )
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin with it ignored
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        ensure_control_plane()
        if options.command == "build":
            print(ensure_programs().pilot_discovery.parent)
        elif options.command == "up":
            _stay()
        else:
            _measure(options.tries, options.debounce)
    except ControlPlaneError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _stay() -> None:
    with running_rig() as rig:
        rig.callers.ensure(["shop"])
        inside = f"nsenter --net=/proc/{rig.callers['shop'].pod.process.pid}/ns/net"
        print(
            f"{rig.directory}\nA mesh runs until Ctrl-C, in a network of its own; the pod of a caller: {inside}",
            flush=True,
        )
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


def _measure(tries: int, debounce: str) -> None:
    with running_rig(options=Options(debounce=debounce)) as rig:
        rig.callers.ensure(["shop"])
        print(f"istiod waits {debounce} for more changes")
        for times in (*measure_policies(rig, tries), measure_pods(rig, tries)):
            print(times, flush=True)


if __name__ == "__main__":
    sys.exit(main())
