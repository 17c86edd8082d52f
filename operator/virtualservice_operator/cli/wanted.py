"""What policies in files lead to: VirtualServices and placeholders as documents, or what is wrong."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import click
import yaml

from virtualservice_operator.api.conditions import ServiceState
from virtualservice_operator.cli.files import Read, read_files
from virtualservice_operator.core.changes import ServicePlan
from virtualservice_operator.core.objects import Policy, Service
from virtualservice_operator.core.placeholders import placeholder_document
from virtualservice_operator.core.resolution import PlanSettings
from virtualservice_operator.core.snapshot import Snapshot
from virtualservice_operator.templates.offline import NoWorker, check_templates, plan_offline
from virtualservice_operator.templates.process import Worker
from virtualservice_operator.templates.renderer import Renderer

_BAD: Final = (ServiceState.FAILED, ServiceState.FROZEN)


def print_wanted(filenames: Sequence[str], namespace: str, cluster_domain: str, worker: Worker) -> None:
    """Print the documents; what is wrong goes to standard error, and the exit code is 1."""
    read = read_files(filenames, namespace)
    problems, notes, documents = list(read.problems), list[str](), list[Mapping[str, Any]]()
    if not problems:
        problems, notes, documents = _plan(read, PlanSettings(cluster_domain=cluster_domain), Renderer(worker))
    for note in notes:
        click.echo(f"note: {note}", err=True)
    for problem in problems:
        click.echo(f"error: {problem}", err=True)
    if problems:
        raise SystemExit(1)
    for document in documents:
        click.echo("---\n" + _yaml(document), nl=False)


def _plan(
    read: Read, settings: PlanSettings, renderer: Renderer
) -> tuple[list[str], list[str], list[Mapping[str, Any]]]:
    """Return what is wrong, what is worth a note, and what is wanted."""
    snapshot = Snapshot(settings, read.objects)
    try:
        check_templates(snapshot, renderer)
        governed = {item.key.namespace for item in read.objects if isinstance(item, Policy)}
        keys = sorted(item.key for item in read.objects if isinstance(item, Service) and item.key.namespace in governed)
        plans = [plan_offline(snapshot, key, renderer) for key in keys]
    except NoWorker as error:
        raise click.ClickException(str(error)) from error
    problems = [*_rejections(read, snapshot), *(text for plan in plans for text in _failures(read, plan))]
    return list(dict.fromkeys(problems)), list(_notes(read, snapshot)), list(_wanted(plans, settings))


def _rejections(read: Read, snapshot: Snapshot) -> Iterator[str]:
    for resolved in sorted(snapshot.all_policies(), key=lambda item: item.policy.key):
        if resolved.rejection is not None:
            key = resolved.policy.key
            yield f"{read.places.get(key, '')}: RoutingPolicy {key}: {resolved.rejection.message}"


def _failures(read: Read, plan: ServicePlan) -> Iterator[str]:
    places = {key.name: place for key, place in read.places.items() if key.namespace == plan.key.namespace}
    for name, entry in sorted(plan.entries.items()):
        where = f"{places.get(name, '')}: RoutingPolicy {plan.key.namespace}/{name}"
        if entry.rejection is not None:
            yield f"{where}: {entry.rejection.message}"
        elif entry.state in _BAD:
            yield f"{where}: Service {plan.key.name}: {entry.message}"


def _notes(read: Read, snapshot: Snapshot) -> Iterator[str]:
    if read.unused:
        yield f"documents of kinds that routing does not depend on: {read.unused}"
    for resolved in sorted(snapshot.all_policies(), key=lambda item: item.policy.key):
        for finding in resolved.findings:
            yield f"RoutingPolicy {resolved.policy.key}: {finding.message}"


def _wanted(plans: Sequence[ServicePlan], settings: PlanSettings) -> Iterator[Mapping[str, Any]]:
    for plan in plans:
        if plan.wanted is not None:
            yield _without_unknown_owners(plan.wanted)
        for item in plan.placeholders or ():
            yield placeholder_document(item, settings.cluster_domain)


def _without_unknown_owners(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a VirtualService with the owners whose uid a file says: the others' only the cluster knows."""
    metadata = dict(document["metadata"])
    owners = [owner for owner in metadata.pop("ownerReferences") if owner["uid"]]
    return {**document, "metadata": {**metadata, **({"ownerReferences": owners} if owners else {})}}


class _Dumper(yaml.SafeDumper):
    """Writes equal parts twice rather than with anchors."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        return True


def _yaml(document: Mapping[str, Any]) -> str:
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return text
