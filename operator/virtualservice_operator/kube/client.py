"""
The thin client: each request of ours as one function.

The generated clients cost 2.4 to 3.7 times the CPU per write. Every rule of writing a VirtualService was measured on a real
API server and has a test (docs/adr/0004).
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from virtualservice_operator.api import names
from virtualservice_operator.core.objects import Key, VirtualService
from virtualservice_operator.kube.errors import ApiError, Reaction, classify
from virtualservice_operator.kube.session import Session

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


class KubeClient(Session):
    """What the operator asks of the API server, and writes there."""

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


def _services_path(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/services"


def _service_path(target: Key) -> str:
    return f"{_services_path(target.namespace)}/{target.name}"


def _virtual_service_path(metadata: Mapping[str, Any]) -> str:
    return f"/apis/{names.ISTIO_API_VERSION}/namespaces/{metadata['namespace']}/virtualservices/{metadata['name']}"


def pointer(text: str) -> str:
    """Return a key as part of a JSON pointer."""
    return text.replace("~", "~0").replace("/", "~1")
