"""
Run the fault tests and write down what they measured: `python -m faults`, with arguments for pytest.

With arguments only some tests run, and the others' results stay as the last run has left them.
"""

import os
import sys
from pathlib import Path

import pytest

from controlplane.build import ensure_programs
from faults.table import Table, read_results, write_between, write_results

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/reliability.md"
RESULTS = ROOT / "build/faults.json"


def main() -> int:
    """Return pytest's exit code."""
    arguments = sys.argv[1:]
    table = Table(read_results(RESULTS) if arguments else None)
    ensure_programs()
    code = pytest.main(["-m", "fault", "-p", "no:randomly", "-q", *arguments], plugins=[table])
    write_results(RESULTS, table.results)
    lines = table.lines()
    print("\n".join(["", *lines]))
    write_between(PAGE, [*lines, "", f"On {os.cpu_count()} cores, shared with other work."])
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
