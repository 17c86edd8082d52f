"""Run a long command and say that it is still running."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from controlplane.errors import BuildError, last_lines

HEARTBEAT_SECONDS = 30

Say = Callable[[str], None]


def say_to_stderr(message: str) -> None:
    """Print one line at once: standard output belongs to the command's result."""
    print(message, file=sys.stderr, flush=True)


def run_long_command(what: str, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path | None, say: Say) -> None:
    """
    Run a command to its end; say every half minute how long it has been running.

    Errors: `BuildError` with the last lines that the command printed.
    """
    started = time.monotonic()
    with tempfile.NamedTemporaryFile(prefix="controlplane-", suffix=".log") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=env, cwd=cwd)
        try:
            code = _wait_aloud(process, what, started, say)
        except BaseException:
            process.kill()
            process.wait()
            raise
        if code != 0:
            end = last_lines(Path(output.name), 40)
            raise BuildError(f"{what}: {' '.join(argv)} ended with {code}. The end of what it said:\n{end}")
    say(f"{what}: done in {time.monotonic() - started:.0f} s")


def _wait_aloud(process: subprocess.Popen[bytes], what: str, started: float, say: Say) -> int:
    while True:
        try:
            return process.wait(HEARTBEAT_SECONDS)
        except subprocess.TimeoutExpired:
            say(f"{what}: still running after {time.monotonic() - started:.0f} s")
