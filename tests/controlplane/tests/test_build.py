"""The programs come from where the user says, and only else from a build."""

from pathlib import Path

import pytest

from controlplane import build
from controlplane.build import Programs, ensure_programs
from controlplane.errors import BuildError
from controlplane.toolchain import TOOLS, cache_directory, pinned_version

ALL = ("kube-apiserver", "etcd", "kubectl", "kube-controller-manager")


def make_programs(folder: Path, *names: str, says: str = "") -> Path:
    folder.mkdir()
    for name in names:
        (folder / name).write_text(f"#!/bin/sh\necho '{says}'\n")
        (folder / name).chmod(0o755)
    return folder


def kubectl_of_minor(minor: str) -> str:
    return f'{{"clientVersion": {{"major": "1", "minor": "{minor}"}}}}'


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Build nothing; return the names of what would have been built."""
    names: list[str] = []

    def note(go: str, recipe: build.Recipe, tools: Path, flags: object, path: Path, say: object) -> None:
        names.append(path.name)

    monkeypatch.setattr(build, "_build", note)
    monkeypatch.setattr(build, "find_go", lambda _: "go")
    monkeypatch.setattr(build, "go_version", lambda _: "go version go1.26.0 linux/amd64")
    return names


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_folder_of_assets_is_used_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assets = make_programs(tmp_path / "assets", *ALL)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(assets))
    expected = Programs(*(assets / name for name in ("kube-apiserver", "etcd", "kube-controller-manager", "kubectl")))
    assert ensure_programs() == expected


def test_assets_without_a_controller_manager_get_one_built(
    cache: Path, built: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assets = make_programs(tmp_path / "assets", "kube-apiserver", "etcd", "kubectl")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(assets))
    said: list[str] = []
    assert ensure_programs(said.append).kube_apiserver == assets / "kube-apiserver"
    assert built == ["kube-controller-manager"]
    assert said[0].startswith("KUBEBUILDER_ASSETS has no kube-controller-manager: taking 1.")


def test_assets_without_an_api_server_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(make_programs(tmp_path / "assets", "etcd", "kubectl")))
    with pytest.raises(BuildError, match="there is no kube-apiserver: set it right or unset it"):
        ensure_programs()


@pytest.mark.parametrize(
    ("away", "is_built"),
    [(-2, True), (-1, False), (0, False), (1, False), (2, True)],
    ids=["too old", "one older", "equal", "one newer", "too new"],
)
def test_kubectl_from_path_must_be_within_one_minor_version(
    cache: Path, built: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, away: int, *, is_built: bool
) -> None:
    minor = int(pinned_version(build.KUBERNETES).split(".")[1]) + away
    path = make_programs(tmp_path / "bin", "kubectl", says=kubectl_of_minor(f"{minor}+"))
    monkeypatch.setenv("PATH", str(path))
    ensure_programs(lambda _: None)
    assert ("kubectl" in built) == is_built


def test_a_kubectl_that_does_not_say_its_version_is_not_used(
    cache: Path, built: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(make_programs(tmp_path / "bin", "kubectl", says="who knows")))
    ensure_programs(lambda _: None)
    assert "kubectl" in built


def test_what_is_built_goes_into_the_users_cache(cache: Path, built: list[str]) -> None:
    assert cache_directory() == cache / "virtualservice-operator"
    programs = ensure_programs(lambda _: None)
    assert programs.etcd.parent.parent == cache / "virtualservice-operator/tools"
    assert built[:3] == ["etcd", "kube-apiserver", "kube-controller-manager"]


def test_another_go_builds_into_another_folder(cache: Path, built: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    first = ensure_programs(lambda _: None)
    monkeypatch.setattr(build, "go_version", lambda _: "go version go1.26.1 linux/amd64")
    assert ensure_programs(lambda _: None).etcd.parent != first.etcd.parent
    assert len(built) >= 6


def test_every_staging_module_of_kubernetes_is_of_the_pinned_release() -> None:
    pins = (TOOLS / "go.mod").read_text()
    release = pinned_version(build.KUBERNETES).removeprefix("1.")
    replaced = [line.split() for line in pins.splitlines() if line.startswith("\tk8s.io/") and "=>" in line]
    assert len(replaced) > 25
    assert all(line == [line[0], "=>", line[0], f"v0.{release}"] for line in replaced)
