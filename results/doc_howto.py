"""What the how-to pages say of the time they take, as Markdown."""

from __future__ import annotations

import json
from pathlib import Path

MEASURED = Path(__file__).parent / "benchmarks" / "doc_pages.json"
PAGES = ("add-an-energy", "add-a-model", "add-a-data-set")


def time_section(page: str) -> str:
    """Return what the commands of a page take."""
    found = json.loads(MEASURED.read_text(encoding="utf-8"))
    minutes = found["cpu_seconds"][page] / 60
    return (
        f"All commands of this page, in a fresh copy of the repository: {minutes:.1f} minutes of "
        f"CPU time (n = 1, {found['cpu']}, benchmarks/doc_pages.py). Reading and typing are "
        "yours.\n"
    )
