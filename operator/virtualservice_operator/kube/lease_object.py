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
# Seconds without a byte after which a watch counts as lost. A renewal comes every two while somebody leads; else only the
# bookmark of each minute does. A standby that misses renewals looks before it takes the Lease.
_SILENCE: Final = 75.0
_WATCH_SECONDS: Final = "300"


# What others have put on it, such as kubectl's note of what was applied; a replacement that left it out would remove it.
_KEPT: Final = ("labels", "annotations", "ownerReferences", "finalizers")


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
        self._kept: tuple[int, dict[str, Any]] = (0, {})

    async def read(self) -> Sight | None:
        """Return it as it is stored; None where it is not there."""
        try:
            return self._sight(await self._client.request("GET", self._path))
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            return None

    async def write(self, record: LeaseRecord, version: int | None) -> Sight:
        """
        Replace it as it was at a version, or create it (None): 409 or 404 where it is another by now.

        Labels and annotations stay as they were seen last, also where it is created again.
        """
        metadata = {**self._kept[1], "name": self.key.name, "namespace": self.key.namespace}
        document = {"apiVersion": _API_VERSION, "kind": "Lease", "metadata": metadata, "spec": _encode(record)}
        if version is None:
            return self._sight(await self._client.request("POST", self._collection, body=document))
        metadata["resourceVersion"] = str(version)
        return self._sight(await self._client.request("PUT", self._path, body=document))

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
                    yield Sight(_version(found), None)
                elif kind != "BOOKMARK":
                    yield self._sight(found)

    def _sight(self, lease: Any) -> Sight:
        version = _version(lease)
        if version >= self._kept[0]:
            self._kept = (version, {name: lease["metadata"][name] for name in _KEPT if name in lease["metadata"]})
        return Sight(version, _decode(lease))


def _version(lease: Any) -> int:
    return int(lease["metadata"]["resourceVersion"])


def _decode(lease: Any) -> LeaseRecord:
    spec = lease.get("spec") or {}
    return LeaseRecord(
        spec.get("holderIdentity") or "",
        spec.get("leaseDurationSeconds") or 0,
        spec.get("leaseTransitions") or 0,
        spec.get("acquireTime") or "",
        spec.get("renewTime") or "",
    )


def _encode(record: LeaseRecord) -> dict[str, Any]:
    return {
        "holderIdentity": record.holder,
        "leaseDurationSeconds": record.duration,
        "leaseTransitions": record.transitions,
        "acquireTime": record.acquired,
        "renewTime": record.renewed,
    }
