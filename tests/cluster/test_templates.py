"""Templates on a real API server: what they make is written, what they may not do is said, and others go on."""

import itertools
import os
import signal
from pathlib import Path

import pytest

from cluster.world import Json, World, eventually, only, shop_with_alice, steadily
from operator_process import OperatorProcess

HEALTH = """\
{% extends "base" %}
{% block rules_before_default %}
- name: health
  match:
  - uri: {exact: /healthz}
  directResponse: {status: 200}
{% endblock %}
"""
RULES = """\
- match:
  - headers:
      x-developer: {exact: "{{ DeveloperName }}"}
  route:
  - destination: {host: "{{ fqdn(ServiceName, DeveloperNamespace) }}"}
- route:
  - destination: {host: "{{ ServiceFQDN }}"}
"""
ORIGINAL = """\
apiVersion: networking.istio.io/v1beta1
kind: VirtualService
metadata:
  name: "{{ ServiceName }}-virtual-service"
  namespace: "{{ ServiceNamespace }}"
spec:
  hosts: ["{{ ServiceFQDN }}"]
  http: {{ fragment("routing-rules") | tojson }}
"""
LABELLED = """\
{% extends "base" %}
{% block metadata %}
labels: {team: LABEL}
{% endblock %}
"""
NEEDS_A_LABEL = """\
{% extends "base" %}
{% block rules_before_default %}
- name: {{ ServiceLabels.tier | tojson }}
  match:
  - uri: {exact: /tier}
  directResponse: {status: 200}
{% endblock %}
"""
ELSEWHERE = """\
- match: {{ DeveloperRules[0].match | tojson }}
  route:
  - destination: {host: secrets.kube-system.svc.cluster.local}
"""


def template(world: World, text: str, **more: object) -> Json:
    """Return the spec of a policy of this world with a template."""
    return {"developersFrom": only(world, "alice"), "template": {"virtualService": text, **more}}


def test_a_template_shapes_the_virtual_service_of_every_service(world: World) -> None:
    shop_with_alice(world, "reviews", "ratings")
    world.policy("defaults", "shop", **template(world, HEALTH))
    world.wait_ready("defaults", "shop")
    for service in ("reviews", "ratings"):
        assert world.rules(service, "shop") == ["defaults.alice", "health", "default"]
    world.delete_service("reviews", "alice")
    eventually("the copy's rule goes", lambda: world.rules("reviews", "shop") == ["health", "default"])


def test_the_original_style_follows_copies_that_come_and_go(world: World) -> None:
    shop_with_alice(world, "reviews")
    includes = [{"name": "routing-rules", "content": RULES}]
    world.policy("defaults", "shop", **template(world, ORIGINAL, renderPer="Developer", includes=includes))
    world.wait_ready("defaults", "shop")
    default = {"route": [{"destination": {"host": world.host("reviews", "shop")}}]}
    copy = {
        "match": [{"headers": {"x-developer": {"exact": "alice"}}}],
        "route": [{"destination": {"host": world.host("reviews", "alice")}}],
    }
    eventually("both rules", lambda: world.http("reviews", "shop") == [copy, default])
    world.delete_service("reviews", "alice")
    eventually("the default alone", lambda: world.http("reviews", "shop") == [default])
    world.service("reviews", "alice")
    eventually("both rules again", lambda: world.http("reviews", "shop") == [copy, default])


