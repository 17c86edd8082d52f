"""Run all fault tests and write down what they measured: `python -m faults`, with arguments for pytest."""

import os
import sys
from pathlib import Path

import pytest

from controlplane.build import ensure_programs
from faults.table import Table, write_between

PAGE = Path(__file__).resolve().parents[2] / "docs/reliability.md"


def main() -> int:
    """Return pytest's exit code; the page is written only when everything was run."""
    arguments = sys.argv[1:]
    table = Table()
    ensure_programs()
    code = pytest.main(["-m", "fault", "-p", "no:randomly", "-q", *arguments], plugins=[table])
    lines = table.lines()
    print("\n".join(["", *lines]))
    if not arguments:
        write_between(PAGE, [*lines, "", f"On {os.cpu_count()} cores, shared with other work."])
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
