"""
`python -m monitoring build` makes Prometheus ready. `python -m monitoring picture` (make dashboard) draws the dashboard.

For the picture an operator is at work and in trouble, and a real Prometheus scrapes it.
"""

import random
import sys
import tempfile
import time
from pathlib import Path

from cluster.conftest import ACCOUNT, FLAGS
from cluster.trouble import denying_policy, grant, overload, shop, split_rights
from cluster.world import World, eventually
from controlplane.build import istio_crds
from controlplane.server import ControlPlane
from monitoring.picture import draw
from monitoring.programs import ensure_programs
from monitoring.prometheus import ROOT, Prometheus
from operator_process import OperatorProcess

SERVICES = tuple(f"s{number}" for number in range(30))
PICTURE = ROOT / "docs/dashboard.png"


def main(arguments: list[str]) -> None:
    """Do what is asked."""
    match arguments:
        case ["build"]:
            ensure_programs()
        case ["picture"]:
            picture()
        case _:
            sys.exit("usage: python -m monitoring build|picture")


def picture() -> None:
    """Play for about three minutes and write the picture."""
    programs = ensure_programs()
    crds = [istio_crds(), ROOT / "crds"]
    with tempfile.TemporaryDirectory() as directory, ControlPlane.start(Path(directory) / "plane", crds=crds) as plane:
        plane.kubectl("apply", "-k", str(ROOT / "kustomize/base"))
        split_rights(plane)
        kubeconfig = plane.kubeconfig_for_service_account(*ACCOUNT)
        with (
            OperatorProcess(kubeconfig, Path(directory) / "operator", *FLAGS) as operator,
            Prometheus(programs, Path(directory) / "prometheus", [operator.port]) as prometheus,
        ):
            eventually("it is scraped", lambda: prometheus.query("virtualservice_operator_leader"))
            started = time.time()
            play(World.new(plane))
            time.sleep(5)
            draw(prometheus, started, time.time(), PICTURE)
    print(f"{PICTURE.relative_to(ROOT)}: {PICTURE.stat().st_size // 1024} KiB")


def play(world: World) -> None:
    """Let a shop live, and trouble come and go in two other namespaces."""
    for developer in ("alice", "bob"):
        world.namespace(developer, developer=developer)
    shop(world, *SERVICES)
    grant(world, "shop")
    world.policy(
        "defaults", "shop", developers=[{"name": name, "namespaces": [world.ns(name)]} for name in ("alice", "bob")]
    )
    world.wait_ready("defaults", "shop")
    live(world, 30)
    shop(world, *SERVICES[:12], name="without-rights")
    live(world, 25)
    world.namespace("denied")
    grant(world, "denied")
    with denying_policy(world, "denied"):
        for name in SERVICES[:6]:
            world.service(name, "denied")
        world.policy("defaults", "denied", developers=[])
        live(world, 20)
        grant(world, "without-rights")
        live(world, 15)
    with overload(world.plane):
        world.policy("wide", "shop", routedToHeader="x-routed-to", developers=[])
        live(world, 20)
    live(world, 15)
    shop(world, *SERVICES[:9], name="forgotten")
    live(world, 15)


def live(world: World, seconds: float) -> None:
    """Let developers deploy and remove their copies, about four times a second."""
    chosen, end = random.Random(1), time.monotonic() + seconds
    while time.monotonic() < end:
        developer, name = chosen.choice(("alice", "bob")), chosen.choice(SERVICES)
        if chosen.random() < 0.6:
            world.service(name, developer)
        elif world.get(f"/api/v1/namespaces/{world.ns(developer)}/services/{name}") is not None:
            world.delete_service(name, developer)
        time.sleep(0.2)


if __name__ == "__main__":
    main(sys.argv[1:])