def test_a_broken_edit_names_the_line_and_leaves_everything_as_it_is(world: World) -> None:
    shop_with_alice(world, "reviews", "ratings")
    world.policy("defaults", "shop", **template(world, HEALTH))
    world.wait_ready("defaults", "shop")
    world.policy("defaults", "shop", **template(world, HEALTH.replace("- name", "- {{ ServiceNam }}\n- name")))
    world.wait_condition("defaults", "shop", "Accepted", ("False", "InvalidTemplate"))
    message = world.message("defaults", "shop", "Accepted")
    assert "spec.template: template virtualService, line 3: 'ServiceNam' is not a variable" in message
    assert world.condition("defaults", "shop", "Stalled") == ("True", "InvalidTemplate")
    world.delete_service("reviews", "alice")
    rules = ["defaults.alice", "health", "default"]
    steadily("what stood stays", lambda: world.rules("reviews", "shop") == rules, 1.5)
    eventually("an Event says so", lambda: "TemplateInvalid" in event_reasons(world))
    world.policy("defaults", "shop", **template(world, HEALTH))
    world.wait_ready("defaults", "shop")
    assert world.rules("reviews", "shop") == ["health", "default"]


def event_reasons(world: World) -> set[str]:
    found = world.get(f"/api/v1/namespaces/{world.ns('shop')}/events")
    return {item["reason"] for item in (found or {})["items"]}


def test_a_broken_template_without_any_service_is_said_too(world: World) -> None:
    world.namespace("shop")
    world.policy("lonely", "shop", developers=[], template={"virtualService": "{% if %}"})
    world.wait_condition("lonely", "shop", "Accepted", ("False", "InvalidTemplate"))


def test_a_new_policy_with_a_broken_template_changes_nothing_for_others(world: World) -> None:
    shop_with_alice(world, "reviews")
    world.policy("broken", "shop", priority=10, **template(world, "{{ nothing }}"))
    world.wait_condition("broken", "shop", "Accepted", ("False", "InvalidTemplate"))
    world.delete_service("reviews", "alice")
    eventually("the others go on", lambda: world.rules("reviews", "shop") == ["default"])
    assert world.condition("defaults", "shop", "Ready") == ("True", "Programmed")


def test_a_template_that_fails_for_one_service_costs_that_service_only(world: World) -> None:
    shop_with_alice(world, "reviews")
    world.service("ratings", "shop", labels={"tier": "backend"})
    world.policy("defaults", "shop", **template(world, NEEDS_A_LABEL))
    world.wait_condition("defaults", "shop", "Accepted", ("False", "InvalidTemplate"))
    eventually("ratings has it", lambda: world.rules("ratings", "shop") == ["backend", "default"])
    message = world.message("defaults", "shop", "Accepted")
    assert message.startswith("Service reviews: template virtualService, line 3: ")
    assert "has no field 'tier'" in message
    entry = world.entry("defaults", "shop", "reviews")
    assert (entry["state"], entry["reason"]) == ("Frozen", "PolicyNotAccepted")
    assert world.rules("reviews", "shop") == ["defaults.alice", "default"]
    world.service("reviews", "shop", labels={"tier": "web"})
    world.wait_ready("defaults", "shop")
    assert world.rules("reviews", "shop") == ["defaults.alice", "web", "default"]


def test_a_destination_elsewhere_is_not_written(world: World) -> None:
    shop_with_alice(world, "reviews")
    before = world.http("reviews", "shop")
    spec = {"developersFrom": only(world, "alice"), "template": {"developerRoutes": ELSEWHERE}}
    world.policy("defaults", "shop", **spec)
    world.wait_condition("defaults", "shop", "Programmed", ("False", "OutputNotAllowed"))
    message = world.message("defaults", "shop", "Programmed")
    assert "template developerRoutes, line " in message
    assert 'spec.http[0].route[0].destination.host: "secrets.kube-system.svc.cluster.local" is neither' in message
    assert world.http("reviews", "shop") == before


def test_a_templates_label_is_written_repaired_and_taken_away(world: World) -> None:
    shop_with_alice(world, "reviews")

    def label() -> str | None:
        found: Json = world.written("reviews", "shop") or {}
        value: str | None = found["metadata"]["labels"].get("team")
        return value

    world.policy("defaults", "shop", **template(world, LABELLED.replace("LABEL", "checkout")))
    eventually("it is there", lambda: label() == "checkout")
    world.edit_virtual_service("reviews", "shop", {"metadata": {"labels": {"team": "mine", "theirs": "stays"}}})
    eventually("it is repaired", lambda: label() == "checkout")
    world.policy("defaults", "shop", developersFrom=only(world, "alice"))
    eventually("it is gone", lambda: label() is None)
    found = world.written("reviews", "shop")
    assert found is not None
    assert found["metadata"]["labels"]["theirs"] == "stays"


