"""What `istioctl analyze` says is read, and a run without a result is not taken for one that found nothing."""

import pytest

from mesh.analysis import Message, read
from mesh.errors import MeshError

FOUND = '[{"code": "IST0101", "level": "Error", "origin": "VirtualService shop/a", "message": "no host", "line": 0}]'


@pytest.mark.parametrize("code", [0, 79])
def test_messages_are_read(code: int) -> None:
    assert read(code, FOUND, "") == [Message("IST0101", "Error", "VirtualService shop/a", "no host")]


def test_nothing_is_found() -> None:
    assert read(0, "[]", "") == []


@pytest.mark.parametrize(
    ("code", "output"),
    [(0, ""), (1, ""), (1, "[]"), (79, ""), (0, "{}"), (0, "null")],
    ids=["silent", "failed", "failed after a list", "issues without a list", "not a list", "null"],
)
def test_no_result_is_an_error(code: int, output: str) -> None:
    with pytest.raises(MeshError) as raised:
        read(code, output, "no route to host")
    assert str(raised.value) == f"istioctl analyze ended with {code} and no result; it said: {output}no route to host"
