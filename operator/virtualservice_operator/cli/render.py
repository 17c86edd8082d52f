"""`vso render`: the VirtualServices that policies lead to, from files, without a cluster."""

from pathlib import Path

import click

from virtualservice_operator.cli import parameters
from virtualservice_operator.templates.process import Worker


@click.command()
@click.option(
    "-f",
    "--filename",
    "filenames",
    metavar="FILE|DIR|-",
    multiple=True,
    required=True,
    help="Policies, Services, Namespaces, VirtualServices; repeatable.",
)
@click.option(
    "-n",
    "--namespace",
    default="default",
    show_default=True,
    callback=parameters.namespace,
    help="Namespace of objects that do not say theirs.",
)
@click.option(
    "--cluster-domain",
    default="cluster.local",
    show_default=True,
    callback=parameters.domain,
    help="Domain of Services' host names.",
)
def render(filenames: tuple[str, ...], namespace: str, cluster_domain: str) -> None:
    """
    Print the VirtualServices that policies lead to. Needs no cluster.

    A namespace in which some file has an object exists; what its labels and annotations say, only a file can tell. What
    is wrong goes to standard error, and the exit code is 1.
    """
    worker = Worker(log=lambda words: click.echo(f"note: {words}", err=True))
    try:
        if any(map(_may_have_template, filenames)):
            worker.begin()
        from virtualservice_operator.cli.wanted import print_wanted  # noqa: PLC0415 - takes as long as the worker's start

        print_wanted(filenames, namespace, cluster_domain, worker)
    finally:
        worker.close()


def _may_have_template(filename: str) -> bool:
    """Tell whether a file speaks of templates, or is a folder; what cannot be read is said later."""
    path = Path(filename)
    try:
        return path.is_dir() or (path.is_file() and b"template" in path.read_bytes())
    except OSError:
        return False
