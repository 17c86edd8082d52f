"""One request to the API server, in Kubernetes' words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

WRITES = frozenset({"create", "update", "patch", "delete"})
READS = frozenset({"get", "list", "watch"})
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True, slots=True)
class Call:
    """A verb and what it is about; what a request does not have is "". A server-side apply is a patch."""

    verb: str
    resource: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @classmethod
    def of(cls, method: str, path: str, query: Mapping[str, str]) -> Call:
        """Return what a request asks for; a path that is no resource's gives an empty one."""
        parts = [part for part in path.split("/") if part]
        rest = parts[2:] if parts[:1] == ["api"] else parts[3:]
        namespace = ""
        if len(rest) > 2 and rest[0] == "namespaces":
            namespace, rest = rest[1], rest[2:]
        resource, name, subresource = (*rest, "", "", "")[:3]
        if method != "GET":
            return cls(_VERBS.get(method, method), resource, namespace, name, subresource)
        is_watch = query.get("watch") in ("true", "1")
        return cls("watch" if is_watch else "get" if name else "list", resource, namespace, name, subresource)
