"""What docs/findings.md shows of searches under energy, as Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from minaction.search.objectives import OBJECTIVES
from search import verdict, written

RESULTS = Path(__file__).parent
COMPARISON = RESULTS / "search" / "comparison.json"
RANDOM = "random"


def search_section() -> str:
    """Return how samplers compare with random search, data set by data set."""
    if not COMPARISON.exists():
        return "Not measured yet; `python results/search.py` measures it.\n"
    found = json.loads(COMPARISON.read_text(encoding="utf-8"))
    rows = "".join(row for search in found["searches"] for row in rows_of(search))
    spaces = ", ".join(f"{one['candidates']} in {one['dataset']}'s" for one in found["searches"])
    return (
        f"{found['repeats']} searches of {found['evaluations']} evaluations each for every "
        f"sampler, in spaces of few candidates ({spaces}). Hypervolume of the front on the "
        "validation split, in percent of that of everything any search tried; 95 % t intervals "
        "over repeats; the difference is paired by seed "
        "([all of it](../results/search/comparison.md)).\n\n"
        "| data set | objectives | evaluations | sampler | hypervolume, % | less random search, "
        "points | |\n|---|---|---|---|---|---|---|\n"
        f"{rows}"
    )


def rows_of(search: dict[str, Any]) -> Iterator[str]:
    """Yield the rows of one space."""
    for pair in search["pairs"]:
        names = " and ".join(OBJECTIVES[name].title for name in pair["objectives"])
        for sampler, places in pair["samplers"].items():
            if sampler == RANDOM:
                continue
            for place, row in places.items():
                cells = [
                    search["dataset"],
                    names,
                    f"{100 * float(place):g} %",
                    sampler,
                    written(row["percent"], ".2f"),
                    written(row["difference"], "+.2f"),
                    verdict(row),
                ]
                yield f"| {' | '.join(cells)} |\n"
