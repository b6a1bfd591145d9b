"""Compares samplers of a search with random search at the same number of evaluations.

python results/search.py [SEARCH_FILE ...] [--out DIR] [--evaluations N] [--repeats N]

Each sampler searches the space of each file for accuracy and gauge-fixed energy, and for accuracy
and MACs, again and again with other seeds. A candidate is trained once, whoever proposes it: its
record is in DIR/<name>/journal.jsonl, and the same command goes on from there. Writes
comparison.json and comparison.md into DIR, by default results/search.

A front is judged by its hypervolume on the validation split, in percent of that of everything any
search has tried, measured from the worst among these.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from minaction.errors import INTERRUPTED, InputError, MinActionError
from minaction.progress import progress_listener
from minaction.search.directory import open_search_directory
from minaction.search.evaluations import Evaluations
from minaction.search.feasible import left_out_of
from minaction.search.findings import steps_spared
from minaction.search.front import TRIAL_SEED
from minaction.search.objectives import levels_of
from minaction.search.propose import Proposer, search_space
from minaction.search.search_file import SAMPLERS, load_search
from minaction.search.space import count_candidates
from minaction.stats.intervals import mean_interval
from minaction.stats.pareto_many import volumes
from minaction.study.directory import write_text_atomically
from minaction.study.driver import executor_for, require_means
from minaction.study.journal import Journal, Record

ROOT = Path(__file__).parents[1]
FILES = [ROOT / "recipes" / f"search_{name}.toml" for name in ("fashion_mnist", "myo_readings")]
PAIRS = (("accuracy", "energy_gauge_fixed"), ("accuracy", "macs"))
SHARES = (0.25, 0.5, 1.0)
"""After how much of the evaluations a search is judged."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Search, and write the comparison; exit 2 where a file does not allow it."""
    parser = argparse.ArgumentParser(description="Compare samplers with random search.")
    parser.add_argument("files", type=Path, nargs="*", default=FILES)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "search")
    parser.add_argument("--evaluations", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--data-dir")
    given = parser.parse_args(arguments)
    try:
        if given.repeats < 2 or given.evaluations < 4:
            raise InputError("give 2 or more --repeats and 4 or more --evaluations")
        found = {
            "evaluations": given.evaluations,
            "repeats": given.repeats,
            "searches": [compared(path, given) for path in given.files],
        }
        text = json.dumps(found, indent=1, allow_nan=False)
        write_text_atomically(given.out / "comparison.json", f"{text}\n")
        write_text_atomically(given.out / "comparison.md", as_markdown(found))
    except MinActionError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("stopped; the same command does the rest", file=sys.stderr)
        sys.exit(INTERRUPTED)


def compared(path: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Run all searches of a file's space and return what they found."""
    search = load_search(path)
    needed = {name for pair in PAIRS for name in pair}
    if not needed <= set(search.search.objectives):
        raise InputError(f"{path}: [search] objectives must be {', '.join(sorted(needed))}")
    directory = given.out / search.name
    with progress_listener() as listener:
        require_means(search.crossing, given.data_dir, listener.note)
        open_search_directory(directory, search)
        start = functools.partial(
            executor_for,
            given.evaluations,
            search.space.dataset,
            given.workers,
            None,
            given.data_dir,
            listener.note,
        )
        with (
            Journal(directory) as journal,
            Evaluations(search, directory, journal, start, listener) as evaluate,
        ):
            left_out = left_out_of(evaluate.problems)
            candidates = count_candidates(search.crossing, left_out)
            if candidates < given.evaluations:
                raise InputError(f"{path}: only {candidates} candidates; lower --evaluations")
            listener.started(candidates, len(evaluate.records))
            paths = {
                (pair, sampler): [
                    search_space(
                        Proposer(
                            search.crossing,
                            pair,
                            sampler,
                            seed=seed,
                            evaluations=given.evaluations,
                            tried_with=TRIAL_SEED,
                            left_out=left_out,
                        ),
                        evaluate,
                        evaluations=given.evaluations,
                        batch=search.search.batch,
                    )
                    for seed in range(given.repeats)
                ]
                for pair in PAIRS
                for sampler in SAMPLERS
            }
            tried = list(evaluate.records.values())
    return {
        "name": search.name,
        "dataset": search.space.dataset[0],
        "candidates": candidates,
        "tried": len(tried),
        "steps_spared": steps_spared(tried),
        "pairs": [
            {
                "objectives": list(pair),
                "samplers": judged({s: paths[pair, s] for s in SAMPLERS}, pair, tried),
            }
            for pair in PAIRS
        ],
    }


def judged(
    paths: dict[str, list[list[Record]]], pair: Sequence[str], tried: Sequence[Record]
) -> dict[str, Any]:
    """Return each sampler's share of the hypervolume, and its difference to random search."""
    placed = np.array([at for record in tried if (at := levels_of(record, pair)) is not None])
    reference = placed.max(0)
    whole = float(volumes(placed, reference))
    if not whole:
        raise InputError("too few candidates ended well for a comparison; give more --evaluations")

    def share(records: Sequence[Record]) -> float:
        points = [levels_of(record, pair) or tuple(reference) for record in records]
        return 100 * float(volumes(np.array(points), reference)) / whole

    found: dict[str, Any] = {}
    for place in SHARES:
        shares = {
            sampler: np.array([share(path[: round(place * len(path))]) for path in repeats])
            for sampler, repeats in paths.items()
        }
        for sampler, values in shares.items():
            row = {"percent": asdict(mean_interval(values)), "values": values.tolist()}
            if sampler != "random":
                # seeds are blocks: samplers begin with the same random draws
                row["difference"] = asdict(mean_interval(values - shares["random"]))
            found.setdefault(sampler, {})[f"{place:g}"] = row
    return found


def verdict(row: dict[str, Any]) -> str:
    """Return what an interval of a difference says."""
    found = row["difference"]
    if found["low"] > 0:
        return "better than random"
    return "worse than random" if found["high"] < 0 else "no difference shown"


def as_markdown(found: dict[str, Any]) -> str:
    """Return the comparison as a page of Markdown."""
    return (
        "# Samplers against random search\n\n"
        f"Made by `python results/search.py`: {found['evaluations']} evaluations, "
        f"{found['repeats']} repeats with seeds of their own. Hypervolume on the validation split, "
        "costs in decades and accuracy in percentage points, in percent of that of everything any "
        "search tried, from the worst among these; 95 % t intervals over repeats. Differences to "
        "random search in percentage points of that, paired by seed, for samplers begin with the "
        "same random draws; intervals are not adjusted for their number.\n\n"
        + "\n".join(map(section, found["searches"]))
    )


def section(search: dict[str, Any]) -> str:
    """Return the tables of a space."""
    text = (
        f"## {search['dataset']}\n\n{search['tried']} of {search['candidates']} candidates were "
        f"trained; early stopping spared {100 * search['steps_spared']:.1f} % of the training.\n\n"
    )
    for pair in search["pairs"]:
        text += (
            f"{' and '.join(pair['objectives'])}:\n\n"
            "| sampler | evaluations | hypervolume, % | less random | |\n|---|---|---|---|---|\n"
        )
        for sampler, rows in pair["samplers"].items():
            for place, row in rows.items():
                gap, said = "", ""
                if "difference" in row:
                    gap, said = written(row["difference"], "+.2f"), verdict(row)
                text += (
                    f"| {sampler} | {100 * float(place):g} % | {written(row['percent'], '.2f')} | "
                    f"{gap} | {said} |\n"
                )
        text += "\n"
    return text


def written(interval: dict[str, Any], form: str) -> str:
    """Return an estimate with its interval."""
    estimate, low, high = (format(interval[end], form) for end in ("estimate", "low", "high"))
    return f"{estimate} ({low} to {high})"


if __name__ == "__main__":
    main()
