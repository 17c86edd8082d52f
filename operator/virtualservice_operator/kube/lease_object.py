"""The Lease as an object of the API server: read, watched, and written only as it was seen."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from http import HTTPStatus
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from virtualservice_operator.core.lease import LeaseRecord
from virtualservice_operator.core.objects import Key
from virtualservice_operator.kube.client import KubeClient
from virtualservice_operator.kube.errors import ApiError

_API_VERSION: Final = "coordination.k8s.io/v1"
# Seconds without a byte after which a watch counts as lost; while somebody leads there is one every two.
_SILENCE: Final = 30.0
_WATCH_SECONDS: Final = "300"


class Sight(NamedTuple):
    """A Lease as it was seen. `record` is None where it was deleted at `version`."""

    version: int
    record: LeaseRecord | None


class LeaseObject:
    """One Lease by its name. Errors are those of `KubeClient`."""

    def __init__(self, client: KubeClient, key: Key) -> None:
        self.key: Final = key
        self._client = client
        self._collection = f"/apis/{_API_VERSION}/namespaces/{key.namespace}/leases"
        self._path = f"{self._collection}/{quote(key.name)}"

    async def read(self) -> Sight | None:
        """Return it as it is stored; None where it is not there."""
        try:
            return _sight(await self._client.request("GET", self._path))
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            return None

    async def write(self, record: LeaseRecord, version: int | None) -> Sight:
        """Replace it as it was at a version, or create it (None): 409 or 404 where it is another by now."""
        metadata = {"name": self.key.name, "namespace": self.key.namespace}
        document = {"apiVersion": _API_VERSION, "kind": "Lease", "metadata": metadata, "spec": _encode(record)}
        if version is None:
            return _sight(await self._client.request("POST", self._collection, body=document))
        metadata["resourceVersion"] = str(version)
        return _sight(await self._client.request("PUT", self._path, body=document))

    async def watch(self, version: int | None) -> AsyncGenerator[Sight, None]:
        """Yield what becomes of it after a version, until the server ends the watch."""
        params = {"fieldSelector": f"metadata.name={self.key.name}", "timeoutSeconds": _WATCH_SECONDS}
        if version is not None:
            params["resourceVersion"] = str(version)
        watch = self._client.watch(self._collection, params, silence=_SILENCE, opened=lambda: None)
        async with aclosing(watch) as events:
            async for event in events:
                kind, found = event["type"], event["object"]
                if kind == "ERROR":
                    raise ApiError(found.get("code", 0), found.get("reason", ""), found.get("message", ""))
                if kind == "DELETED":
                    yield Sight(_sight(found).version, None)
                elif kind != "BOOKMARK":
                    yield _sight(found)


def _sight(lease: Any) -> Sight:
    spec = lease.get("spec") or {}
    record = LeaseRecord(
        spec.get("holderIdentity") or "",
        spec.get("leaseDurationSeconds") or 0,
        spec.get("leaseTransitions") or 0,
        spec.get("acquireTime") or "",
        spec.get("renewTime") or "",
    )
    return Sight(int(lease["metadata"]["resourceVersion"]), record)


def _encode(record: LeaseRecord) -> dict[str, Any]:
    return {
        "holderIdentity": record.holder,
        "leaseDurationSeconds": record.duration,
        "leaseTransitions": record.transitions,
        "acquireTime": record.acquired,
        "renewTime": record.renewed,
    }
