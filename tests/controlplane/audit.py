"""Read what the API server was asked, from its audit log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """
    One request.

    `code` is the HTTP status of the answer; `stage` is ResponseStarted for a watch, which is written when it opens,
    and ResponseComplete for everything else. What a request does not have (the namespace of a Node) is "".
    `timestamp` is when it was received, `answered` when it was answered; `pod` is the one that the token is bound to;
    `body` is kept for Leases alone.
    """

    verb: str
    user: str
    namespace: str
    resource: str
    subresource: str
    name: str
    api_group: str
    code: int
    stage: str
    request_uri: str
    timestamp: datetime
    answered: datetime
    agent: str
    pod: str
    body: dict[str, Any]


def read_events(path: Path, *, user: str | None = None) -> Iterator[AuditEvent]:
    """
    Yield the requests so far, oldest first; those of one user when `user` is given.

    The log is written before an answer is complete, so what a test did is in it when its call has returned. A line
    that is still being written is left for the next time.
    """
    yield from AuditLog(path, user=user).read()


class AuditLog:
    """A log that is read again and again: each line once. `read` returns all requests so far, as `read_events` does."""

    def __init__(self, path: Path, *, user: str | None = None) -> None:
        self._path = path
        self._user = user
        self._end = 0
        self._events: list[AuditEvent] = []

    def read(self) -> list[AuditEvent]:
        """Return the requests so far, oldest first."""
        with self._path.open("rb") as file:
            file.seek(self._end)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._end += len(line)
                event = _decode(json.loads(line))
                if self._user in (None, event.user):
                    self._events.append(event)
        return self._events


def read_writes(path: Path, user: str) -> list[AuditEvent]:
    """Return the requests of a user that write, oldest first."""
    return [event for event in read_events(path, user=user) if event.verb in WRITES]


def _decode(event: dict[str, Any]) -> AuditEvent:
    target = event.get("objectRef", {})
    return AuditEvent(
        verb=event["verb"],
        user=event["user"].get("username", ""),
        namespace=target.get("namespace", ""),
        resource=target.get("resource", ""),
        subresource=target.get("subresource", ""),
        name=target.get("name", ""),
        api_group=target.get("apiGroup", ""),
        code=event.get("responseStatus", {}).get("code", 0),
        stage=event["stage"],
        request_uri=event["requestURI"],
        timestamp=datetime.fromisoformat(event["requestReceivedTimestamp"]),
        answered=datetime.fromisoformat(event.get("stageTimestamp", event["requestReceivedTimestamp"])),
        agent=event.get("userAgent", ""),
        pod=event["user"].get("extra", {}).get("authentication.kubernetes.io/pod-name", [""])[0],
        body=event.get("requestObject", {}),
    )
