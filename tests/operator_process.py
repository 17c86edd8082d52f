"""The operator as a process, as a user starts it: `vso run` with a kubeconfig, its log in a file, stopped by its pid."""

import os
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from controlplane.ports import free_port
from controlplane.supervisor import Process, Supervisor

READY_SECONDS = 60.0


class OperatorProcess:
    """`vso run` under a supervisor, so that it dies with the tests even when they are killed."""

    def __init__(
        self,
        kubeconfig: Path,
        directory: Path,
        *flags: str,
        identity: str | None = None,
        env: Mapping[str, str] | None = None,
        under: Sequence[str] = (),
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.log = directory / "operator.log"
        self.port = free_port()
        # As a Pod keeps its name when its container is started again: it need not wait for itself then.
        self.identity = identity or f"operator-{secrets.token_hex(4)}"
        self._env = {**os.environ, **env} if env is not None else None
        self._argv = [
            *(*under, sys.executable, "-m", "virtualservice_operator", "run", "--identity", self.identity),
            *("--kubeconfig", str(kubeconfig), "--host", "127.0.0.1", "--port", str(self.port)),
            *("--log-format", "text", *flags),
        ]
        self._supervisor: Supervisor | None = None
        self._process: Process | None = None

    def start(self) -> None:
        """Start it, without waiting."""
        self._supervisor = self._supervisor or Supervisor()
        self._process = self._supervisor.spawn(self._argv, log=self.log, env=self._env)

    def wait_ready(self) -> None:
        """Return when /readyz says so."""
        deadline = time.monotonic() + READY_SECONDS
        while (verdict := self.get("/readyz")) != "ok\n":
            if time.monotonic() > deadline or not self.alive:
                raise AssertionError(
                    f"the operator is not ready: {verdict!r}; its log:\n{self.log.read_text()[-3000:]}"
                )
            time.sleep(0.05)

    def get(self, path: str) -> str:
        """Return what the operator answers over HTTP; '' where nothing answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as response:
                return str(response.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return str(error.read().decode())
        except OSError:
            return ""

    @property
    def pid(self) -> int:
        """Return its process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Tell whether it runs."""
        return self._process is not None and self._process.alive

    def terminate(self, timeout: float = 30) -> int:
        """Send SIGTERM and return the exit code."""
        assert self._process is not None
        return self._process.terminate(timeout)

    def kill(self) -> None:
        """Send SIGKILL."""
        assert self._process is not None
        self._process.kill()

    def signal(self, number: int) -> None:
        """Send a signal and wait for nothing."""
        assert self._process is not None
        self._process.signal(number)

    def wait(self, timeout: float) -> int:
        """Return the exit code when it has ended."""
        assert self._process is not None
        return self._process.wait(timeout)

    def close(self) -> None:
        """Stop it, if it still runs; it can be started again."""
        if self.alive:
            self.terminate()
        if self._supervisor is not None:
            self._supervisor.stop()
        self._supervisor = self._process = None

    def __enter__(self) -> Self:
        """Start it and wait until it is ready."""
        self.start()
        self.wait_ready()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self.close()


def run_vso(*arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run `vso` to its end, for commands that end by themselves."""
    return subprocess.run(
        [sys.executable, "-m", "virtualservice_operator", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
