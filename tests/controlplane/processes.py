"""The programs of a control plane as they run: started, ready, or an error that shows why not."""

from __future__ import annotations

from collections.abc import Callable

from controlplane.commands import Layout
from controlplane.errors import ControlPlaneError, ProcessError, last_lines
from controlplane.kubectl import clean_environment
from controlplane.ports import free_port
from controlplane.supervisor import Process, Supervisor
from controlplane.waiting import wait_for

START_SECONDS = 60.0
PORT_TRIES = 3


class Processes:
    """What runs under one supervisor, by name."""

    def __init__(self, supervisor: Supervisor, layout: Layout) -> None:
        self._supervisor = supervisor
        self._layout = layout
        self._running: dict[str, Process] = {}

    @property
    def pids(self) -> dict[str, int]:
        """The process id of each program that was started and not killed."""
        return {name: process.pid for name, process in self._running.items()}

    def start(self, name: str, argv: list[str], *, is_ready: Callable[[], bool]) -> None:
        """
        Start a program and return when it is ready.

        Errors: `ProcessError` with the end of its log, when it ends before, or takes too long.
        """
        if name in self._running:
            raise ControlPlaneError(f"{name} runs already (process {self._running[name].pid}): kill it first")
        directory = self._layout.directory
        process = self._supervisor.spawn(
            argv, log=self._layout.log(name), env=clean_environment(directory), cwd=directory
        )
        trouble = _wait_until_ready(process, is_ready)
        if trouble:
            process.kill()
            raise ProcessError(f"{trouble}. The end of its log {process.log}:\n{last_lines(process.log)}")
        self._running[name] = process

    def start_on_free_port(self, name: str, start_on: Callable[[int], None]) -> None:
        """Start on a port that was free a moment ago; take another when someone was faster."""
        for attempt in range(1, PORT_TRIES + 1):
            try:
                return start_on(free_port())
            except ProcessError:
                taken = "address already in use" in last_lines(self._layout.log(name))
                if not taken or attempt == PORT_TRIES:
                    raise
                self._layout.log(name).unlink()
        return None

    def kill(self, name: str) -> None:
        """Kill a program with SIGKILL."""
        self._find(name).kill()
        del self._running[name]

    def signal(self, name: str, number: int) -> None:
        """Send a program a signal."""
        self._find(name).signal(number)

    def _find(self, name: str) -> Process:
        if name not in self._running:
            raise ControlPlaneError(f"{name} does not run: start it first")
        return self._running[name]


def _wait_until_ready(process: Process, is_ready: Callable[[], bool]) -> str:
    """Return what went wrong, nothing when it is ready."""
    try:
        wait_for(lambda: is_ready() or not process.alive, what=f"{process.name} to be ready", timeout=START_SECONDS)
    except TimeoutError as error:
        return str(error)
    return "" if process.alive else f"{process.name} ended with {process.code}"
