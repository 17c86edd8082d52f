"""
What the original design promises, flow by flow, with real Pods behind the Services.

Each policy lists its developers: those found by label belong to every policy, and a copy of a Service that several of
them have would be ambiguous.
"""

from e2e.user import User, eventually

EDIT_ANN = [{"name": "edit-ann"}]


def test_creation_of_a_service_in_the_default_namespace(user: User) -> None:
    user.namespace("create-shop")
    user.policy("create-shop", developers=[])
    user.serve("create-shop", "reviews")
    eventually("its VirtualService", lambda: user.rules("create-shop", "reviews") == ["default"])
    user.hears("create-shop", "reviews", "http://reviews.create-shop", "create-shop")


def test_creation_update_and_deletion_of_a_service_in_a_developers_namespace(user: User) -> None:
    user.namespace("dev-shop")
    user.namespace("dev-ann")
    user.serve("dev-shop", "reviews", "ratings")
    user.policy("dev-shop", developers=[{"name": "ann", "namespaces": ["dev-ann"]}])
    user.serve("dev-ann", "reviews")
    eventually("a route", lambda: user.rules("dev-shop", "reviews") == ["defaults.ann", "default"])
    assert user.rules("dev-shop", "ratings") == ["default"]
    host = user.kubectl(
        *("get", "virtualservice", "reviews-virtual-service", "-n", "dev-shop"),
        *("-o", "jsonpath={.spec.http[0].route[0].destination.host}"),
    )
    user.hears("dev-shop", "reviews", f"http://{host}", "dev-ann")
    user.kubectl("patch", "service", "reviews", "-n", "dev-ann", "--type=json", "-p", _TO_8080)
    eventually("the new port", lambda: "8080" in user.kubectl("get", "vs", "-n", "dev-shop", "-o", "yaml"))
    user.kubectl("delete", "service", "reviews", "-n", "dev-ann")
    eventually("no route", lambda: user.rules("dev-shop", "reviews") == ["default"])


_TO_8080 = '[{"op": "replace", "path": "/spec/ports/0/port", "value": 8080}]'


def test_deletion_of_a_service_in_the_default_namespace(user: User) -> None:
    user.namespace("delete-shop")
    user.serve("delete-shop", "reviews", "ratings")
    user.policy("delete-shop", developers=[])
    eventually("written", lambda: user.rules("delete-shop", "reviews") == ["default"])
    user.kubectl("delete", "service", "reviews", "-n", "delete-shop")
    eventually("gone", lambda: user.rules("delete-shop", "reviews") == [])
    assert user.rules("delete-shop", "ratings") == ["default"]


def test_a_policy_is_edited_and_deleted(user: User) -> None:
    user.namespace("edit-shop")
    user.namespace("edit-ann")
    user.serve("edit-shop", "reviews")
    user.serve("edit-ann", "reviews")
    user.policy("edit-shop", developers=EDIT_ANN)
    eventually("a route", lambda: user.rules("edit-shop", "reviews") == ["defaults.edit-ann", "default"])
    user.policy("edit-shop", developers=EDIT_ANN, matches=[{"type": "Cookie", "name": "developer"}])
    eventually("by cookie", lambda: "cookie" in user.kubectl("get", "vs", "-n", "edit-shop", "-o", "yaml"))
    code, printed = user.try_kubectl(
        *("patch", "rpol", "defaults", "-n", "edit-shop", "--type=merge"), "-p", '{"spec": {"mode": "Observe"}}'
    )
    assert code != 0
    assert "only a new policy can be in mode Observe" in printed
    user.kubectl("delete", "rpol", "defaults", "-n", "edit-shop")
    eventually("Kubernetes removes it", lambda: user.rules("edit-shop", "reviews") == [])


def test_a_namespace_is_deleted_with_everything_in_it(user: User) -> None:
    user.namespace("gone-shop")
    user.namespace("gone-ann")
    user.serve("gone-shop", "reviews")
    user.serve("gone-ann", "reviews")
    user.policy("gone-shop", developers=[{"name": "gone-ann"}])
    eventually("a route", lambda: user.rules("gone-shop", "reviews") == ["defaults.gone-ann", "default"])
    user.kubectl("delete", "namespace", "gone-ann", "--wait", "--timeout=120s")
    eventually("no route", lambda: user.rules("gone-shop", "reviews") == ["default"])
    user.kubectl("delete", "namespace", "gone-shop", "--wait", "--timeout=120s")
    assert user.get("namespace", "gone-shop") is None


def test_system_services_are_left_alone(user: User) -> None:
    assert "No resources found" in user.kubectl("get", "virtualservices", "-n", "kube-system")
    user.policy("default", developers=[])
    assert user.rules("default", "kubernetes") == []
    assert "System" in user.kubectl("get", "rpol", "defaults", "-n", "default", "-o", "yaml")
    user.kubectl("delete", "rpol", "defaults", "-n", "default")
