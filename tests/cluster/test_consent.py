"""A developer's namespace says whose policies may route to it."""

from cluster.world import World, eventually, only, shop_with_alice

CONSENT = "virtualservice-operator.dev/allow-policies-from"


def consent(world: World, namespace: str, to: str | None) -> None:
    path = f"/api/v1/namespaces/{world.ns(namespace)}?fieldManager=user"
    patch = {"metadata": {"annotations": {CONSENT: to}}}
    world.plane.request("PATCH", path, patch, "application/merge-patch+json")


def test_withdrawn_consent_takes_the_routes_away_and_the_message_grants_them(world: World) -> None:
    shop_with_alice(world, "reviews", "ratings")
    consent(world, "alice", "somebody-else")
    eventually("no route to reviews", lambda: world.rules("reviews", "shop") == ["default"])
    eventually("nor to ratings", lambda: world.rules("ratings", "shop") == ["default"])
    world.wait_condition("defaults", "shop", "ResolvedRefs", ("False", "RefNotPermitted"))
    assert world.condition("defaults", "shop", "Ready") == ("True", "Programmed")
    command = world.message("defaults", "shop", "ResolvedRefs").partition("kubectl ")[2]
    assert command == f"annotate namespace {world.ns('alice')} --overwrite {CONSENT}=somebody-else,{world.ns('shop')}"
    world.wait_event("ConsentMissing", "defaults", "shop")
    world.plane.kubectl(*command.split())
    eventually("granted", lambda: world.rules("reviews", "shop") == ["defaults.alice", "default"])
    world.wait_condition("defaults", "shop", "ResolvedRefs", ("True", "ResolvedRefs"))


def test_consent_that_is_missing_is_told_beside_a_namespace_that_is_not_there(world: World) -> None:
    shop_with_alice(world, "reviews")
    consent(world, "alice", "somebody-else")
    listed = [{"name": "nobody-at-all"}, {"name": "alice", "namespaces": [world.ns("alice")]}]
    world.policy("listing", "shop", developers=listed)
    world.wait_condition("listing", "shop", "ResolvedRefs", ("False", "NamespaceNotFound"))
    world.wait_event("ConsentMissing", "listing", "shop")
    world.policy("listing", "shop", developers=[*listed, {"name": "nobody-else"}])
    world.wait_ready("listing", "shop")
    assert world.events("shop").count(("ConsentMissing", "listing")) == 1


def test_a_star_permits_everybody(world: World) -> None:
    shop_with_alice(world, "reviews")
    consent(world, "alice", "")
    eventually("an empty list permits nobody", lambda: world.rules("reviews", "shop") == ["default"])
    consent(world, "alice", "*")
    eventually("all are permitted", lambda: world.rules("reviews", "shop") == ["defaults.alice", "default"])


def test_a_frozen_route_goes_too(world: World) -> None:
    shop_with_alice(world, "reviews")
    bad = [{"type": "Header", "name": "x", "matchType": "Regex", "value": "({{ DeveloperName }}"}]
    world.policy("other", "shop", developersFrom=only(world, "alice"), priority=1)
    world.wait_ready("other", "shop")
    world.policy("other", "shop", developersFrom=only(world, "alice"), priority=1, matches=bad)
    world.wait_condition("defaults", "shop", "Programmed", ("False", "Frozen"))
    assert world.rules("reviews", "shop") == ["other.alice", "default"]
    consent(world, "alice", "somebody-else")
    eventually("planned anew without the policy that froze it", lambda: world.rules("reviews", "shop") == ["default"])


def test_what_a_template_writes_out_goes_too(world: World) -> None:
    shop_with_alice(world, "reviews")
    block = f"- {{name: mine, route: [{{destination: {{host: {world.host('reviews', 'alice')}}}}}], match: [{{uri: {{exact: /}}}}]}}"
    text = f'{{% extends "base" %}}{{% block rules_before_default %}}\n{block}\n{{% endblock %}}'
    world.policy("defaults", "shop", developersFrom=only(world, "alice"), template={"virtualService": text})
    world.wait_ready("defaults", "shop")
    assert world.rules("reviews", "shop") == ["defaults.alice", "mine", "default"]
    consent(world, "alice", "somebody-else")
    eventually("written without the template", lambda: world.rules("reviews", "shop") == ["default"])
    world.wait_condition("defaults", "shop", "Programmed", ("False", "OutputNotAllowed"))
    assert "written without the template for now" in world.message("defaults", "shop", "Programmed")
    consent(world, "alice", None)
    eventually("as before", lambda: world.rules("reviews", "shop") == ["defaults.alice", "mine", "default"])
    world.wait_ready("defaults", "shop")
