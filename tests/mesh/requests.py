"""A request as a table writes it, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mesh.lines import Json

HTTP, GRPC, WEBSOCKET = "http", "grpc", "websocket"


@dataclass(frozen=True, slots=True)
class Request:
    """
    What is asked: `to` is the name that the caller uses, such as `reviews.shop`.

    `caller` is a namespace, or the name of a pod of the test's own.
    """

    caller: str
    to: str
    port: int = 80
    protocol: str = HTTP
    method: str = "GET"
    path: str = "/"
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        words = "" if self.protocol == HTTP else f"{self.protocol} "
        words += "" if self.method == "GET" else f"{self.method} "
        path = "" if self.path == "/" else self.path
        headers = "".join(f"  {name}: {value}" for name, value in self.headers.items())
        return f"{self.caller} → {words}{self.to}:{self.port}{path}{headers}"


@dataclass(frozen=True, slots=True)
class Logged:
    """What the caller's Envoy wrote of a request: its flags, the rule that took it, and where it went."""

    status: int
    flags: str
    details: str
    route: str
    cluster: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; `who` is `name.namespace` of the backend that answered, None where none did."""

    status: int | str
    who: str | None
    headers: Mapping[str, str]
    body: str
    logged: Logged | None = None

    @property
    def flag(self) -> str:
        """What Envoy says of a request: its flags, else, where no backend answered, why it answered by itself."""
        if self.logged is None:
            return ""
        flags = self.logged.flags.strip("-")
        return flags or ("" if self.who is not None else self.logged.details)

    def __str__(self) -> str:
        found = " ".join(word for word in (str(self.status), self.flag, self.who or "") if word)
        rule = f"  by {self.logged.route}" if self.logged is not None and self.logged.route else ""
        return f"{found}{rule}"


def question_of(request: Request, row: str, *, through_loopback: bool) -> Json:
    """Return what the pod's process is asked; `row` is the mark by which the access log is read."""
    headers = {**request.headers, "x-row": row}
    host = f"127.0.0.1:{request.port}" if through_loopback else f"{request.to}:{request.port}"
    if request.protocol == GRPC:
        return {"do": "grpc", "target": host, "authority": f"{request.to}:{request.port}", "headers": headers}
    if through_loopback:
        headers["host"] = request.to
    url = f"http://{host}{request.path}"
    if request.protocol == WEBSOCKET:
        return {"do": "websocket", "url": url, "headers": headers}
    return {"do": "http", "url": url, "method": request.method, "headers": headers}
