"""The files under samples/, and what the first line of each invalid one says of it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from virtualservice_operator.core.objects import ClusterObject, Namespace, Policy, Service
from virtualservice_operator.kube.decode import DECODERS

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "samples"
VALID = sorted((SAMPLES / "valid").glob("*.yaml"))
TEMPLATES = sorted((SAMPLES / "templates").glob("*.yaml"))
QUICKSTART = sorted((SAMPLES / "quickstart").glob("*.yaml"))
_REFUSED = "# refused: "
_NOT_ACCEPTED = "# not accepted: "
_KINDS: dict[str, type[ClusterObject]] = {"Namespace": Namespace, "RoutingPolicy": Policy, "Service": Service}


class Invalid(NamedTuple):
    """A file with one mistake: `reason` is None where the API server refuses it, else the operator does."""

    path: Path
    reason: str | None
    text: str


def read_invalid(path: Path) -> Invalid:
    """Return what the first line of an invalid sample says."""
    first, _, _ = path.read_text().partition("\n")
    if first.startswith(_REFUSED):
        return Invalid(path, None, first.removeprefix(_REFUSED))
    if first.startswith(_NOT_ACCEPTED):
        reason, _, text = first.removeprefix(_NOT_ACCEPTED).partition(": ")
        return Invalid(path, reason, text)
    raise ValueError(f"{path}: the first line must begin with {_REFUSED!r} or {_NOT_ACCEPTED!r}")


INVALID = [read_invalid(path) for path in sorted((SAMPLES / "invalid").glob("*.yaml"))]
REFUSED = [sample for sample in INVALID if sample.reason is None]
NOT_ACCEPTED = [sample for sample in INVALID if sample.reason is not None]


def documents(text: str) -> list[dict[str, Any]]:
    """Return the YAML documents of a text; empty ones do not count."""
    return [document for document in yaml.safe_load_all(text) if document is not None]


def stored(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document with what the API server adds to it."""
    name = document["metadata"]["name"]
    added = {"uid": f"uid-of-{name}", "resourceVersion": "1", "generation": 1}
    return {**document, "metadata": {**document["metadata"], **added}}


def decode(document: dict[str, Any]) -> ClusterObject:
    """Return the value that the planner sees for a document."""
    return DECODERS[_KINDS[document["kind"]]](stored(document))


def decode_all(texts: Iterable[str]) -> list[ClusterObject]:
    """Return the values for all documents of some texts."""
    return [decode(document) for text in texts for document in documents(text)]
