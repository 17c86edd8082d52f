"""What the documents show is true: their policies are accepted, their results are what the planner makes."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from contract.samples import QUICKSTART, ROOT, decode, decode_all, documents
from rendered import plan_rendered
from virtualservice_operator.api.conditions import ConditionType, Reason, ServiceState
from virtualservice_operator.core.objects import ClusterObject, Key, Policy
from virtualservice_operator.core.resolution import PlanSettings, resolve_policy
from virtualservice_operator.core.snapshot import Snapshot

SETTINGS = PlanSettings()
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
WITH_EXAMPLES = [ROOT / "README.md", ROOT / "docs/policies.md", ROOT / "docs/templates.md"]
BLOCK = re.compile(
    r"(?:^<!-- example: (?P<mark>[^>]*?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
QUICKSTART_MARK = re.compile(r"^<!-- example: cluster samples/quickstart -->$", re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
TEST_NAME = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


@dataclass(frozen=True)
class Example:
    """A cluster, the policies of one block, and a VirtualService that the page says comes out."""

    page: str
    cluster: tuple[ClusterObject, ...]
    policies: tuple[dict[str, Any], ...]
    result: dict[str, Any]

    def __str__(self) -> str:
        policies = "+".join(policy["metadata"]["name"] for policy in self.policies)
        return f"{self.page}:{policies}:{self.result['metadata']['name']}"


def page_name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def examples(path: Path) -> Iterator[Example]:
    """Yield the marked examples of a page: cluster, then policy, then results, each the nearest above."""
    text = path.read_text()
    cluster: tuple[ClusterObject, ...] = ()
    policies: tuple[dict[str, Any], ...] = ()
    if QUICKSTART_MARK.search(text):
        given = decode_all(file.read_text() for file in QUICKSTART)
        cluster = tuple(item for item in given if not isinstance(item, Policy))
    for block in BLOCK.finditer(text):
        match block["mark"]:
            case "cluster":
                cluster = tuple(decode_all([block["text"]]))
            case "policy":
                policies = tuple(documents(block["text"]))
            case "result":
                for result in documents(block["text"]):
                    yield Example(page_name(path), cluster, policies, result)


EXAMPLES = [example for path in WITH_EXAMPLES for example in examples(path)]
POLICIES = [
    (f"{page_name(path)}:{index}", document)
    for path in PAGES
    for index, block in enumerate(BLOCK.finditer(path.read_text()))
    if block["language"] == "yaml"
    for document in documents(block["text"])
    if document.get("kind") == "RoutingPolicy"
]


def subset(shown: Any, planned: Any) -> bool:
    """Tell whether a mapping holds everything that is shown, at every level."""
    if isinstance(shown, dict) and isinstance(planned, dict):
        return all(key in planned and subset(value, planned[key]) for key, value in shown.items())
    return bool(shown == planned)


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_an_example_is_what_the_planner_makes(example: Example) -> None:
    snapshot = Snapshot(SETTINGS, [*example.cluster, *(decode(policy) for policy in example.policies)])
    metadata = example.result["metadata"]
    service = metadata["name"].removesuffix("-virtual-service")
    (change,) = plan_rendered(snapshot, Key(metadata["namespace"], service)).changes
    assert change.document is not None
    assert change.document["spec"] == example.result["spec"]
    assert subset(metadata, change.document["metadata"])
    assert change.document["apiVersion"] == example.result["apiVersion"]


def test_the_readme_and_the_policy_page_have_examples() -> None:
    counted = {page_name(path): sum(example.page == page_name(path) for example in EXAMPLES) for path in WITH_EXAMPLES}
    assert counted == {"README.md": 1, "docs/policies.md": 9, "docs/templates.md": 3}


@pytest.mark.parametrize("document", [document for _, document in POLICIES], ids=[place for place, _ in POLICIES])
def test_a_policy_in_a_document_is_accepted(document: dict[str, Any]) -> None:
    policy = decode(document)
    assert isinstance(policy, Policy)
    assert policy.problems == ()
    assert resolve_policy(policy, {}, SETTINGS).rejection is None


def listed_in_status(heading: str) -> set[str]:
    """Return what the first column of the tables under the headings that begin so has in code."""
    found: set[str] = set()
    for part in (ROOT / "docs/status.md").read_text().split("\n## ")[1:]:
        if part.startswith(heading):
            found |= set(re.findall(r"^\| `(\w+)`", part, re.MULTILINE))
    return found


@pytest.mark.parametrize(
    ("heading", "members"),
    [("Conditions", ConditionType), ("States", ServiceState), ("Reasons", Reason)],
    ids=["conditions", "states", "reasons"],
)
def test_the_status_page_lists_every_word_and_no_other(heading: str, members: type[StrEnum]) -> None:
    assert listed_in_status(heading) == {str(member) for member in members}


def anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for found in LINK.finditer(page.read_text()):
        place, _, anchor = found["target"].partition("#")
        if place.startswith("https:"):
            continue
        target = (page.parent / place).resolve() if place else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(found["target"])
    assert broken == []


def test_the_tests_that_the_parity_page_names_exist() -> None:
    named = TEST_NAME.findall((ROOT / "docs/parity.md").read_text())
    assert named
    absent = [
        f"{file}::{name}"
        for file, name in named
        if not (ROOT / file).is_file() or (name and f"def {name}(" not in (ROOT / file).read_text())
    ]
    assert absent == []


def test_each_flow_of_the_parity_page_has_a_test_that_is_named_after_it() -> None:
    part = (ROOT / "docs/parity.md").read_text().partition("## Flows")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+) \| `[^`|]+::test_(\w+)` \|$", part, re.MULTILINE)
    assert len(rows) == 8
    names = {flow: re.sub(r"[^a-z ]", "", flow.lower()).replace(" ", "_") for flow, _ in rows}
    assert [flow for flow, test in rows if names[flow] not in test] == []


def test_the_flags_of_the_operations_page_are_those_of_the_program() -> None:
    from virtualservice_operator.cli.run import run

    flags = {option for parameter in run.params for option in parameter.opts}
    text = (ROOT / "docs/operations.md").read_text()
    assert set(re.findall(r"^\| `(--[a-z-]+)`", text, re.MULTILINE)) == flags


def test_the_metrics_of_the_observability_page_are_those_of_the_program_with_their_labels() -> None:
    from virtualservice_operator.controller.metrics import Metrics

    rows = re.findall(
        r"^\| `(virtualservice_operator_\w+)` \| (.*?) \|", (ROOT / "docs/observability.md").read_text(), re.MULTILINE
    )
    assert {name: tuple(re.findall(r"`(\w+)`", labels)) for name, labels in rows} == Metrics().labels


def test_the_situations_of_the_observability_page_are_those_of_the_program() -> None:
    from virtualservice_operator.kube.errors import Situation

    part = (ROOT / "docs/observability.md").read_text().split("### Reasons")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)`", part, re.MULTILINE)) == {"OK", *Situation}


def words_in_code(heading: str, page: str) -> list[str]:
    """Return what stands in code in the paragraph of a page that begins so."""
    text = (ROOT / page).read_text()
    return re.findall(r"`(\w+)`", text[text.index(heading) :].partition("\n\n")[0])


def test_the_templates_page_lists_every_variable_filter_and_method() -> None:
    from virtualservice_operator.templates import functions, syntax

    page = "docs/templates.md"
    table = (ROOT / page).read_text().partition("## Variables")[2].partition("\n\nThe first four")[0]
    first_column = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert {name for cell in first_column for name in re.findall(r"`(\w+)`", cell)} == set(syntax.VARIABLES)
    assert set(words_in_code("Filters:", page)) == set(functions.FILTER_NAMES)
    methods = words_in_code("Methods of text:", page)
    assert set(methods) == functions.STRING_METHODS | functions.MAPPING_METHODS
