"""What docs/comparison.md shows of the benchmarks against other tools, as Markdown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).parent / "benchmarks"


def read(tool: str) -> dict[str, Any]:
    """Return the stored result of a benchmark against a tool."""
    return json.loads((BENCHMARKS / f"against_{tool}.json").read_text(encoding="utf-8"))


def counts_section() -> str:
    """Return how counts of MACs compare with fvcore's and NeuroBench's."""
    fvcore, neurobench = read("fvcore"), read("neurobench")
    skipped = {name: row for name, row in fvcore["networks"].items() if row["fvcore_skipped"]}
    rows = "".join(
        f"| {name} | {', '.join(row['fvcore_skipped'])} | {row['fvcore']:,} | "
        f"{row['minaction_all']:,.0f} |\n"
        for name, row in skipped.items()
    )
    return (
        "### Counts of MACs\n\n"
        f"fvcore {fvcore['fvcore']}: on what both count, the MACs are equal for "
        f"{equal(fvcore)} networks (benchmarks/against_fvcore.py). What fvcore skips it names; of "
        f"{len(skipped)} of the networks minAction counts more:\n\n"
        "| network | fvcore skips | MACs, fvcore | MACs, minAction |\n|---|---|---|---|\n"
        f"{rows}\n"
        f"NeuroBench {neurobench['neurobench']}: effective MACs, effective accumulates and "
        f"activation sparsity are equal for {equal(neurobench)} networks "
        "(benchmarks/against_neurobench.py).\n"
    )


def equal(found: dict[str, Any]) -> str:
    """Return of how many networks the counts are equal, and of how many there are."""
    networks = found["networks"].values()
    return f"{sum(row['equal'] for row in networks)} of {len(networks)}"


def meters_section() -> str:
    """Return how readings of joules compare with zeus's."""
    found = read("zeus")
    rows = found["replayed"]["rows"]
    hardware = (
        "the machine itself has no meter: zeus's `total_energy` is "
        f"{found['hardware']['rows'][0]['zeus_total_energy']} there, minAction's value is none, "
        "with the reason"
        if found["within"]["hardware"] is None
        else f"on hardware by {found['largest_difference']['hardware']:.2%} at most"
    )
    return (
        "### Joules\n\n"
        f"zeus {found['replayed']['zeus']['zeus']}: of {len(rows)} windows over a replayed tree of "
        "RAPL counters the joules differ by "
        f"{found['largest_difference']['replayed']:.2%} at most; {hardware} "
        "(benchmarks/against_zeus.py).\n"
    )
