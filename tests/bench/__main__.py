"""
`make bench`: the time the operator takes for N Services against a bare client sending the same requests.

Interleaved A B A B, so that a machine that slows down slows both; the ratio is what counts.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from bench import load
from controlplane.build import ensure_programs, istio_crds
from controlplane.server import ControlPlane
from operator_process import OperatorProcess

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 900.0


def main() -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    ensure_programs()
    with (
        tempfile.TemporaryDirectory(prefix="vso-bench-") as directory,
        ControlPlane.start(Path(directory) / "plane", crds=[istio_crds(), ROOT / "crds"], controllers=False) as plane,
    ):
        plane.kubectl("apply", "-k", str(ROOT / "kustomize/base"))
        print(f"{options.services} Services, two copies each; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        load.load_services(plane, options.services)
        measure(plane, Path(directory), options.services, options.rounds)


def measure(plane: ControlPlane, directory: Path, services: int, rounds: int) -> None:
    """Print A, B and B/A for each round, and the medians."""
    kubeconfig = plane.kubeconfig_for_service_account("virtualservice-operator", "virtualservice-operator")
    ratios, bares = [], []
    print("| round | bare client s | operator s | ratio | writes |\n|---|---|---|---|---|")
    run_operator(plane, kubeconfig, directory, services)  # warms the API server, and gives the documents
    documents = load.written_documents(plane)
    for number in range(1, rounds + 1):
        clear(plane)
        bare = load.send_bare(plane, documents)
        clear(plane)
        before = load.virtual_service_writes(plane)
        seconds = run_operator(plane, kubeconfig, directory, services)
        ratios.append(seconds / bare)
        bares.append(bare)
        writes = load.virtual_service_writes(plane) - before
        print(f"| {number} | {bare:.2f} | {seconds:.2f} | {ratios[-1]:.2f} | {writes} |", flush=True)
    print(f"\nratio: median {statistics.median(ratios):.2f}, range {min(ratios):.2f}-{max(ratios):.2f}")
    if max(bares) > 1.5 * min(bares):
        print(f"the bare client itself ranged from {min(bares):.2f} to {max(bares):.2f} s: a noisy machine")


def run_operator(plane: ControlPlane, kubeconfig: Path, directory: Path, services: int) -> float:
    """Return the seconds from the policy's creation to the last VirtualService written, by the API server's clock."""
    with OperatorProcess(kubeconfig, directory):
        started = time.time()
        plane.request("POST", load.POLICY_PATH, load.POLICY)
        load.wait_for("all are programmed", lambda: load.programmed(plane) == services, SECONDS)
        return time.time() - started


def clear(plane: ControlPlane) -> None:
    """Take away the policy and all VirtualServices."""
    if plane.request("GET", load.POLICY_PATH)["items"]:
        plane.request("DELETE", f"{load.POLICY_PATH}/defaults")
    plane.request("DELETE", load.VIRTUAL_SERVICES)
    load.wait_for("nothing is left", lambda: not plane.request("GET", load.VIRTUAL_SERVICES)["items"], SECONDS)


if __name__ == "__main__":
    main()
