"""Proxy fidelity: how well energies and counts tell what networks were measured to cost."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from minaction.report.analysis.proxy_frame import (
    STAGES,
    Stage,
    measured_frame,
    name_of,
    proxies_of,
)
from minaction.report.analysis.proxy_verdict import ALIKE, ALL, RULE, verdict
from minaction.report.estimates import Estimate, absent, interval, ratio
from minaction.stats.association import associations
from minaction.study.gauge_fields import finite_number
from minaction.study.journal import Record
from minaction.study.measurements import QUANTITIES, Measurement
from minaction.study.study_file import BUDGET

LEAST = 5
"""Networks from which on something is said of them."""
SEED, RESAMPLES = 0, 2000
DIGITS = 9
"""Decimals of a logarithm, or of a share of the largest value, beyond which is rounding."""
NO_LOGARITHM = "0 or less in some networks, which has no logarithm"

Fidelity = dict[str, Any]
"""Strings, numbers, null, lists and dicts; the keys are those `proxy_fidelity` names."""


def proxy_fidelity(records: Sequence[Record], measurements: Sequence[Measurement]) -> Fidelity:
    """Return how well proxies tell measured costs, and what a lower energy bought.

    For each quantity and proxy Spearman's rho and the R squared of a power law (of the logarithm of
    one on that of the other), with 95 % percentile bootstrap intervals: across all networks, within
    each architecture, and of the deviations of logarithms from the mean of their data set,
    architecture and size; before and after compaction. Networks are resampled within architectures,
    those of one data set and size together, for they cost nearly the same. Within one architecture
    there are too few of these groups, so networks are resampled one by one, and the interval speaks
    of the sizes and data sets that are there. Energies and zeros are those of the network as it was
    trained in both stages. What has no number has a `reason`.

    Args:
        records: The latest record of each run.
        measurements: What was measured of them.

    Returns:
        `reason`, why there is nothing else; `networks`, `rounds`, `setting`, and `conditions`,
        medians; `missing`, sentences on what could not be measured or was left out; `costs`, a
        table for each quantity, stage and scope; `bought`, see `bought_by`; `verdict`, sentences,
        with its `rule`.
    """
    frame = measured_frame(records, measurements)
    networks = set(frame["run_id"])
    foreign = left_out(measurements, networks)
    if len(networks) < LEAST:
        reason = f"{len(networks)} networks of ok runs are measured, fewer than {LEAST}"
        return {"reason": "; ".join([reason, *foreign])}
    quantities = [name for name in QUANTITIES if known(frame, name).any()]
    costs = [
        {"quantity": quantity, "name": name_of(quantity), "stage": stage, "scopes": list(scopes)}
        for quantity in quantities
        for stage in STAGES
        for scopes in [scope_tables(frame.loc[frame["stage"] == stage, :], quantity)]
    ]
    bought = bought_by(frame, quantities)
    of_runs = [one for one in measurements if one.run_id in networks]
    return {
        "reason": "",
        "networks": len(networks),
        "rounds": statistics.median(
            Counter(run_id for run_id, _ in {(one.run_id, one.round) for one in of_runs}).values()
        ),
        "setting": dict(of_runs[0].setting),
        "conditions": {
            name: median_of([one.conditions.get(name) for one in of_runs])
            for name in ("others_cpus", "cpu_share")
        },
        "missing": [*missing(frame, of_runs), *foreign],
        "costs": costs,
        "bought": bought,
        "verdict": list(verdict(costs, bought)),
        "rule": RULE,
    }


def scope_tables(frame: pd.DataFrame, quantity: str) -> Iterator[dict[str, Any]]:
    """Yield the tables of one quantity in one stage: all networks, architectures, the rest alike.

    Args:
        frame: From `measured_frame`, of one stage.
        quantity: Its column.
    """
    yield scope_table(ALL, frame, quantity)
    for model, rows in frame.groupby("model", sort=True):
        yield scope_table(str(model), rows, quantity, together=False)
    yield scope_table(ALIKE, frame, quantity, centred=True)


def scope_table(
    scope: str,
    frame: pd.DataFrame,
    quantity: str,
    *,
    centred: bool = False,
    together: bool = True,
) -> dict[str, Any]:
    """Return how well each proxy tells a quantity in a set of networks.

    Args:
        scope: What the set is called.
        frame: Its networks.
        quantity: A column.
        centred: Compare deviations from the mean of the logarithms of the network's cell.
        together: Resample networks of one data set and size together.
    """
    proxies = proxies_of(frame)
    found: dict[str, dict[str, Estimate]] = {}
    groups: dict[tuple[str, ...], list[str]] = {}
    frame = compared(frame, quantity, centred)
    for proxy in proxies:
        rows = compared(frame, proxy, centred)
        if reason := unusable(rows, proxy, centred):
            found[proxy] = {"spearman": absent(reason), "r_squared": absent(reason)}
        else:
            groups.setdefault(tuple(rows["run_id"]), []).append(proxy)
    for run_ids, columns in groups.items():  # those that are known of the same networks
        rows = frame.loc[frame["run_id"].isin(list(run_ids)), :]
        found |= dict(
            zip(columns, estimates(rows, quantity, columns, centred, together), strict=True)
        )
    return {
        "scope": scope,
        "n": len(frame),
        "proxies": [{"proxy": proxy, "name": name_of(proxy), **found[proxy]} for proxy in proxies],
    }


def compared(rows: pd.DataFrame, column: str, centred: bool) -> pd.DataFrame:
    """Return the networks of which a column is known; centred those that others are alike to."""
    rows = rows.loc[known(rows, column), :]
    return rows.loc[rows.duplicated("cell", keep=False), :] if centred else rows


def unusable(rows: pd.DataFrame, proxy: str, centred: bool) -> str:
    """Return why a proxy says nothing in a set of networks, or an empty string."""
    if len(rows) < LEAST:
        return f"known of {len(rows)} networks only"
    values = numbers(rows, proxy)
    if centred and values.min() <= 0:
        return NO_LOGARITHM
    spread = deviations(rows, proxy) if centred else rounded(values / (np.abs(values).max() or 1.0))
    if not np.ptp(spread):
        return f"no difference between networks{' of one data set, model and size' * centred}"
    return ""


def estimates(
    rows: pd.DataFrame, quantity: str, proxies: Sequence[str], centred: bool, together: bool
) -> list[dict[str, Estimate]]:
    """Return Spearman's rho and R squared of each proxy, all known and usable."""
    positive = [bool(numbers(rows, proxy).min() > 0) for proxy in proxies]

    def scaled(column: str, logs: bool) -> np.ndarray:
        values = numbers(rows, column)
        return deviations(rows, column) if centred else np.log(values) if logs else values

    found = associations(
        np.column_stack(list(map(scaled, proxies, positive))),
        scaled(quantity, True),
        strata=rows["model"].tolist(),
        clusters=rows["network"].tolist() if together else None,
        generator=np.random.default_rng(SEED),
        resamples=RESAMPLES,
    )
    return [
        {
            "spearman": interval(one.spearman),
            "r_squared": interval(one.r_squared) if logs else absent(NO_LOGARITHM),
        }
        for one, logs in zip(found, positive, strict=True)
    ]


