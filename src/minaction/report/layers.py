"""The layer tables: where the energy of a network is, raw and gauge-fixed, at each lambda."""

from __future__ import annotations

from typing import Any

import pandas as pd

from minaction.report import formatting as write
from minaction.report.comparison import energies, finished, measured
from minaction.report.estimates import mean, proportion
from minaction.report.frame import LAYER_COLUMNS, LAYER_SHARES, lambda_levels


def layer_table(layers: pd.DataFrame, trained: str) -> dict[str, Any]:
    """Return the layers of one group of runs.

    Args:
        layers: The group's rows of `layer_frame`.
        trained: Name of the energy the runs were trained with.

    Returns:
        `layers`, a row per lambda and layer: its shares of the energies with their intervals and
        what they are of the same layer's at lambda = 0 and of the network's; `layer_gauge_missing`,
        why layers have no gauge-fixed energy, each reason once.
    """
    numbers = layers[["seed", "status", "lam", *LAYER_COLUMNS]]
    cells = {
        lam: {
            str(name): layer
            for name, layer in finished(numbers.loc[numbers["lam"] == lam, :]).groupby(
                "layer", sort=False
            )
        }
        for lam in lambda_levels(layers)
    }
    at_zero = cells.get(0.0, {})
    rows = [
        layer_row(lam, name, layer, at_zero.get(name), trained)
        for lam, of_lambda in cells.items()
        for name, layer in of_lambda.items()
    ]
    reasons = layers.groupby(["layer", "gauge_reason"], sort=False).size()
    missing = [
        {"layer": str(layer), "reason": write.short(str(reason)), "runs": int(runs)}
        for (layer, reason), runs in reasons.to_dict().items()
    ]
    return {"layers": rows, "layer_gauge_missing": missing}


def layer_row(
    lam: float | str, name: str, layer: pd.DataFrame, reference: pd.DataFrame | None, trained: str
) -> dict[str, Any]:
    """Return one layer at one lambda, against the same layer at lambda = 0."""
    return {
        "lam": lam,
        "layer": name,
        "units": mean(measured(layer, "units")),
        **energies(lam, layer, reference, trained),
        **{share: proportion(measured(layer, share)) for share in LAYER_SHARES},
        "zero_fraction": proportion(measured(layer, "zero_fraction")),
        "silent_fraction": proportion(measured(layer, "silent_fraction")),
    }
