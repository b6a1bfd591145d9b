"""Which models differ on a data set: all pairs, with letters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pandas as pd

from minaction.errors import InputError
from minaction.report.analysis.crossing import FACTORS, RESPONSE, described, levels_of, usable
from minaction.report.analysis.factorial import jsonable
from minaction.report.estimates import proportion
from minaction.stats.letters import compact_letters
from minaction.stats.posthoc import games_howell

ALPHA = 0.05
"""Familywise level of each display."""

Display = dict[str, Any]


def letter_displays(frame: pd.DataFrame) -> list[Display]:
    """Compare the models of each data set by the method of Games and Howell.

    At lambda 0 where the study has it, else at each lambda apart; at every setting of the other
    factors apart. Over `ok` runs; a model with fewer than two has no letter.

    Returns:
        A JSON-able display per data set and setting, empty where the study has one model: `label`,
        `dataset`, `settings`, `reason` (why there are no letters, or empty), `models` by descending
        mean `test_accuracy` with the `letters` which those share that were not shown to differ;
        `pairs`, differences in percentage points with joint 95 % intervals, p of Games and Howell
        and of Welch after Holm; `left_out`, models without letters.
    """
    if len(levels_of(frame, "model")) < 2:
        return []
    if 0.0 in levels_of(frame, "lam"):
        frame = frame.loc[frame["lam"] == 0, :]
        # where all energies are one training
        frame = frame.loc[frame["energy"] == levels_of(frame, "energy")[0], :]
    return list(displays(frame))


def displays(frame: pd.DataFrame) -> Iterator[Display]:
    """Yield the display of each data set and setting."""
    varied = [
        name
        for name in FACTORS
        if name not in ("dataset", "model") and len(levels_of(frame, name)) > 1
    ]
    by = ["dataset", *varied]
    for _, group in frame.groupby(by, sort=False):
        dataset, *levels = (levels_of(group, name)[0] for name in by)
        settings = dict(zip(varied, levels, strict=True))
        label = " \u00b7 ".join([str(dataset), *(described([item]) for item in settings.items())])
        found = {"label": label, "dataset": dataset, "settings": settings}
        yield found | display(group)


def display(group: pd.DataFrame) -> Display:
    """Return the comparison of the models of one group of runs."""
    runs = usable(group)
    counts, models = Counter(runs["model"]), levels_of(group, "model")
    few = [name for name in models if counts[name] < 2]
    runs = runs.loc[~runs["model"].isin(few), :]
    left_out = [{"model": name, "n": counts[name]} for name in few]
    empty: Display = {"reason": "", "models": [], "pairs": [], "left_out": left_out}
    if len(models) - len(few) < 2:
        return empty | {"reason": "fewer than two models have two or more ok runs"}
    try:
        pairs = games_howell(runs, RESPONSE, ["model"], 1 - ALPHA)
    except InputError as error:
        return empty | {"reason": str(error)}
    different = pairs.loc[pairs["p"] < ALPHA, ["group_a", "group_b"]]
    ordered = order_of(pairs)
    letters = compact_letters(ordered, list(different.itertuples(index=False, name=None)))
    return empty | {
        "models": [
            {
                "model": name,
                "test_accuracy": proportion(runs.loc[runs["model"] == name, RESPONSE]),
                "letters": letters[name],
            }
            for name in ordered
        ],
        "pairs": [pair_row(row) for row in pairs.to_dict("records")],
    }


def order_of(pairs: pd.DataFrame) -> list[str]:
    """Return the models by descending mean, as the pairs have them."""
    return [*pairs["group_a"].drop_duplicates(), pairs["group_b"].iloc[-1]]


def pair_row(row: dict[Any, Any]) -> dict[str, Any]:
    """Return the comparison of two models, in percentage points."""
    return {
        "model_a": row["group_a"],
        "model_b": row["group_b"],
        **jsonable(
            {
                "difference_pp": 100 * row["difference"],
                "low_pp": 100 * row["low"],
                "high_pp": 100 * row["high"],
                "p": row["p"],
                "p_holm": row["p_holm"],
            }
        ),
    }
