"""
The figures of docs/adr/0002: our informer against `kubernetes.informer.SharedInformer`, over the same Services.

    PYTHONPATH=tests .venv/bin/python -m bench.informers

Each runs in a process of its own: CPU and memory are the process's, after the list and after `EVENTS` changes.
"""

import asyncio
import gc
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from bench import load
from controlplane.build import ensure_programs
from controlplane.server import ControlPlane

SERVICES = 4000
EVENTS = 2000
SECONDS = 300.0


def main() -> None:
    """Print a table of both."""
    ensure_programs()
    with (
        tempfile.TemporaryDirectory(prefix="vso-informers-") as directory,
        ControlPlane.start(Path(directory) / "plane", controllers=False) as plane,
    ):
        load.load_services(plane, SERVICES, load.DEVELOPERS[:0])
        print("| informer | list CPU ms/object | list MiB/1000 objects | event CPU ms |\n|---|---|---|---|")
        for name in ("ours", "SharedInformer"):
            print_row(name, plane)


def print_row(name: str, plane: ControlPlane) -> None:
    """Run one informer in a process, change Services, and print what it cost."""
    argv = [sys.executable, "-m", "bench.informers", name, str(plane.kubeconfig)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        listed = json.loads(process.stdout.readline())
        for number in range(EVENTS):
            path = f"/api/v1/namespaces/{load.NAMESPACE}/services/s{number % SERVICES:05d}"
            patch = {"metadata": {"labels": {"round": f"{name}-{number}"}}}
            plane.request("PATCH", path, patch, "application/merge-patch+json")
        changed = json.loads(process.stdout.readline())
        process.stdin.close()
    cpu = (changed["cpu"] - listed["cpu"]) / EVENTS * 1000
    per_object = (listed["cpu"] - listed["cpu_before"]) / listed["objects"] * 1000
    memory = (listed["rss"] - listed["rss_before"]) / listed["objects"] * 1000
    print(f"| {name} | {per_object:.2f} | {memory:.1f} | {cpu:.2f} |", flush=True)


def report(count: int, before: dict[str, float]) -> None:
    """Tell the parent what this process has used so far."""
    print(json.dumps({"objects": count, **usage(), **{f"{key}_before": value for key, value in before.items()}}))
    sys.stdout.flush()


def usage() -> dict[str, float]:
    """Return CPU seconds, and resident MiB after a collection."""
    gc.collect()
    used = resource.getrusage(resource.RUSAGE_SELF)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {"cpu": used.ru_utime + used.ru_stime, "rss": pages * resource.getpagesize() / 2**20}


def forget(_: object) -> None:
    """Take a key and do nothing with it."""


async def run_ours(kubeconfig: str) -> None:
    """Feed a store with our informer."""
    from virtualservice_operator.controller.store import Store
    from virtualservice_operator.core.objects import ClusterObject, Service
    from virtualservice_operator.core.resolution import PlanSettings
    from virtualservice_operator.kube.client import KubeClient
    from virtualservice_operator.kube.connection import Source
    from virtualservice_operator.kube.informer import Informer, Timing

    listed, changed = asyncio.Event(), asyncio.Event()
    seen = 0

    class CountingStore(Store):
        def begin_list(self, kind: type[ClusterObject]) -> None: ...

        def replace_all(self, kind: type[ClusterObject], items: Iterable[ClusterObject], version: int) -> bool:
            is_taken = super().replace_all(kind, items, version)
            listed.set()
            return is_taken

        def put(self, item: ClusterObject) -> None:
            nonlocal seen
            super().put(item)
            seen += listed.is_set()
            if seen == EVENTS:
                changed.set()

    store = CountingStore(PlanSettings(), forget, forget)
    async with KubeClient(Source(kubeconfig)) as client:
        before = usage()
        task = asyncio.create_task(Informer(client, Service, store, Timing()).run())
        await asyncio.wait_for(listed.wait(), SECONDS)
        report(sum(1 for _ in store.snapshot.all_of(Service)), before)
        await asyncio.wait_for(changed.wait(), SECONDS)
        report(SERVICES, before)
        task.cancel()


def run_shared(kubeconfig: str) -> None:
    """Fill the cache of a SharedInformer."""
    from kubernetes import client, config
    from kubernetes.informer import SharedInformer

    config.load_kube_config(kubeconfig)
    changed = threading.Event()
    seen = 0

    def count(_: object) -> None:
        nonlocal seen
        seen += 1
        if seen == EVENTS:
            changed.set()

    core = client.CoreV1Api()
    before = usage()
    informer = SharedInformer(core.list_service_for_all_namespaces)
    informer.add_event_handler("MODIFIED", count)
    informer.start()
    deadline = time.monotonic() + SECONDS
    while len(informer.cache.list_keys()) < SERVICES and time.monotonic() < deadline:
        time.sleep(0.05)
    report(len(informer.cache.list_keys()), before)
    changed.wait(SECONDS)
    report(SERVICES, before)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    elif sys.argv[1] == "ours":
        asyncio.run(run_ours(sys.argv[2]))
    else:
        run_shared(sys.argv[2])
