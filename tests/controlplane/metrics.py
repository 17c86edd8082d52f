"""Count requests in the API server's metrics."""

from __future__ import annotations

import re

REQUESTS = re.compile(r"^apiserver_request_total\{(?P<labels>.*)\} (?P<count>\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def count_requests(
    text: str,
    *,
    verb: str | None = None,
    resource: str | None = None,
    group: str | None = None,
    subresource: str | None = None,
    code: int | None = None,
) -> int:
    """
    Return how many requests the API server has answered, by any of their labels; None takes all.

    `verb` is the metric's own: GET, LIST, WATCH, POST, PUT, PATCH, APPLY (server-side apply), DELETE,
    DELETECOLLECTION. The core group is "". A watch counts when it ends. A restart of the API server starts at 0.
    """
    wanted = {"verb": verb, "resource": resource, "group": group, "subresource": subresource, "code": code}
    asked = {(name, str(value)) for name, value in wanted.items() if value is not None}
    samples = REQUESTS.finditer(text)
    return sum(int(float(sample["count"])) for sample in samples if asked <= set(LABEL.findall(sample["labels"])))
