"""What the operator writes, by the API server's audit log, and that nothing of a user's is ever touched."""

from cluster.conftest import USER
from cluster.world import World, eventually, shop_with_alice
from controlplane.audit import AuditEvent, read_writes


def writes_of_the_operator(world: World) -> list[AuditEvent]:
    """Return the writes in this world; conftest looks at those of the whole run, placeholders included."""
    return [event for event in read_writes(world.plane.audit_log, USER) if world.holds(event.namespace)]


def test_every_write_is_a_virtual_service_a_status_or_an_event(world: World) -> None:
    shop_with_alice(world, "reviews")
    world.delete_service("reviews", "alice")
    eventually("it has worked", lambda: world.rules("reviews", "shop") == ["default"])
    found = {(event.resource, event.subresource or "") for event in writes_of_the_operator(world)}
    assert found <= {("virtualservices", ""), ("routingpolicies", "status"), ("events", "")}
    assert ("virtualservices", "") in found


def test_users_objects_keep_their_resource_version(world: World) -> None:
    shop_with_alice(world, "reviews")
    service = world.service("quiet", "shop")
    copy = world.service("quiet", "alice")
    eventually("it is routed", lambda: world.rules("quiet", "shop") == ["defaults.alice", "default"])
    for item in (service, copy):
        metadata = item["metadata"]
        stored = world.get(f"/api/v1/namespaces/{metadata['namespace']}/services/{metadata['name']}")
        assert stored is not None
        assert stored["metadata"]["resourceVersion"] == metadata["resourceVersion"]


def test_writes_carry_our_field_manager_and_are_validated_strictly(world: World) -> None:
    shop_with_alice(world, "reviews")
    events = [
        event
        for event in writes_of_the_operator(world)
        if event.resource == "virtualservices" and event.verb in {"create", "patch"}
    ]
    assert events
    for event in events:
        assert "fieldManager=virtualservice-operator" in event.request_uri
        assert "fieldValidation=Strict" in event.request_uri


def test_a_create_never_forces(world: World) -> None:
    """A forced apply at creation would take a foreign VirtualService over."""
    shop_with_alice(world, "reviews")
    created = [
        event
        for event in writes_of_the_operator(world)
        if event.resource == "virtualservices" and event.verb == "patch" and event.code == 201
    ]
    assert created
    assert all("force=false" in event.request_uri for event in created)
