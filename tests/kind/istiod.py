"""
istiod as a Pod of the kind cluster, with its validating webhook: it judges every VirtualService that is written.

Only istiod itself, from its Go module: sidecars would take an image of Istio's proxy, and `make traffic` has those.
"""

from __future__ import annotations

from pathlib import Path

from controlplane.progress import Say
from kind.archive import Image, write_archive
from kind.cluster import Cluster
from kind.node_image import machine
from mesh.programs import ensure_programs, istio_version

MANIFEST = Path(__file__).with_name("istiod.yaml")
PROGRAM = "usr/local/bin/pilot-discovery"


def load_istiod(cluster: Cluster, directory: Path, say: Say) -> str:
    """Bring istiod's image into the cluster and return what installs it there, as YAML."""
    name = f"virtualservice-operator/istiod:{istio_version()}"
    archive = directory / "istiod.tar"
    program = ensure_programs(say).pilot_discovery
    write_archive(archive, [Image(name, {PROGRAM: program}, [f"/{PROGRAM}"])], machine(say))
    cluster.engine.docker("load", f"--input={archive}")
    archive.unlink()
    cluster.kind.load_docker_image(name)
    return MANIFEST.read_text().replace("{image}", name)
