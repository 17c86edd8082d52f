"""Programs under a supervisor can be signalled, waited for, and never survive it."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.errors import ProcessError
from controlplane.supervisor import Supervisor
from controlplane.waiting import wait_for

PARENT_AND_CHILD = "sleep 600 & echo $!; wait"


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    with Supervisor() as running:
        yield running


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "program.log"


def is_gone(pid: int) -> bool:
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True


def child_of(log: Path) -> int:
    return int(wait_for(lambda: log.read_text().strip() or None, what="the child's number"))


def test_a_program_ends_with_its_code_and_its_words(supervisor: Supervisor, log: Path) -> None:
    process = supervisor.spawn(("sh", "-c", "echo $WORD; echo loud >&2; exit 3"), log=log, env={"WORD": "said"})
    assert process.wait() == 3
    assert not process.alive
    assert log.read_text() == "said\nloud\n"


def test_a_program_runs_in_the_folder_it_was_given(supervisor: Supervisor, log: Path, tmp_path: Path) -> None:
    supervisor.spawn(("pwd",), log=log, cwd=tmp_path).wait()
    assert log.read_text().strip() == str(tmp_path)


def test_a_program_that_is_missing_is_named(supervisor: Supervisor, log: Path) -> None:
    with pytest.raises(ProcessError, match="no-such-program"):
        supervisor.spawn(("no-such-program",), log=log)


def test_kill_reaches_the_children_too(supervisor: Supervisor, log: Path) -> None:
    process = supervisor.spawn(("sh", "-c", PARENT_AND_CHILD), log=log)
    child = child_of(log)
    assert process.kill() == -signal.SIGKILL
    wait_for(lambda: is_gone(child), what="the child to go", timeout=10)


def test_what_a_program_leaves_behind_is_killed_when_it_ends(supervisor: Supervisor, log: Path) -> None:
    process = supervisor.spawn(("sh", "-c", "sleep 600 & echo $!"), log=log)
    assert process.wait() == 0
    child = child_of(log)
    wait_for(lambda: is_gone(child), what="the child to go", timeout=10)


def test_terminate_lets_a_program_end_by_itself(supervisor: Supervisor, log: Path) -> None:
    process = supervisor.spawn(("sh", "-c", "trap 'exit 5' TERM; echo up; while :; do sleep 0.05; done"), log=log)
    wait_for(lambda: "up" in log.read_text(), what="the trap")
    assert process.terminate() == 5


def test_terminate_kills_a_program_that_does_not_listen(supervisor: Supervisor, log: Path) -> None:
    process = supervisor.spawn(("sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done"), log=log)
    wait_for(lambda: "up" in log.read_text(), what="the trap")
    assert process.terminate(timeout=0.3) == -signal.SIGKILL


def test_waiting_for_a_program_that_runs_is_bounded(supervisor: Supervisor, log: Path) -> None:
    process = supervisor.spawn(("sleep", "600"), log=log)
    with pytest.raises(TimeoutError, match=r"sleep .* still runs after 0\.1 s; its log: "):
        process.wait(timeout=0.1)


def test_programs_can_be_interrupted_though_the_supervisor_cannot(supervisor: Supervisor, log: Path) -> None:
    process = supervisor.spawn((sys.executable, "-c", "import time; time.sleep(600)"), log=log)
    time.sleep(0.3)
    os.kill(supervisor.pid, signal.SIGINT)
    process.signal(signal.SIGINT)
    assert process.wait() != 0
    assert "KeyboardInterrupt" in log.read_text()


def test_programs_die_with_a_supervisor_that_is_killed(log: Path) -> None:
    with Supervisor() as supervisor:
        process = supervisor.spawn(("sleep", "600"), log=log)
        os.kill(supervisor.pid, signal.SIGKILL)
        wait_for(lambda: is_gone(process.pid), what="the program to go", timeout=10)
        with pytest.raises(ProcessError, match="is gone"):
            supervisor.spawn(("true",), log=log)


def test_parting_commands_are_not_run_after_an_orderly_stop(log: Path, tmp_path: Path) -> None:
    with Supervisor() as supervisor:
        supervisor.when_orphaned("touch", str(tmp_path / "parted"))
        process = supervisor.spawn(("sleep", "600"), log=log)
    assert is_gone(process.pid)
    assert not (tmp_path / "parted").exists()
