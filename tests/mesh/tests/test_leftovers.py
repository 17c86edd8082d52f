"""A rig leaves nothing behind: no process, no folder, no namespace, however it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.waiting import wait_for
from mesh.machine import is_ci, refusal
from mesh.pod import python_environment

pytestmark = pytest.mark.mesh


@pytest.fixture
def rig(request: pytest.FixtureRequest) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A rig that somebody started by hand, and its folder."""
    if refused := refusal(request.node.nodeid):
        (pytest.fail if is_ci() else pytest.skip)(refused)
    argv = (sys.executable, "-m", "mesh", "up")
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=python_environment()) as process:
        assert process.stdout is not None
        try:
            folder = Path(process.stdout.readline().strip())
            assert folder.is_dir(), "the rig did not start"
            yield process, folder
        finally:
            process.kill()


def traces() -> list[str]:
    """Return what a rig must not make on the machine itself: interfaces of pods, names of namespaces, their resolvers."""
    interfaces = [path.name for path in Path("/sys/class/net").iterdir() if path.name.startswith("pod")]
    named = [str(path) for place in ("/run/netns", "/etc/netns") for path in Path(place).glob("*")]
    return [*interfaces, *(name for name in named if "pod" in name or "vso" in name)]


def processes_of(folder: Path) -> list[str]:
    """Return the command lines that name a rig's folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in line:
            found.append(line)
    return found


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_nothing_is_left(rig: tuple[subprocess.Popen[str], Path], number: signal.Signals) -> None:
    process, folder = rig
    assert traces() == []
    assert len(processes_of(folder)) > 5
    process.send_signal(number)
    process.wait(60)
    wait_for(lambda: not processes_of(folder), what=f"the processes of {folder} to end", timeout=60)
    wait_for(lambda: not folder.exists(), what=f"{folder} to go", timeout=60)
    assert traces() == []
