import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from contract.samples import (
    INVALID,
    NOT_ACCEPTED,
    QUICKSTART,
    REFUSED,
    ROOT,
    TEMPLATES,
    VALID,
    Invalid,
    decode,
    decode_all,
    documents,
    read_invalid,
)
from contract.test_crd import PARTS
from rendered import RENDERER
from virtualservice_operator.api.v1alpha1 import RoutingPolicy
from virtualservice_operator.api.v1alpha1.fields import Model
from virtualservice_operator.api.v1alpha1.rules import Rule, Ruled
from virtualservice_operator.cli.files import read_files
from virtualservice_operator.core.objects import Finding, Key, Policy, Service
from virtualservice_operator.core.plan import plan_service
from virtualservice_operator.core.resolution import PlanSettings
from virtualservice_operator.core.snapshot import Snapshot
from virtualservice_operator.templates.offline import check_templates

SETTINGS = PlanSettings()


def rejection_of(policy: Policy) -> Finding | None:
    """Return why a policy is not accepted, its template included."""
    snapshot = Snapshot(SETTINGS, [policy])
    check_templates(snapshot, RENDERER)
    resolved = snapshot.policy(policy.key)
    assert resolved is not None
    return resolved.rejection


def name_of(sample: Invalid | Path) -> str:
    return (sample.path if isinstance(sample, Invalid) else sample).stem


@pytest.mark.parametrize("path", [*VALID, *TEMPLATES], ids=name_of)
def test_a_valid_sample_is_accepted(path: Path) -> None:
    found = decode_all([path.read_text()])
    policies = [item for item in found if isinstance(item, Policy)]
    assert policies
    assert [policy.problems for policy in policies] == [()] * len(policies)
    assert [rejection_of(policy) for policy in policies] == [None] * len(policies)


@pytest.mark.parametrize("path", [*VALID, *TEMPLATES], ids=name_of)
def test_a_valid_sample_says_what_it_shows(path: Path) -> None:
    assert path.read_text().startswith("# ")


def test_valid_samples_can_be_told_apart_by_name() -> None:
    names = [(item["kind"], item["metadata"]["name"]) for path in VALID for item in documents(path.read_text())]
    assert len(names) == len(set(names))


def test_valid_samples_use_every_field_of_the_spec() -> None:
    text = "\n".join(path.read_text() for path in VALID)
    fields = {path.rpartition(".")[2] for path, part in PARTS if path.startswith(".spec.") and part.get("description")}
    assert [field for field in sorted(fields) if not field.endswith("[]") and f"{field}:" not in text] == []


@pytest.mark.parametrize("path", QUICKSTART, ids=name_of)
def test_a_file_of_the_quickstart_decodes(path: Path) -> None:
    found = decode_all([path.read_text()])
    assert found
    assert [item.problems for item in found if isinstance(item, Policy) and item.problems] == []


def test_the_quickstart_makes_a_virtual_service_for_each_service_of_shop() -> None:
    snapshot = Snapshot(SETTINGS, decode_all(path.read_text() for path in QUICKSTART))
    keys = sorted(item.key for item in snapshot.all_of(Service) if item.key.namespace == "shop")
    entries = {key.name: plan_service(snapshot, key).entries["defaults"].developers for key in keys}
    assert entries == {
        "inventory": (),
        "orders": ("alice",),
        "payments": (),
        "ratings": ("bob",),
        "reviews": ("alice",),
        "web": (),
    }


@pytest.mark.parametrize("sample", NOT_ACCEPTED, ids=name_of)
def test_a_sample_that_the_operator_refuses_is_refused_as_it_says(sample: Invalid) -> None:
    (document,) = documents(sample.path.read_text())
    policy = decode(document)
    assert isinstance(policy, Policy)
    rejection = rejection_of(policy)
    assert rejection is not None
    assert rejection.reason == sample.reason
    assert sample.text in rejection.message


def test_a_refused_policy_governs_nothing() -> None:
    refused = decode_all([(ROOT / "samples/invalid/regex-not-re2.yaml").read_text()])
    snapshot = Snapshot(SETTINGS, [*refused, *decode_all(path.read_text() for path in QUICKSTART[:2])])
    assert plan_service(snapshot, Key("shop", "reviews")).changes == ()


def test_every_invalid_sample_holds_one_document_named_after_its_file() -> None:
    found = {
        sample.path: [item["metadata"]["name"] for item in documents(sample.path.read_text())] for sample in INVALID
    }
    assert {path.name: names for path, names in found.items() if names != [path.stem]} == {}


