"""A placeholder whose making was interrupted is finished."""

from dataclasses import replace
from typing import Any

import pytest

from builders import SETTINGS, namespaces, plan, policy, service, snapshot
from virtualservice_operator.core.changes import Action, PlaceholderChange
from virtualservice_operator.core.objects import Service
from virtualservice_operator.kube.decode import decode_service

LABEL: dict[str, Any] = {"f:labels": {"f:app.kubernetes.io/managed-by": {}}}
FINISHED = {"f:metadata": LABEL}
# As the API server answers a POST: all of it is the poster's, defaults included.
UNFINISHED = {"f:metadata": LABEL, "f:spec": {"f:externalName": {}, "f:type": {}}}


def standing(fields: dict[str, Any]) -> Service:
    """Return a placeholder of ours in alice's namespace, with what our field manager owns of it."""
    return decode_service(
        {
            "metadata": {
                "name": "reviews",
                "namespace": "alice",
                "uid": "u",
                "resourceVersion": "7",
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "labels": {"app.kubernetes.io/managed-by": "virtualservice-operator"},
                "annotations": {
                    "virtualservice-operator/placeholder-service": "true",
                    "virtualservice-operator/source-service": "reviews.shop.svc.cluster.local",
                    "virtualservice-operator.dev/policies": "shop/defaults",
                },
                "managedFields": [
                    {"manager": "virtualservice-operator", "operation": "Update", "fieldsV1": fields},
                ],
            },
            "spec": {"type": "ExternalName", "externalName": "placeholder.local"},
        }
    )


@pytest.mark.parametrize(("fields", "actions"), [(FINISHED, []), (UNFINISHED, [Action.UPDATE])], ids=["whole", "half"])
def test_what_our_field_manager_has_not_given_up_is_given_up(fields: dict[str, Any], actions: list[Action]) -> None:
    defaults = policy(
        "shop/defaults", {"developers": [{"name": "alice"}], "placeholder": {"mode": "ExternalName"}}, uid="u1"
    )
    cluster = snapshot(
        defaults,
        *namespaces("shop", "alice"),
        service("shop/reviews"),
        standing(fields),
        settings=replace(SETTINGS, requires_placeholder_consent=False),
    )
    changes = [change for change in plan(cluster).changes if isinstance(change, PlaceholderChange)]
    assert [change.action for change in changes] == actions
    assert all("given up" in change.why for change in changes)
