"""A machine that cannot run the mesh is told what it lacks, test by test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mesh import machine


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    """What a machine lacks is found out once; here it changes."""
    machine.missing.cache_clear()
    yield
    machine.missing.cache_clear()


def test_a_user_who_is_not_root_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert machine.refusal("test_a") == (
        "test_a needs istiod, Envoy, and network namespaces to run them in: "
        "this is not root, who alone may make network namespaces"
    )


def test_another_system_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    assert "this is darwin, and network namespaces are Linux's" in machine.refusal("test_a")


def test_a_program_that_is_not_there_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda name: None if name == "iptables" else f"/bin/{name}")
    monkeypatch.setattr(machine, "_works", lambda *_: True)
    assert machine.missing() == ["there is no iptables (Debian package iptables)"]


@pytest.mark.parametrize(("value", "expected"), [("true", True), ("1", True), ("", False), ("false", False)])
def test_ci_is_known_by_its_variable(monkeypatch: pytest.MonkeyPatch, value: str, *, expected: bool) -> None:
    monkeypatch.setenv("CI", value)
    assert machine.is_ci() is expected
