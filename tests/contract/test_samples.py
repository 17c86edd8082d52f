from pathlib import Path

import pytest

from contract.samples import (
    INVALID,
    NOT_ACCEPTED,
    QUICKSTART,
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


def test_every_cel_rule_has_a_sample_that_breaks_it() -> None:
    found = [rule for _, part in PARTS for rule in part.get("x-kubernetes-validations", ())]
    rules = [rule["message"] for rule in found if "oldSelf" not in rule["rule"]]  # an edit: tests/cluster/test_modes.py
    said = [sample.text for sample in INVALID if sample.reason is None]
    assert rules
    assert [rule for rule in rules if not any(rule[:20] in text for text in said)] == []


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
