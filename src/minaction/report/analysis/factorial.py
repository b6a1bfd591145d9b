"""The factorial tables: what explains the accuracy, how surely, and whether the test may say so."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from minaction.errors import InputError
from minaction.report.analysis.crossing import RESPONSE, Crossing, described, levels_of
from minaction.report.analysis.responses import RESPONSES, with_logit
from minaction.stats.anova import COLUMNS, factorial_anova
from minaction.stats.assumptions import check_assumptions
from minaction.stats.factorial_data import RESIDUAL
from minaction.study.journal import RunStatus

SS_TYPE = 3
BLOCKS = "seed"
LARGEST_MODEL = 400
"""Most cells of a model with all interactions; above, the highest ones are left to the error."""

Table = dict[str, Any]


def factorial_tables(crossing: Crossing) -> list[Table]:
    """Return the analysis of variance of each response over a study's crossing.

    Type III sums of squares over `ok` runs, all interactions, seeds as additive blocks.

    Returns:
        A JSON-able table per response: `response`, `label`, `reason` (why there is no table, or
        empty), `n`, `factors`, `balanced`, `max_order`, `omitted` (of how large a model), `rows`,
        an effect each with the columns of `factorial_anova` and `share`, its sum of squares over
        the total; `notes`; `assumptions` and `sd_ratio` as in `check_assumptions`;
        `with_collapsed`, where runs collapsed: the number of runs, p and effect sizes with those
        counted at the accuracy they had.
    """
    if reason := why_none(crossing):
        return [absent(response, crossing, reason) for response in RESPONSES]
    return [factorial_table(crossing, response) for response in RESPONSES]


def why_none(crossing: Crossing) -> str:
    """Return why a crossing has no analysis of variance, or an empty string."""
    if crossing.reason:
        return crossing.reason
    if not crossing.factors:
        rest = f" ({described(crossing.only.items())})" if crossing.only else ""
        return f"there is one cell only{rest}: no factor has two levels to compare"
    if len(levels_of(crossing.used, BLOCKS)) < 2:
        return "there is one seed only: nothing tells an effect from chance; run two or more"
    return ""


def absent(response: str, crossing: Crossing, reason: str) -> Table:
    """Return the table of a response that has none."""
    return {
        "response": response,
        "label": RESPONSES[response],
        "reason": reason,
        "n": len(crossing.used),
        "factors": list(crossing.factors),
        **{"balanced": None, "max_order": None, "omitted": None},
        **{"rows": [], "notes": [], "assumptions": [], "sd_ratio": None, "with_collapsed": None},
    }


def factorial_table(crossing: Crossing, response: str) -> Table:
    """Return the table of one response; see `factorial_tables`."""
    order, omitted = interaction_order(crossing)
    design = {"factors": crossing.factors, "blocks": BLOCKS, "max_order": order}
    try:
        runs = prepared(crossing.used, response)
        table = factorial_anova(runs, response, ss_type=SS_TYPE, **design)
        checks = check_assumptions(runs, response, **design)
    except InputError as error:
        return absent(response, crossing, str(error))
    found = absent(response, crossing, "")
    values = runs[response].to_numpy(np.float64)
    total = float(((values - values.mean()) ** 2).sum())
    return found | {
        "balanced": table.attrs["balanced"],
        "max_order": table.attrs["max_order"],
        "omitted": omitted,
        "rows": [effect_row(str(name), row, total) for name, row in table.to_dict("index").items()],
        "notes": table.attrs["notes"],
        "assumptions": [
            {"assumption": str(name), **jsonable(row)}
            for name, row in checks.to_dict("index").items()
        ],
        "sd_ratio": finite(checks.attrs["sd_ratio"]),
        "with_collapsed": with_collapsed(crossing, response, design),
    }


def interaction_order(crossing: Crossing) -> tuple[int | None, int | None]:
    """Return the order of the highest interaction, None for all, and the size that was too much."""
    levels = [len(levels_of(crossing.used, name)) for name in crossing.factors]
    whole = math.prod(levels)
    if whole <= LARGEST_MODEL:
        return None, None
    # parameters of a model up to an order: elementary symmetric polynomials of the df
    by_order = [1]
    for count in levels:
        before = [*by_order, 0]
        by_order = [n + (count - 1) * m for n, m in zip(before, [0, *by_order], strict=True)]
    sizes = [sum(by_order[: order + 1]) for order in range(len(by_order))]
    fitting = [order for order, size in enumerate(sizes) if order and size <= LARGEST_MODEL]
    return max(fitting, default=1), whole


def prepared(runs: pd.DataFrame, response: str) -> pd.DataFrame:
    """Return runs with the response as a column."""
    return runs if response == RESPONSE else with_logit(runs)


def effect_row(name: str, row: dict[Any, Any], total: float) -> dict[str, Any]:
    """Return the row of one effect as JSON."""
    numbers = jsonable({column: row[column] for column in COLUMNS})
    return {"effect": name, **numbers, "share": row["sum_sq"] / total}


def with_collapsed(crossing: Crossing, response: str, design: Table) -> Table | None:
    """Return the effects with collapsed runs counted at the accuracy they had."""
    runs = crossing.runs
    counted = runs["status"].isin([RunStatus.OK, RunStatus.COLLAPSED]) & runs[RESPONSE].notna()
    runs = runs.loc[counted, :]
    added = len(runs) - len(crossing.used)
    if not added:
        return None
    try:
        table = factorial_anova(prepared(runs, response), response, ss_type=SS_TYPE, **design)
    except InputError as error:
        return {"collapsed": added, "reason": str(error), "rows": []}
    columns = ("p", "p_hc3", "partial_eta_sq")
    rows = [
        {"effect": str(name), **jsonable({column: row[column] for column in columns})}
        for name, row in table.drop(RESIDUAL).to_dict("index").items()
    ]
    return {"collapsed": added, "reason": "", "rows": rows}


def jsonable(values: dict[Any, Any]) -> dict[str, Any]:
    """Return numbers as JSON has them: NaN as null, texts as they are."""
    return {str(k): v if isinstance(v, str) else finite(v) for k, v in values.items()}


def finite(value: float) -> float | int | None:
    """Return a number, whole ones as such, or None where it is none."""
    number = float(value)
    if not math.isfinite(number):
        return None
    return int(number) if isinstance(value, int) else number


def row_of(table: Table, effect: str) -> dict[str, Any] | None:
    """Return the row of an effect, None if the table has none."""
    return next((row for row in table["rows"] if row["effect"] == effect), None)
