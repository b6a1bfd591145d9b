"""CPU time of everything the how-to pages have a newcomer run, in a fresh copy of the repository.

    python benchmarks/doc_pages.py --out results/benchmarks/doc_pages.json

Each page's blocks are run by the test that runs them, tests/test_doc_blocks.py, slow ones included;
the CPU time is that of the test's process and all of its children, its own start included.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from pathlib import Path

from measured import machine, write_json

ROOT = Path(__file__).parents[1]
PAGES = ("add-an-energy", "add-a-model", "add-a-data-set")


def cpu_seconds(page: str) -> float:
    """Run a page's blocks and return what that took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "tests/test_doc_blocks.py", "-q", "-p", "no:xdist"),
            *("-m", "slow", "-k", f"slow_blocks and {page}", "--timeout=1800"),
        ],
        cwd=ROOT,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Time every page once and store the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    pages = {page: round(cpu_seconds(page), 1) for page in PAGES}
    write_json(out, {**machine(), "cpu_seconds": pages})


if __name__ == "__main__":
    main()
