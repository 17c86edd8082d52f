"""
The process that starts the programs and ends them when the test run ends, however it ends.

It is a program of its own (`python supervisor_process.py FD`), standard library only. FD is its end of a socket pair
whose other end only the parent holds. One JSON object a line goes each way: a request, then its answer. When the
socket closes, the parent is gone, even if it was killed with -9: every program is killed, the parting commands run.

Single-threaded on purpose: PDEATHSIG, the second layer, follows the *thread* that started a program. It covers the
case that this very process is killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
LOOK_SECONDS = 0.5

_libc = ctypes.CDLL(None, use_errno=True)


class Programs:
    """The programs that run, by process id; each leads a session and so a process group of its own."""

    def __init__(self) -> None:
        self.running: dict[int, subprocess.Popen[bytes]] = {}
        self.codes: dict[int, int] = {}
        self.parting: list[list[str]] = []

    def spawn(self, argv: list[str], log: str, env: dict[str, str] | None, cwd: str | None) -> dict[str, Any]:
        """Start a program whose output goes to the end of its log."""
        with Path(log).open("ab") as output:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=env,
                cwd=cwd,
                start_new_session=True,
                preexec_fn=_die_with(os.getpid()),  # noqa: PLW1509 - this process has one thread
            )
        self.running[process.pid] = process
        return {"pid": process.pid}

    def signal(self, pid: int, number: int) -> dict[str, Any]:
        """Send a signal to the whole group; a group that has ended is left alone."""
        if pid in self.running:
            os.killpg(pid, number)
        return {}

    def poll(self, pid: int) -> dict[str, Any]:
        """Answer with the exit code, null while the program runs."""
        self.note_ends()
        return {"code": self.codes.get(pid)}

    def when_orphaned(self, argv: list[str]) -> dict[str, Any]:
        """Remember a command to run if the parent vanishes without saying goodbye."""
        self.parting.append(argv)
        return {}

    def stop(self) -> dict[str, Any]:
        """Kill every program; the parent is alive and tidies up itself."""
        self.kill_all()
        self.parting.clear()
        return {}

    def note_ends(self) -> None:
        """
        Reap the leaders that have ended, after killing what is left of their groups.

        In this order: until the leader is reaped its number cannot be given to another process.
        """
        for pid in tuple(self.running):
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                self._end(pid)

    def kill_all(self) -> None:
        """Kill every group and wait for its leader."""
        for pid in self.running:
            os.killpg(pid, signal.SIGKILL)
        for pid in tuple(self.running):
            self._end(pid)

    def take_leave(self) -> None:
        """Kill every program and run the parting commands: the parent is gone."""
        self.kill_all()
        for argv in self.parting:
            subprocess.run(argv, check=False)

    def _end(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        self.codes[pid] = self.running.pop(pid).wait()


def main() -> None:
    """Answer the parent's requests until it says stop or is gone."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    programs = Programs()
    try:
        with socket.socket(fileno=int(sys.argv[1])) as control:
            _serve(control, programs, parent=os.getppid())
    finally:
        programs.take_leave()


def _serve(control: socket.socket, programs: Programs, parent: int) -> None:
    """Answer until the socket closes, or until the parent changes: a fork of it may still hold the socket open."""
    buffered = b""
    while os.getppid() == parent:
        readable, _, _ = select.select([control], [], [], LOOK_SECONDS)
        programs.note_ends()
        if not readable:
            continue
        received = control.recv(65536)
        if not received:
            return
        *lines, buffered = (buffered + received).split(b"\n")
        for line in lines:
            control.sendall(json.dumps(_answer(json.loads(line), programs)).encode() + b"\n")


def _answer(request: dict[str, Any], programs: Programs) -> dict[str, Any]:
    do: Callable[..., dict[str, Any]] = getattr(programs, request.pop("do"))
    try:
        return do(**request)
    except OSError as error:
        return {"error": str(error)}


def _die_with(parent: int) -> Callable[[], None]:
    """Return what the new program does first: ask for SIGKILL at its parent's death, and give up SIGINT's deafness."""

    def prepare() -> None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)

    return prepare


if __name__ == "__main__":
    main()
