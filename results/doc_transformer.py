"""What docs/findings.md shows of the transformers trained with an energy, as Markdown."""

from __future__ import annotations

import json
from pathlib import Path

from transformer_tables import opening, tables

SUMMARY = Path(__file__).parent / "transformer" / "transformer.json"


def transformer_section() -> str:
    """Return the tables of `results/transformer`."""
    if not SUMMARY.exists():
        return "Not measured yet; `python results/transformer.py` measures it.\n"
    found = json.loads(SUMMARY.read_text(encoding="utf-8"))
    return f"{opening(found)}\n{tables(found)}"
