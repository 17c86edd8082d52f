"""
A kind cluster for one test run, behind pytest-kind's `KindCluster`.

Which one, in this order: the cluster of the kubeconfig that KIND_KUBECONFIG names; a new one in the Docker that runs
here, from the official node image where it can be pulled; a new one from the node image made here, in an engine of our
own where no Docker runs. The tests are the same.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from pytest_kind import KindCluster

from controlplane.progress import Say
from controlplane.supervisor import Supervisor
from kind.engine import Engine, docker_answers, open_engine, scratch
from kind.errors import KindError
from kind.network import connect_nodes
from kind.node_image import ensure_node_archive
from kind.operator_image import build_operator_image
from kind.paths import NODE
from kind.programs import ensure_kind, official_node_image

GIVEN = "KIND_KUBECONFIG"
NODE_IMAGE = "virtualservice-operator/node"
READY_SECONDS = 120
NODES = [{"role": "control-plane"}, {"role": "worker"}]


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that is ready, with the operator's image in it."""

    kind: KindCluster
    image: str
    engine: Engine


@contextmanager
def open_cluster(name: str, *, keep: bool, say: Say) -> Iterator[Cluster]:
    """Give a ready cluster that has the operator's image; what was made for it is removed at the end, however it comes."""
    if os.environ.get(GIVEN) and not docker_answers():
        raise KindError(f"{GIVEN} is set, but no Docker answers: the operator's image is loaded from there")
    with scratch() as (supervisor, directory):
        kind, kubectl = ensure_kind(say)
        with open_engine(supervisor, directory, say) as engine, _environment(engine, directory):
            image = build_operator_image(engine, directory, say)
            cluster = _cluster(name, directory, kind, _entering(engine, kubectl, directory))
            with _created(cluster, engine, supervisor, directory, keep=keep, say=say):
                cluster.load_docker_image(image)
                yield Cluster(cluster, image, engine)


@contextmanager
def _environment(engine: Engine, directory: Path) -> Iterator[None]:
    """Show the engine to pytest-kind, which starts kind with this process's environment, and keep kind's files together."""
    before = dict(os.environ)
    os.environ.update(engine.environment, TMPDIR=str(directory))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _cluster(name: str, directory: Path, kind: Path, kubectl: Path) -> KindCluster:
    given = os.environ.get(GIVEN)
    kubeconfig = Path(given) if given else directory / "kubeconfig"
    if given:
        name = _name_in(kubeconfig)
    with contextlib.chdir(directory):  # KindCluster makes a folder wherever it is
        return KindCluster(name, kubeconfig, kind_path=kind, kubectl_path=kubectl)


def _name_in(kubeconfig: Path) -> str:
    """Return the name of the kind cluster that a kubeconfig points to."""
    if not kubeconfig.is_file():
        raise KindError(f"{GIVEN} is {kubeconfig}, where there is no file: set it right or unset it")
    context = yaml.safe_load(kubeconfig.read_text()).get("current-context", "")
    if not context.startswith("kind-"):
        raise KindError(
            f"{GIVEN}: the context {context!r} in {kubeconfig} is no kind cluster's; those are named kind-…"
        )
    return str(context.removeprefix("kind-"))


def _entering(engine: Engine, program: Path, directory: Path) -> Path:
    """Return a program that does the same from within the engine's network."""
    if not engine.enter:
        return program
    script = directory / program.name
    script.write_text(f'#!/bin/sh\nexec {shlex.join([*engine.enter, str(program)])} "$@"\n')
    script.chmod(0o755)
    return script


@contextmanager
def _created(
    cluster: KindCluster, engine: Engine, supervisor: Supervisor, directory: Path, *, keep: bool, say: Say
) -> Iterator[None]:
    if os.environ.get(GIVEN):
        yield
        return
    cluster.image, config = _node_image(engine, say)
    file = directory / "cluster.yaml"
    file.write_text(yaml.safe_dump({**config, "nodes": NODES}))
    delete = (str(cluster.kind_path), "delete", "cluster", f"--name={cluster.name}")
    _run(*delete)  # what a run that was killed left in the user's own Docker
    if not engine.is_ours and not keep:
        supervisor.when_orphaned(*delete)
    try:
        _create(cluster, file, engine)
        yield
    finally:
        if not keep:
            _run(*delete)


def _node_image(engine: Engine, say: Say) -> tuple[str, dict[str, object]]:
    """Return the node image and kind's configuration for it."""
    official = official_node_image(say)
    if engine.can_pull(official):
        return official, {"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4"}
    archive = ensure_node_archive(say)
    name = f"{NODE_IMAGE}:{archive.stem.removeprefix('node-')}"
    if not engine.has_image(name):
        say("unpacking the node image (half a minute, once)")
        changes = (
            "--change",
            "ENV container=docker",
            "--change",
            'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]',
        )
        engine.docker("import", *changes, str(archive), name)
        _forget_other_node_images(engine, name)
    return name, yaml.safe_load((NODE / "cluster.yaml").read_text())


def _forget_other_node_images(engine: Engine, name: str) -> None:
    for other in set(engine.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", NODE_IMAGE).split()) - {name}:
        engine.docker("image", "rm", other)


def _create(cluster: KindCluster, config: Path, engine: Engine) -> None:
    """Create the cluster and return when Pods are started, reached and found by name: kind itself does not wait."""
    try:
        cluster.create(config_file=config)
    except subprocess.CalledProcessError as error:
        raise KindError(f"kind could not create the cluster (its output is with this failure): {error}") from error
    if yaml.safe_load(config.read_text()).get("networking", {}).get("disableDefaultCNI"):
        connect_nodes(cluster, engine)
    # Two nodes that both run Pods: one can be drained.
    role = "node-role.kubernetes.io/control-plane"
    cluster.kubectl("taint", "node", f"--selector={role}", f"{role}-")
    timeout = f"--timeout={READY_SECONDS}s"
    cluster.kubectl("wait", "node", "--all", "--for=condition=Ready", timeout)
    cluster.kubectl("rollout", "status", "--namespace=kube-system", "deployment/coredns", timeout)
    cluster.kubectl("rollout", "status", "--namespace=kube-system", "daemonset/kube-proxy", timeout)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise KindError(f"{shlex.join(command)} ended with {done.returncode}: {done.stderr}")
