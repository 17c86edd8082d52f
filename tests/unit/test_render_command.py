"""`vso render`: what files lead to, and everything that is wrong with them."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from virtualservice_operator.cli.render import render

SERVICES = """\
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: shop}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: alice}
spec: {ports: [{name: http, port: 80}]}
"""
POLICY = """\
apiVersion: virtualservice-operator.dev/v1alpha1
kind: RoutingPolicy
metadata: {name: defaults, namespace: shop}
spec:
  developers: [{name: alice}]
"""
TEMPLATE = """\
  template:
    virtualService: |
      {% extends "base" %}
      {% block rules_before_default %}
      - name: health
        match: [{uri: {exact: /healthz}}]
        directResponse: {status: 200}
      {% endblock %}
"""


def run(tmp_path: Path, *texts: str, flags: tuple[str, ...] = ()) -> Result:
    """Run the command on files a.yaml, b.yaml and so on."""
    arguments = list(flags)
    for number, text in enumerate(texts):
        path = tmp_path / f"{chr(97 + number)}.yaml"
        path.write_text(text)
        arguments += ["-f", str(path)]
    return CliRunner().invoke(render, arguments)


def rules(result: Result) -> list[str]:
    (document,) = yaml.safe_load_all(result.stdout)
    return [rule["name"] for rule in document["spec"]["http"]]


def test_it_prints_what_is_wanted(tmp_path: Path) -> None:
    result = run(tmp_path, SERVICES, POLICY)
    assert (result.exit_code, result.stderr) == (0, "")
    assert rules(result) == ["defaults.alice", "default"]


def test_it_renders_templates(tmp_path: Path) -> None:
    result = run(tmp_path, SERVICES, POLICY + TEMPLATE)
    assert (result.exit_code, result.stderr) == (0, "")
    assert rules(result) == ["defaults.alice", "health", "default"]


def test_what_it_prints_names_no_owner_that_only_the_cluster_knows(tmp_path: Path) -> None:
    assert "ownerReferences" not in run(tmp_path, SERVICES, POLICY).stdout
    known = run(tmp_path, SERVICES, POLICY.replace("{name: defaults", "{uid: u-1, name: defaults"))
    assert "uid: u-1" in known.stdout


def test_files_folders_lists_and_standard_input_are_read(tmp_path: Path) -> None:
    listed = yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": list(yaml.safe_load_all(SERVICES))})
    (tmp_path / "folder" / "deeper").mkdir(parents=True)
    (tmp_path / "folder" / "deeper" / "services.yml").write_text(listed)
    (tmp_path / "folder" / "notes.txt").write_text("no YAML: [")
    result = CliRunner().invoke(render, ["-f", str(tmp_path / "folder"), "-f", "-"], input=POLICY)
    assert rules(result) == ["defaults.alice", "default"]


def test_the_namespace_and_the_domain_can_be_given(tmp_path: Path) -> None:
    texts = (SERVICES.replace(", namespace: shop", ""), POLICY.replace(", namespace: shop", ""))
    result = run(tmp_path, *texts, flags=("-n", "team", "--cluster-domain", "example.org"))
    assert "reviews.team.svc.example.org" in result.stdout


def test_placeholders_are_printed_too(tmp_path: Path) -> None:
    permits = (
        "apiVersion: v1\nkind: Namespace\n"
        "metadata: {name: bob, annotations: {virtualservice-operator.dev/allow-policies-from: shop}}\n"
    )
    policy = POLICY.replace("[{name: alice}]", "[{name: bob}]\n  placeholder: {mode: Alias, createFor: AllServices}")
    kinds = [item["kind"] for item in yaml.safe_load_all(run(tmp_path, SERVICES, permits, policy).stdout)]
    assert kinds == ["VirtualService", "Service"]


def test_what_routing_does_not_depend_on_is_counted(tmp_path: Path) -> None:
    result = run(tmp_path, SERVICES + "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n", POLICY)
    assert result.exit_code == 0
    assert result.stderr == "note: documents of kinds that routing does not depend on: 1\n"


def test_a_developer_without_a_namespace_is_a_note(tmp_path: Path) -> None:
    result = run(tmp_path, SERVICES, POLICY.replace("[{name: alice}]", "[{name: alice}, {name: zoe}]"))
    assert result.exit_code == 0
    assert "note: RoutingPolicy shop/defaults: developer zoe: there is no namespace zoe" in result.stderr


@pytest.mark.parametrize(
    ("services", "policy", "says"),
    [
        (SERVICES, "a: [", "b.yaml, line 2: this is no YAML: "),
        (SERVICES, "- a", "b.yaml, document 1: this is no Kubernetes object: it has no kind"),
        (SERVICES, POLICY + "  priority: 2000\n", "b.yaml, document 1: RoutingPolicy defaults: spec.priority: 2000: Input should be less than or equal to 1000"),
        (SERVICES, POLICY + "  prioritie: 1\n", "spec.prioritie: there is no such field; remove it"),
        (SERVICES, POLICY + "  template: {}\n", "spec.template: a template says virtualService or developerRoutes"),
        (SERVICES, POLICY.partition("spec:")[0], "RoutingPolicy defaults: spec: it is missing; add it"),
        (SERVICES, POLICY + "  priority: '5'\n", "spec.priority: '5': is no whole number; write it without quotes"),
        (SERVICES, POLICY + "  exportTo: ['*', a]\n", "spec.exportTo: '*' stands for all namespaces: write it alone"),
        (SERVICES, POLICY + "  exportTo: [a, a]\n", "spec.exportTo: 'a' is listed twice; keep one entry"),
        (SERVICES, POLICY + "  matches: [{type: Header, name: host}]\n", "spec.matches[0].name: 'host': uri, scheme, method, authority, host are parts"),
        (SERVICES, POLICY + "  copies: {reject: {status: 404}}\n", "spec.copies.reject: reject says how to reject, so whenMissing or unknownDeveloper must be Reject"),
        (SERVICES, POLICY + "  copies: {whenMissing: Reject, reject: {body: '{{ Who }}'}}\n", "spec.copies.reject.body: {{ Who }} is not a variable"),
        (SERVICES, POLICY + "  matches: [{name: a}]\n", "spec.matches[0].type: it is missing; add it"),
        (SERVICES.replace("port: 80", "port: 99999", 1), POLICY, "a.yaml, document 1: Service reviews: spec.ports[0].port: 99999 is more than 65535"),
        (SERVICES.replace("port: 80", "port: http", 1), POLICY, 'spec.ports[0].port: "http" is not a whole number'),
        (SERVICES.replace("name: reviews, ", "", 1), POLICY, "metadata: name is missing; add it"),
        (SERVICES.replace("name: reviews, ", "name: '', ", 1), POLICY, 'metadata.name: "" is no name of 1 to 253 characters'),
        (SERVICES.replace("namespace: shop}", "namespace: shop, labels: {a: 1}}", 1), POLICY, "metadata.labels.a: 1 is not text (in quotes)"),
        (SERVICES.replace("namespace: shop}", "namespace: shop, annotations: [a]}", 1), POLICY, "metadata.annotations: ['a'] is not a mapping"),
        (SERVICES.replace("metadata: {name: reviews, namespace: shop}", "metadata: 5", 1), POLICY, "metadata: 5 is not a mapping"),
        (SERVICES.replace("metadata: {name: reviews, namespace: shop}\n", "", 1), POLICY, "metadata: it is missing; add it"),
        (SERVICES.replace("[{name: http, port: 80}]", "x", 1), POLICY, 'spec.ports: "x" is not a list'),
        (SERVICES.replace("[{name: http, port: 80}]", "[{name: http}]", 1), POLICY, "spec.ports[0]: port is missing; add it"),
        (SERVICES.replace("port: 80", "port: true", 1), POLICY, "spec.ports[0].port: true is not a whole number"),
        (SERVICES, 'kind: List\nitems: ["x"]', "b.yaml, document 1, item 1: this is no Kubernetes object: it has no kind"),
        (SERVICES, "kind: List\nitems: [null, {kind: 5}]", "b.yaml, document 1, item 2: this is no Kubernetes object: it has no kind"),
        (SERVICES, POLICY + TEMPLATE.replace("healthz", "{{ Nobody }}"), "b.yaml, document 1: RoutingPolicy shop/defaults: spec.template: template virtualService, line 4: 'Nobody' is not a variable"),
        (SERVICES, POLICY + TEMPLATE.replace("healthz", "{{ ServiceLabels.x }}"), "b.yaml, document 1: RoutingPolicy shop/defaults: Service reviews: template virtualService, line 4: a mapping has no field 'x'"),
        (SERVICES, POLICY + TEMPLATE.replace("status", "statu"), "spec.http[1].directResponse"),
        (SERVICES, POLICY + TEMPLATE.replace("directResponse: {status: 200}", "route: [{destination: {host: a.b.c}}]"), 'Service reviews: template virtualService, line 5: spec.http[1].route[0].destination.host: "a.b.c" is neither'),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_file_document_field_and_value(
    tmp_path: Path, services: str, policy: str, says: str
) -> None:
    result = run(tmp_path, services, policy)
    assert (result.exit_code, result.stdout) == (1, "")
    assert says in result.stderr
    assert result.stderr.startswith("error: ")


def test_all_mistakes_are_said_at_once(tmp_path: Path) -> None:
    result = run(tmp_path, "a: [", SERVICES.replace("port: 80", "port: 0"), POLICY + "  priority: x\n")
    assert len(result.stderr.splitlines()) == 4


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-f", "/nowhere.yaml"], "/nowhere.yaml: it cannot be read: No such file or directory"),
        ([], "Missing option '-f'"),
        (["-f", "-", "-n", "A B"], "'A B' is not a namespace's name"),
        (["-f", "-", "--cluster-domain", "-"], "is not a DNS domain"),
    ],
)
def test_a_wrong_call_is_said(arguments: list[str], says: str) -> None:
    result = CliRunner().invoke(render, arguments)
    assert result.exit_code != 0
    assert says in result.stderr


def test_an_empty_folder_is_said(tmp_path: Path) -> None:
    result = CliRunner().invoke(render, ["-f", str(tmp_path)])
    assert result.exit_code == 1
    assert "the folder holds no file that ends in .yaml" in result.stderr
