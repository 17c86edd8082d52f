"""What the operator has asked for, as the proxy saw it or the API server wrote it down."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from controlplane.audit import read_events
from faults.call import WRITES, Call


@dataclass(slots=True)
class Entry:
    """
    One request. `stored` is the API server's status, None where it never heard of it or has not answered.

    `answered` is the status that the client got, None where its connection broke, and `asked` the seconds that the
    answer asked it to wait. `injected`: a fault has hit it. kopf and the operator's own client are two clients.
    """

    call: Call
    uri: str
    client: str = ""
    at: float = field(default_factory=time.monotonic)
    ended: float = math.inf
    stored: int | None = None
    answered: int | None = None
    asked: float = 0.0
    injected: bool = False


@dataclass(frozen=True, slots=True)
class Write:
    """A write that the API server has answered, with its status."""

    at: float
    call: Call
    code: int

    @property
    def went_through(self) -> bool:
        """Tell whether the API server accepted it."""
        return self.code < 300

    @property
    def kind(self) -> str:
        """Return create, update or delete; a server-side apply that creates answers 201."""
        return "delete" if self.call.verb == "delete" else "create" if self.code == 201 else "update"


def writes_of(entries: Iterable[Entry]) -> Iterator[Write]:
    """Yield the writes that the API server has answered, whatever the client heard of them."""
    for entry in entries:
        if entry.call.verb in WRITES and entry.stored is not None:
            yield Write(entry.at, entry.call, entry.stored)


def audited_writes(path: Path, user: str) -> Iterator[Write]:
    """Yield the writes of a user by the API server's own log; `at` is in seconds since 1970."""
    for event in read_events(path, user=user):
        if event.verb in WRITES:
            call = Call(event.verb, event.resource, event.namespace, event.name, event.subresource)
            yield Write(event.timestamp.timestamp(), call, event.code)
