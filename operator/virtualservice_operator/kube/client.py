"""
The thin client: one session, JSON in and out, and each write of ours as one function.

The generated clients cost 2.4 to 3.7 times the CPU per write; credentials and TLS still come from `kubernetes`.
Every rule of writing a VirtualService was measured on a real API server and has a test (docs/adr/0004).
"""

import asyncio
import json
import socket
import ssl
import struct
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from http import HTTPStatus
from typing import Any, Final, Self
from urllib.parse import quote

import aiohttp

from virtualservice_operator.api import names
from virtualservice_operator.core.objects import Key, VirtualService
from virtualservice_operator.kube.connection import Connection, Source
from virtualservice_operator.kube.errors import ApiError, ConnectionLost, NoAnswer, Reaction, classify

_APPLY: Final = "application/apply-patch+yaml"  # JSON is YAML
_JSON_PATCH: Final = "application/json-patch+json"
_OURS: Final = {"fieldManager": names.FIELD_MANAGER, "fieldValidation": "Strict"}
# All that our field manager owns of a placeholder.
_LABEL_ONLY: Final = {
    "manager": names.FIELD_MANAGER,
    "operation": "Update",
    "apiVersion": "v1",
    "fieldsType": "FieldsV1",
    "fieldsV1": {"f:metadata": {"f:labels": {f"f:{names.MANAGED_BY_LABEL}": {}}}},
}
_TIMEOUT_SECONDS: Final = 30.0
# SO_LINGER for 0 s: what is closed is not sent any more.
_NO_LINGER: Final = struct.pack("ii", 1, 0)

Observer = Callable[[str, int, float], None]
Permit = Callable[[], AbstractAsyncContextManager[None]]