CEL = [(path, rule) for path, part in PARTS for rule in part.get("x-kubernetes-validations", ())]
MESSAGES = {rule["message"] for _, rule in CEL}
# Those that compare with the object before: an edit, which no sample can show (tests/cluster/test_modes.py).
OF_CHANGES = {rule["message"] for _, rule in CEL if "oldSelf" in rule["rule"]}


def message_in(text: str) -> str | None:
    """Return the message of the CEL rule that a text tells of; the text may be shorter, and longer by what to write."""
    said = re.sub(r'^"[^"]*": ', "", text.partition(": Invalid value: ")[2])
    return next(
        (message for message in MESSAGES if said and (said.startswith(message) or message.startswith(said))), None
    )


REFUSED_BY_CEL = [(sample, message) for sample in REFUSED if (message := message_in(sample.text)) is not None]


def test_every_cel_rule_has_a_sample_that_breaks_it() -> None:
    assert OF_CHANGES
    assert MESSAGES - OF_CHANGES - {message for _, message in REFUSED_BY_CEL} == set()


def declared(kind: Any) -> Iterator[Rule]:
    """Yield every rule that is declared in a model, in the models of its fields, and on the fields."""
    if isinstance(kind, Ruled):
        yield from kind.rules
    elif isinstance(kind, type) and issubclass(kind, Model):
        yield from kind.RULES
        for field in kind.model_fields.values():
            for part in (field.annotation, *field.metadata):
                yield from declared(part)
    for part in get_args(kind):
        yield from declared(part)


def test_every_cel_rule_is_declared_with_its_twin_in_python() -> None:
    rules = {(rule.condition, rule.message): rule.holds for rule in declared(RoutingPolicy)}
    assert {(rule["rule"], rule["message"]) for _, rule in CEL} == rules.keys()
    assert {message for (_, message), holds in rules.items() if holds is None} == OF_CHANGES


@pytest.mark.parametrize("sample", REFUSED, ids=name_of)
def test_what_the_api_server_refuses_is_refused_without_one(sample: Invalid) -> None:
    assert read_files([str(sample.path)], "default").problems != ()


@pytest.mark.parametrize(("sample", "message"), REFUSED_BY_CEL, ids=[sample.path.stem for sample, _ in REFUSED_BY_CEL])
def test_what_a_cel_rule_refuses_is_refused_without_it_in_the_same_words(sample: Invalid, message: str) -> None:
    field = re.sub(r"\[([a-z]+)\]", r".\1", sample.text.partition(": Invalid value: ")[0])
    problems = read_files([str(sample.path)], "default").problems
    assert any(f": {field}: " in problem and message in problem for problem in problems), problems


@pytest.mark.parametrize(("sample", "message"), REFUSED_BY_CEL, ids=[sample.path.stem for sample, _ in REFUSED_BY_CEL])
def test_what_was_stored_before_a_cel_rule_was_there_is_not_accepted(sample: Invalid, message: str) -> None:
    (document,) = documents(sample.path.read_text())
    policy = decode(document)
    assert isinstance(policy, Policy)
    rejection = rejection_of(policy)
    assert rejection is not None
    assert rejection.reason == "InvalidSpec"
    assert message in rejection.message


def test_an_invalid_sample_that_does_not_say_why_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "silent.yaml"
    path.write_text("kind: RoutingPolicy\n")
    with pytest.raises(ValueError, match="the first line must begin with"):
        read_invalid(path)


@pytest.mark.parametrize("path", TEMPLATES, ids=name_of)
def test_a_sample_of_a_template_is_that_of_its_golden_case(path: Path) -> None:
    case = ROOT / f"tests/golden/template-{path.stem}/cluster.yaml"
    assert case.exists()
    assert [item for item in documents(path.read_text()) if item not in documents(case.read_text())] == []


@pytest.mark.parametrize("path", TEMPLATES, ids=name_of)
def test_a_sample_of_a_template_meets_a_real_istio(path: Path) -> None:
    """Its webhook and `istioctl analyze` look at what the golden case comes to (tests/traffic)."""
    tables = documents((ROOT / "tests/traffic/s5-templates.yaml").read_text())
    assert [f"../golden/template-{path.stem}/cluster.yaml"] in [table["cluster"] for table in tables]
