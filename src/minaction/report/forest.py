"""The rows of the forest plots: effect sizes and gains with their intervals, in series."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minaction.report.analysis.factorial import BLOCKS
from minaction.report.efficiency import UNITS
from minaction.stats.factorial_data import RESIDUAL

Forest = dict[str, list[dict[str, Any]]]
"""By series its points, each with the `label` of its row, `estimate`, `low`, `high` and `note`."""

SIZES = {"partial_eta_sq": "partial \u03b7\u00b2", "omega_sq": "\u03c9\u00b2"}
"""Effect sizes of a factorial table, and what they are called."""


def effect_forest(table: Mapping[str, Any]) -> Forest:
    """Return the effect sizes of a factorial table, an effect a row, a size a series.

    Args:
        table: One of `factorial_tables`; one that could not be computed has no rows.
    """
    effects = [row for row in table["rows"] if row["effect"] != RESIDUAL]
    return {
        name: [
            {
                "label": effect_name(row["effect"]),
                "estimate": row[size],
                "low": row[f"{size}_low"],
                "high": row[f"{size}_high"],
                "note": f"df {row['df']:g}",
            }
            for row in effects
            if row[size] is not None
        ]
        for size, name in SIZES.items()
    }


def effect_name(effect: str) -> str:
    """Write an effect as `data set × model × λ`."""
    return " \u00d7 ".join(FACTOR_NAMES.get(part, part) for part in effect.split(":"))


FACTOR_NAMES = {
    "dataset": "data set",
    "lam": "\u03bb",
    BLOCKS: f"{BLOCKS} (block)",
    RESIDUAL: "residual",
}
"""Of effects; other factors go by their own."""


def gain_forests(efficiency: Mapping[str, Any]) -> dict[str, Forest]:
    """Return the gains in training efficiency by unit: a model in a modality a row, in percent.

    Args:
        efficiency: From `training_efficiency`.

    Returns:
        The forest of each unit that has gains; its series say what costs are compared with.
    """
    found: dict[str, Forest] = {}
    for unit in UNITS:
        rows = [row for row in efficiency["gains"] if row["unit"] == unit and not row["dataset"]]
        for row in rows:
            series = found.setdefault(unit, {}).setdefault(f"against the {row['against']}", [])
            ends = {end: row[key] for end, key in ENDS.items()}
            series.append(
                {
                    "label": f"{row['modality']} \u00b7 {row['model']}",
                    **{end: None if v is None else 100 * v for end, v in ends.items()},
                    "note": f"n = {row['n']}, against {', '.join(row['reference'])}",
                }
            )
    return found


ENDS = {"estimate": "gain", "low": "low", "high": "high"}
