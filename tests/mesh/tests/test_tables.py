"""Request tables are read whole, and what is wrong in one is said with file, document and field."""

import functools
from pathlib import Path

import pytest
import yaml

from mesh.errors import MeshError
from mesh.tables import Table, read_tables

HEAD = "apiVersion: virtualservice-operator.dev/v1alpha1\nkind: RequestTests\n"
ROW = "tests:\n- {name: a, request: {to: reviews.shop}, expect: {destination: reviews.shop}}\n"
CLUSTER = """
objects:
- kind: Service
  metadata: {name: reviews, namespace: shop}
  spec: {ports: [{name: http, port: 80}]}
"""
ROOT = Path(__file__).resolve().parents[3]
TRAFFIC = ROOT / "tests/traffic"
SAMPLES = sorted(
    file for folder in ("valid", "templates", "quickstart") for file in (ROOT / "samples" / folder).glob("*.yaml")
)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "table.yaml"
    path.write_text(text)
    return path


def test_a_row_has_defaults(tmp_path: Path) -> None:
    (table,) = read_tables(written(tmp_path, HEAD + ROW))
    (row,) = table.rows
    assert (row.request.caller, row.request.port, row.request.protocol, row.request.path) == ("shop", 80, "http", "/")


def test_objects_replace_what_files_say_of_the_same_name(tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text(
        "kind: Service\nmetadata: {name: reviews, namespace: shop}\nspec: {ports: []}\n---\n"
        "kind: Namespace\nmetadata: {name: shop}\n"
    )
    (table,) = read_tables(written(tmp_path, HEAD + "cluster: [cluster.yaml]" + CLUSTER + ROW))
    assert [document["kind"] for document in table.documents] == ["Service", "Namespace"]
    assert table.documents[0]["spec"]["ports"] == [{"name": "http", "port": 80}]


def test_what_the_operator_wrote_is_left_to_the_operator(tmp_path: Path) -> None:
    ours = "objects:\n- kind: VirtualService\n  metadata: {name: a, namespace: b, labels: {app.kubernetes.io/managed-by: x}}\n"
    (table,) = read_tables(written(tmp_path, HEAD + ours + ROW))
    assert table.documents == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: Requests\ntests: []\n", "table.yaml, document 1: kind is Requests, write RequestTests"),
        (HEAD + "test: []\n" + ROW, "table.yaml, document 1: unknown field 'test'"),
        (HEAD + ROW.replace("to:", "too:"), "document 1, 'a', request: unknown field 'too'"),
        (HEAD + ROW.replace("destination:", "answer:"), "document 1, 'a', expect: unknown field 'answer'"),
        (HEAD + ROW.replace("destination: reviews.shop", "flag: NC"), "expect says either destination or status"),
        (HEAD + ROW.replace("to:", "protocol: tcp, to:"), "protocol is tcp, write one of grpc, http, websocket"),
        (HEAD + ROW + ROW.removeprefix("tests:\n"), "two tests have the same name: ['a']"),
        (HEAD + 'without: ["Service shop/reviews"]\n' + ROW, "without names Service shop/reviews, which the cluster"),
    ],
    ids=["kind", "field", "request", "expect", "neither", "protocol", "name", "without"],
)
def test_a_mistake_is_said_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(MeshError) as raised:
        read_tables(written(tmp_path, text))
    assert message in str(raised.value)


@functools.cache
def all_tables() -> list[Table]:
    return [table for file in sorted(TRAFFIC.glob("*.yaml")) for table in read_tables(file)]


@pytest.mark.parametrize("sample", SAMPLES, ids=[f"{file.parent.name}/{file.stem}" for file in SAMPLES])
def test_a_table_asks_of_each_sample(sample: Path) -> None:
    """Some table has the sample's objects as they are, whether it reads the file or repeats them."""
    wanted = [item for item in yaml.safe_load_all(sample.read_text()) if item is not None]
    assert wanted
    assert any(all(item in table.documents for item in wanted) for table in all_tables())


def test_the_tables_have_what_they_promise() -> None:
    tables = all_tables()
    rows = [row for table in tables for row in table.rows]
    assert len(rows) >= 150
    assert {row.request.protocol for row in rows} == {"http", "grpc", "websocket"}
    assert {row.request.caller for row in rows} >= {"shop", "other", "alice", "dev-alice"}
    assert {row.expect.get("flag") for row in rows} >= {"NC", "UH", "direct_response"}