class KubeClient:
    """
    A session with one API server.

    `observe` hears of each request: verb, status code (0 for none), seconds. `permit` surrounds each request that writes,
    and may refuse it or break it off. `identity` is what the API server's audit log tells this process from others by.
    `distrusted` hears that the server's certificate is not trusted any more.
    """

    def __init__(
        self,
        source: Source,
        observe: Observer | None = None,
        *,
        permit: Permit = nullcontext,
        identity: str | None = None,
        timeout: float = _TIMEOUT_SECONDS,
    ) -> None:
        self._source = source
        self._observe = observe or _ignore
        self._permit = permit
        self._agent = f"{names.OPERATOR} ({identity})" if identity else names.OPERATOR
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._connection: Connection | None = None
        self._tls: ssl.SSLContext | None = None
        self.distrusted: Callable[[], None] = lambda: None
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._connection = await self._source.load()
        self._tls = self._connection.tls()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, socket_factory=_make_socket),
            timeout=self._timeout,
            headers={"User-Agent": self._agent},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    @property
    def server(self) -> str:
        """Return the API server's address."""
        return self._connected[0].server

    @property
    def _connected(self) -> tuple[Connection, aiohttp.ClientSession]:
        if self._connection is None or self._session is None:
            raise RuntimeError("the client is used outside its `async with`")
        return self._connection, self._session

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Any:
        """
        Send one request and return the answer's JSON.

        A 401 or an unknown certificate re-reads the credentials once: tokens and authorities rotate.
        Errors: `ApiError` where the server said no, `ConnectionLost` where it did not answer, `NotLeader` without a permit.
        """
        async with nullcontext() if method == "GET" else self._permit():
            return await self._request(method, path, params=params, body=body, content_type=content_type)

    async def _request(
        self, method: str, path: str, *, params: Mapping[str, str] | None, body: Any, content_type: str
    ) -> Any:
        data = json.dumps(body, separators=(",", ":")).encode() if body is not None else None
        headers = {"Content-Type": content_type} if data is not None else {}
        verb = "list" if params and "limit" in params else method.lower()
        started = time.monotonic()
        try:
            async with await self._send(method, path, params=params, data=data, headers=headers) as response:
                text = await response.text()
                self._observe(verb, response.status, time.monotonic() - started)
                return _answer(response, text)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._observe(verb, 0, time.monotonic() - started)
            raise _lost(error, self.server) from error

    async def watch(
        self, path: str, params: Mapping[str, str], *, silence: float, opened: Callable[[], None]
    ) -> AsyncGenerator[Mapping[str, Any], None]:
        """
        Yield the events of a watch until the server ends it; `opened` is called when it has begun.

        `silence`: seconds without a byte after which the connection counts as lost; bookmarks come every minute.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=silence)
        query = {**params, "watch": "true", "allowWatchBookmarks": "true"}
        try:
            async with await self._send("GET", path, params=query, timeout=timeout) as response:
                if response.status >= HTTPStatus.BAD_REQUEST:
                    _answer(response, await response.text())
                opened()
                pending = b""
                async for chunk in response.content.iter_any():
                    *lines, pending = (pending + chunk).split(b"\n")
                    for line in lines:
                        yield json.loads(line)
        except (aiohttp.ClientError, TimeoutError, OSError, json.JSONDecodeError) as error:
            raise _lost(error, self.server) from error

    async def _send(self, method: str, path: str, **more: Any) -> aiohttp.ClientResponse:
        connection, session = self._connected
        headers = more.pop("headers", {})
        for fresh in (False, True):
            if connection.token is not None:
                headers["Authorization"] = connection.token
            try:
                response = await session.request(
                    method, connection.server + path, headers=headers, ssl=self._tls or True, **more
                )
            except aiohttp.ClientSSLError:
                if fresh:
                    raise
                connection = await self._reload(distrusted=True)
                continue
            if response.status != HTTPStatus.UNAUTHORIZED or fresh:
                break
            response.release()
            connection = await self._reload(distrusted=False)
        return response

    async def _reload(self, *, distrusted: bool) -> Connection:
        """
        Read the credentials anew, and use them from now on.

        With a token only, TLS stays as it is unless the server is `distrusted`: a new context means new connections.
        """
        if distrusted:
            self.distrusted()
        self._connection = await self._source.load()
        if distrusted or self._connection.certificate is not None:
            self._tls = self._connection.tls()
        return self._connection

    # ---- VirtualServices

    async def create_virtual_service(self, document: Mapping[str, Any]) -> Any:
        """
        Create ours, and only create: an apply at resourceVersion 0 answers 422 where the name is taken.

        A plain unforced apply would merge into a foreign VirtualService without `http`.
        """
        sent = {**document, "metadata": {**document["metadata"], "resourceVersion": "0"}}
        return await self._apply(_virtual_service_path(document["metadata"]), sent, force=False)

    async def update_virtual_service(self, document: Mapping[str, Any], uid: str) -> Any:
        """Make ours as wanted, and only the one observed: 422 where it was replaced, 409 where it is gone."""
        sent = {**document, "metadata": {**document["metadata"], "uid": uid}}
        return await self._apply(_virtual_service_path(document["metadata"]), sent, force=True)

    async def replace_virtual_service_spec(self, target: Key, spec: Mapping[str, Any], version: str) -> Any:
        """Set the whole spec: fields that somebody added are not ours, so an apply leaves them."""
        patch = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": version},
            {"op": "replace", "path": "/spec", "value": spec},
        ]
        return await self._json_patch(target, patch)

    async def remove_adoption(self, target: Key, version: str) -> Any:
        """Take the annotation off by which its owner has handed a VirtualService over."""
        patch = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": version},
            {"op": "remove", "path": f"/metadata/annotations/{pointer(names.ADOPT_ANNOTATION)}"},
        ]
        return await self._json_patch(target, patch)

    async def release_virtual_service(self, observed: VirtualService, owners: list[Mapping[str, Any]]) -> Any:
        """Take our labels off and leave only others' owners, so that the VirtualService stays with its new owner."""
        labels = [names.MANAGED_BY_LABEL] + ([names.SERVICE_LABEL] if observed.service_label is not None else [])
        patch = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": str(observed.version)},
            *({"op": "remove", "path": f"/metadata/labels/{pointer(label)}"} for label in labels),
            {"op": "add", "path": "/metadata/ownerReferences", "value": owners},
        ]
        return await self._json_patch(observed.key, patch)

    async def delete_virtual_service(self, observed: VirtualService) -> None:
        """Delete ours, and only the one observed, as it was observed."""
        preconditions = {"uid": observed.uid, "resourceVersion": str(observed.version)}
        path = _virtual_service_path({"namespace": observed.key.namespace, "name": observed.key.name})
        await self.request("DELETE", path, body={"preconditions": preconditions})

    async def get_virtual_service(self, target: Key) -> Any:
        """Return a VirtualService as it is stored."""
        return await self.request("GET", _virtual_service_path({"namespace": target.namespace, "name": target.name}))

    async def try_virtual_service(self, document: Mapping[str, Any], uid: str | None) -> None:
        """
        Ask the API server, and Istio's webhook behind it, what they say of a create or, with a uid, of an update.

        Nothing is stored.
        """
        condition = {"resourceVersion": "0"} if uid is None else {"uid": uid}
        sent = {**document, "metadata": {**document["metadata"], **condition}}
        path = f"{_virtual_service_path(document['metadata'])}?dryRun=All"
        await self._apply(path, sent, force=uid is not None)

    async def get_crd(self, name: str) -> Any:
        """Return a CustomResourceDefinition."""
        return await self.request("GET", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}")

    # ---- placeholders

    async def create_placeholder(self, document: Mapping[str, Any]) -> Any:
        """
        Create one by POST, which alone is create-only: an apply would merge into a user's Service.

        Then our field manager gives up all but our label: else the user's own apply would conflict with defaults that
        the API server has filled in for us.
        """
        path = _services_path(document["metadata"]["namespace"])
        answer = await self.request("POST", path, params=_OURS, body=document)
        return await self._disown(answer, _LABEL_ONLY)

    async def get_service(self, target: Key) -> Any:
        """Return a Service as it is now."""
        return await self.request("GET", _service_path(target))

    async def patch_placeholder(self, target: Key, version: str, patch: list[Any]) -> Any:
        """Change one as it was observed; what our field manager owns by that, but for our label, it gives up again."""
        return await self._disown(await self.patch_service(target, version, patch), _LABEL_ONLY)

    async def patch_service(self, target: Key, version: str, patch: list[Any]) -> Any:
        """Change a Service, and only as it was observed."""
        test = {"op": "test", "path": "/metadata/resourceVersion", "value": version}
        return await self.request(
            "PATCH", _service_path(target), params=_OURS, body=[test, *patch], content_type=_JSON_PATCH
        )

    async def delete_placeholder(self, target: Key, uid: str, version: int) -> None:
        """Delete one, and only the one observed, as it was observed."""
        preconditions = {"uid": uid, "resourceVersion": str(version)}
        await self.request("DELETE", _service_path(target), body={"preconditions": preconditions})

    async def _disown(self, answer: Any, owned: Mapping[str, Any]) -> Any:
        """Leave our field manager only `owned` of a Service; where somebody was faster, as it is: they take it over."""
        metadata = answer["metadata"]
        entries = [*others_fields(metadata), {**owned, "time": metadata["creationTimestamp"]}]
        patch = [{"op": "replace", "path": "/metadata/managedFields", "value": entries}]
        try:
            return await self.patch_service(
                Key(metadata["namespace"], metadata["name"]), metadata["resourceVersion"], patch
            )
        except ApiError as error:
            if classify(error) is not Reaction.REPLAN:
                raise
            return answer

    # ---- RoutingPolicies, Events

    async def apply_policy_status(self, policy: Key, uid: str, status: Mapping[str, Any]) -> Any:
        """Write the whole status of one policy, and only of the one that was read."""
        path = f"/apis/{names.API_VERSION}/namespaces/{policy.namespace}/{names.PLURAL}/{quote(policy.name)}/status"
        metadata = {"name": policy.name, "namespace": policy.namespace, "uid": uid}
        document = {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": metadata, "status": status}
        return await self._apply(path, document, force=True)

    async def create_event(self, event: Mapping[str, Any]) -> None:
        """Write one core/v1 Event."""
        await self.request("POST", f"/api/v1/namespaces/{event['metadata']['namespace']}/events", body=event)

    async def _apply(self, path: str, document: Mapping[str, Any], *, force: bool) -> Any:
        params = {**_OURS, "force": str(force).lower()}
        return await self.request("PATCH", path, params=params, body=document, content_type=_APPLY)

    async def _json_patch(self, target: Key, patch: list[Any]) -> Any:
        path = _virtual_service_path({"namespace": target.namespace, "name": target.name})
        return await self.request("PATCH", path, params=_OURS, body=patch, content_type=_JSON_PATCH)


def others_fields(metadata: Mapping[str, Any]) -> list[Any]:
    """Return what of `managedFields` is not our field manager's."""
    return [entry for entry in metadata.get("managedFields") or () if entry["manager"] != names.FIELD_MANAGER]


def _make_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """
    Return a socket that forgets what was not received when it is closed.

    Else the kernel of a leader that is cut off goes on sending a write that was broken off, for minutes, and another may
    lead by the time the network is back.
    """
    family, kind, protocol, *_ = address
    found = socket.socket(family, kind, protocol)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    return found


def _ignore(_method: str, _status: int, _seconds: float) -> None:
    """Hear of a request and do nothing."""


def _services_path(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/services"


def _service_path(target: Key) -> str:
    return f"{_services_path(target.namespace)}/{target.name}"


def _virtual_service_path(metadata: Mapping[str, Any]) -> str:
    return f"/apis/{names.ISTIO_API_VERSION}/namespaces/{metadata['namespace']}/virtualservices/{metadata['name']}"


def pointer(text: str) -> str:
    """Return a key as part of a JSON pointer."""
    return text.replace("~", "~0").replace("/", "~1")


def _answer(response: aiohttp.ClientResponse, text: str) -> Any:
    refused = response.status >= HTTPStatus.BAD_REQUEST
    try:
        body = json.loads(text) if text else None
    except json.JSONDecodeError as error:
        if not refused:
            raise ConnectionLost(f"{response.url.origin()}: the answer is no JSON; is this an API server?") from error
        body = None
    if refused:
        raise ApiError.from_response(response.status, body, text, response.headers)
    return body


def _lost(error: Exception, server: str) -> ConnectionLost:
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return ConnectionLost(f"{server}: it cannot be reached in time")
    if isinstance(error, asyncio.TimeoutError):
        return NoAnswer(f"{server}: no answer in time")
    return ConnectionLost(f"{server}: {str(error) or type(error).__name__}")