def deviations(rows: pd.DataFrame, column: str) -> np.ndarray:
    """Return logarithms less their mean over the network's cell, equal ones as ties."""
    logs = pd.Series(np.log(numbers(rows, column)), index=rows.index)
    return rounded(np.asarray(logs - logs.groupby(rows["cell"]).transform("mean")))


def rounded(values: np.ndarray) -> np.ndarray:
    """Return values without what is rounding: it would rank what is equal."""
    return np.round(values, DIGITS)


def numbers(rows: pd.DataFrame, column: str) -> np.ndarray:
    """Return a column as an array."""
    return rows[column].to_numpy(np.float64)


def known(rows: pd.DataFrame, column: str) -> np.ndarray:
    """Return where a column has a value."""
    return np.isfinite(numbers(rows, column))


def bought_by(frame: pd.DataFrame, quantities: Sequence[str]) -> list[dict[str, Any]]:
    """Return what the largest lambda does against 0, by architecture and over all.

    Geometric mean ratios over pairs of networks that differ in lambda alone, with t intervals: of
    the energy they were trained with, of the activation energy and its gauge-fixed twin of those
    that gauge fixing covers, and of each quantity, before compaction and with both networks
    compacted.

    Returns:
        A row for all networks and for each architecture; empty where the study has no lambda 0 or
        none above it.
    """
    lam = largest_lambda(frame["lam"].unique().tolist())
    if lam is None:
        return []
    return [
        {"scope": scope, "lam": lam, **bought_row(rows, lam, quantities)}
        for scope, rows in [(ALL, frame), *frame.groupby("model", sort=True)]
    ]


