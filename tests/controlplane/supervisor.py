"""Start programs that cannot outlive the process that asked for them, even if that process is killed with -9."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from controlplane.errors import ProcessError

SUPERVISOR_PROGRAM = Path(__file__).with_name("supervisor_process.py")
LOOK_SECONDS = 0.02
STOP_SECONDS = 30.0


class Supervisor:
    """A child process that owns the programs; see `supervisor_process` for how it notices the end of its parent."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair()
        self._lock = threading.Lock()
        self._buffered = b""
        with theirs:
            self._child = subprocess.Popen(
                (sys.executable, "-I", "-S", str(SUPERVISOR_PROGRAM), str(theirs.fileno())),
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C in a terminal goes to the parent only
            )

    @property
    def pid(self) -> int:
        """The supervisor's own process id."""
        return self._child.pid

    def spawn(
        self, argv: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> Process:
        """
        Start a program in a session of its own; what it prints goes to the end of `log`.

        `env` is its whole environment, that of the caller when absent.
        Errors: `ProcessError` when it cannot be started at all.
        """
        answer = self.ask(
            do="spawn",
            argv=list(argv),
            log=str(log),
            env=dict(os.environ if env is None else env),
            cwd=None if cwd is None else str(cwd),
        )
        return Process(self, answer["pid"], Path(argv[0]).name, log)

    def when_orphaned(self, *argv: str) -> None:
        """Name a command that the supervisor runs if this process vanishes without `stop`: it removes what is left."""
        self.ask(do="when_orphaned", argv=list(argv))

    def stop(self) -> None:
        """Kill every program, then the supervisor; a second call does nothing."""
        if self._child.returncode is not None:
            return
        with contextlib.suppress(ProcessError):  # it was killed already, and the programs with it
            self.ask(do="stop")
        self._control.close()
        self._child.wait(STOP_SECONDS)

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send one request to the supervisor and return its answer."""
        with self._lock:
            try:
                self._control.sendall(json.dumps(request).encode() + b"\n")
                answer: dict[str, Any] = json.loads(self._read_line())
            except OSError as error:
                raise ProcessError(f"the supervisor (process {self.pid}) is gone: {error}") from error
        if "error" in answer:
            raise ProcessError(f"{request.get('argv', request)}: {answer['error']}")
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _read_line(self) -> bytes:
        while b"\n" not in self._buffered:
            received = self._control.recv(65536)
            if not received:
                raise ConnectionResetError("it closed the connection")
            self._buffered += received
        line, _, self._buffered = self._buffered.partition(b"\n")
        return line


class Process:
    """A program under a supervisor; signals go to its whole process group."""

    def __init__(self, supervisor: Supervisor, pid: int, name: str, log: Path) -> None:
        self._supervisor = supervisor
        self.pid = pid
        self.name = name
        self.log = log

    @property
    def code(self) -> int | None:
        """The exit code, minus the signal's number after a signal, None while it runs."""
        code: int | None = self._supervisor.ask(do="poll", pid=self.pid)["code"]
        return code

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.code is None

    def signal(self, number: int) -> None:
        """Send a signal, such as `signal.SIGSTOP`; nothing happens when it has ended."""
        self._supervisor.ask(do="signal", pid=self.pid, number=int(number))

    def kill(self) -> int:
        """Kill it with SIGKILL and return when it is gone."""
        self.signal(signal.SIGKILL)
        return self.wait()

    def terminate(self, timeout: float = 10.0) -> int:
        """Ask it to end with SIGTERM; kill it when it has not ended after `timeout` seconds."""
        self.signal(signal.SIGTERM)
        try:
            return self.wait(timeout)
        except TimeoutError:
            return self.kill()

    def wait(self, timeout: float = 60.0) -> int:
        """Return the exit code; `TimeoutError` when it still runs after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while (code := self.code) is None:
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"{self.name} (process {self.pid}) still runs after {timeout} s; its log: {self.log}"
                )
            time.sleep(LOOK_SECONDS)
        return code
