"""Writes the figures in README.md and the docs from the committed results.

python results/doc_figures.py [--check]

`--check` only compares.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from doc_comparison import counts_section, meters_section
from doc_efficiency import efficiency_section
from doc_factorial import factorial_budget_section
from doc_findings import findings_in_full, findings_table
from doc_howto import PAGES as HOW_TO
from doc_howto import time_section
from doc_proxy import proxy_section
from doc_scale import (
    gpu_section,
    journal_section,
    limits_section,
    ray_section,
    throughput_section,
)
from doc_search import search_section
from doc_sections import (
    budget_section,
    compact_section,
    headline_section,
    pruning_table,
    speed_section,
    sweep_section,
)
from doc_transformer import transformer_section

ROOT = Path(__file__).parents[1]

PAGES: Mapping[str, Mapping[str, Callable[[], str]]] = {
    "README.md": {
        "headline": headline_section,
        "findings": findings_table,
        "compact": compact_section,
        "speed": speed_section,
    },
    **{f"docs/howto/{page}.md": {"time": partial(time_section, page)} for page in HOW_TO},
    "docs/comparison.md": {
        "counts": counts_section,
        "pruning": pruning_table,
        "speed": speed_section,
        "meters": meters_section,
    },
    "docs/scale.md": {
        "gpu": gpu_section,
        "journal": journal_section,
        "ray": ray_section,
        "throughput": throughput_section,
        "limits": limits_section,
    },
    "docs/findings.md": {
        "findings": findings_in_full,
        "sweep": sweep_section,
        "budget": budget_section,
        "factorial-budget": factorial_budget_section,
        "efficiency": efficiency_section,
        "proxy": proxy_section,
        "transformer": transformer_section,
        "search": search_section,
    },
}
"""Marked sections by page, and what makes each."""


def main() -> None:
    """Rewrite the marked sections, or exit 1 where one is out of date."""
    for name, sections in PAGES.items():
        page = ROOT / name
        text = page.read_text(encoding="utf-8")
        current = text
        for section, made in sections.items():
            current = replaced(current, section, made())
        if "--check" not in sys.argv[1:]:
            page.write_text(current, encoding="utf-8")
        elif current != text:
            sys.exit(f"{name}: its figures differ; run `python results/doc_figures.py`")


def replaced(text: str, name: str, section: str) -> str:
    """Return `text` with the section between the markers of `name` replaced."""
    begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->"
    head, found, rest = text.partition(begin)
    _, closed, tail = rest.partition(end)
    if not (found and closed):
        sys.exit(f"no section between the marks {begin.strip()} and {end}; put them back")
    return f"{head}{begin}{section}{end}{tail}"


if __name__ == "__main__":
    main()