def largest_lambda(levels: Sequence[float | str]) -> float | str | None:
    """Return the largest lambda beside 0, a budget where there is no other; None for neither."""
    positive = [lam for lam in levels if not isinstance(lam, str) and lam > 0]
    if 0.0 not in levels:
        return None
    return max(positive, default=BUDGET if BUDGET in levels else None)


def bought_row(rows: pd.DataFrame, lam: float | str, quantities: Sequence[str]) -> dict[str, Any]:
    """Return the ratios of one set of networks; see `bought_by`."""

    def against(column: str, stage: Stage, also: str | None = None) -> Estimate:
        both_known = known(rows, column) & known(rows, also or column)
        there = rows.loc[(rows["stage"] == stage) & both_known, :]
        high, low = (
            pd.Series(
                numbers(of_lam, column),
                index=(of_lam["cell"] + " seed " + of_lam["seed"].astype(str)).to_numpy(),
            )
            for one in (lam, 0.0)
            for of_lam in [there.loc[there["lam"] == one, :]]
        )
        pairs = len(high.index.intersection(low.index))
        return ratio(high, low) if pairs else absent("no pair of networks")

    return {
        "energy": against("energy_value", "before"),
        "energy_covered": against("energy_activation", "before", "energy_gauge_fixed"),
        "energy_gauge_fixed": against("energy_gauge_fixed", "before"),
        "quantities": [
            {
                "quantity": quantity,
                "name": name_of(quantity),
                **{stage: against(quantity, stage) for stage in STAGES},
            }
            for quantity in quantities
        ],
    }


def missing(frame: pd.DataFrame, measurements: Sequence[Measurement]) -> Iterator[str]:
    """Yield what could not be measured of networks, and why."""
    model_of = dict(zip(frame["run_id"], frame["model"], strict=True))
    reasons: dict[tuple[str, str], set[str]] = {}
    for one in measurements:
        if one.no_compaction:
            reasons.setdefault((model_of[one.run_id], one.no_compaction), set()).add(one.run_id)
    for (model, reason), runs in sorted(reasons.items()):
        yield f"{model}: {len(runs)} networks not compacted: {reason}"
    trained = frame.loc[frame["stage"] == "before", :]
    without = set(trained.loc[~known(trained, "inference_joules"), "run_id"])
    if without:
        reasons_given = (one.no_joules for one in measurements if one.run_id in without)
        reason = next(filter(None, reasons_given), "not measured")
        some = "" if len(without) == len(trained) else f" of {len(without)} networks"
        yield f"no joules{some}: {reason}"


def left_out(measurements: Sequence[Measurement], networks: Container[str]) -> list[str]:
    """Return a sentence on measurements of no ok run of the study, nothing where there are none."""
    strangers = {one.run_id for one in measurements if one.run_id not in networks}
    return (
        [f"left out: measurements of {len(strangers)} runs that are no ok runs of this study"]
        if strangers
        else []
    )


def median_of(values: Sequence[Any]) -> float | None:
    """Return the median of what is known, None where nothing is."""
    there = [number for value in values if (number := finite_number(value)) is not None]
    return statistics.median(there) if there else None