def test_what_the_api_server_would_refuse_makes_the_policy_not_accepted(world: World) -> None:
    """An admission policy stands here for Istio's webhook."""
    rule = "!has(object.metadata.labels.team) || !object.metadata.labels.team.startsWith('no-')"
    here = {"matchLabels": {"kubernetes.io/metadata.name": world.ns("shop")}}
    group = "/apis/admissionregistration.k8s.io/v1"
    world.plane.request(
        "POST",
        f"{group}/validatingadmissionpolicies",
        {
            "metadata": {"name": f"{world.prefix}-team"},
            "spec": {
                "failurePolicy": "Ignore",
                "matchConstraints": {
                    "namespaceSelector": here,
                    "resourceRules": [
                        {
                            "apiGroups": ["networking.istio.io"],
                            "apiVersions": ["v1"],
                            "resources": ["virtualservices"],
                            "operations": ["CREATE", "UPDATE"],
                        }
                    ],
                },
                "validations": [{"expression": rule, "message": "not this team"}],
            },
        },
    )
    world.plane.request(
        "POST",
        f"{group}/validatingadmissionpolicybindings",
        {
            "metadata": {"name": f"{world.prefix}-team"},
            "spec": {"policyName": f"{world.prefix}-team", "validationActions": ["Deny"]},
        },
    )
    shop_with_alice(world, "reviews")
    tries = itertools.count()

    def is_refused() -> bool:
        """The binding takes a moment to be in force; each try leads to another result."""
        world.policy("defaults", "shop", **template(world, LABELLED.replace("LABEL", f"no-{next(tries)}")))
        accepted = eventually("looked at", lambda: world.condition("defaults", "shop", "Accepted"))
        return bool(accepted == ("False", "InvalidTemplate"))

    eventually("refused", is_refused)
    message = world.message("defaults", "shop", "Accepted")
    assert "spec.template: for Service reviews, the API server would refuse what the template makes" in message
    assert "not this team" in message
    assert world.rules("reviews", "shop") == ["defaults.alice", "default"]


def children(process: int) -> list[int]:
    """Return the process ids of a process's children."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text()
        except OSError:
            continue
        if int(text.rpartition(")")[2].split()[1]) == process:
            found.append(int(path.parent.name))
    return found


def workers(process: int) -> list[int]:
    """Return the template workers among a process's children."""
    found = []
    for child in children(process):
        try:
            command = Path(f"/proc/{child}/cmdline").read_bytes()
        except OSError:
            continue
        if b"virtualservice_operator.templates.worker" in command:
            found.append(child)
    return found


def test_the_workers_death_at_any_moment_loses_nothing(world: World, operator: OperatorProcess) -> None:
    if not Path("/proc/self/stat").exists():
        pytest.skip("there is no /proc here to find the worker by")
    world.namespace("shop")
    world.namespace("alice", developer="alice")
    world.policy("defaults", "shop", **template(world, HEALTH))
    world.wait_ready("defaults", "shop")
    names = [f"s{number}" for number in range(30)]
    for name in names:
        world.service(name, "shop")
        for worker in workers(operator.pid):
            os.kill(worker, signal.SIGKILL)
    rules = ["health", "default"]
    eventually("each has its rules", lambda: all(world.rules(name, "shop") == rules for name in names))
    world.wait_ready("defaults", "shop")
    metrics = operator.get("/metrics")
    assert 'virtualservice_operator_template_renders_total{result="rendered"}' in metrics
    assert "virtualservice_operator_template_worker_restarts_total" in metrics
