"""Finding 2: lambda lowers the activation energy 1,000-fold, and accuracy hardly changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minaction.report import formatting as write
from minaction.report.analysis.verdict import Finding, Verdict, Word, overall
from minaction.report.headlines import change
from minaction.report.lambda_table import has_grid
from minaction.study.study_file import BUDGET, Study

DATASETS = ("mnist", "fashion-mnist")
ENERGY = "activation"
LAMBDAS = (0.0, 1e-5, 1e-4, 1e-3, 1e-2)
FOLD, CHANGE_PP = 1_000.0, 0.5

FINDING = Finding(
    number=2,
    claim=(
        "lambda in {0, 1e-5, 1e-4, 1e-3, 1e-2} lowers the internal activation energy about "
        "1,000-fold with less than 0.5 pp change of accuracy on MNIST and Fashion-MNIST"
    ),
    published="about 1,000-fold, change below 0.5 pp",
    rule=(
        "a curve (a data set, a model) holds where, at the lambda chosen on validation, the 95 % "
        f"interval of the fall of the raw energy is above {FOLD:,.0f}-fold and that of the change "
        f"of test accuracy within {CHANGE_PP} pp, all runs ok; it fails where at every lambda one "
        "of the two is shown to be false, or all runs collapsed, and the study has all of the "
        "finding's lambdas. Supported where all curves of both data sets hold, contradicted where "
        "all of one data set fail, else not decided"
    ),
)

Curve = dict[str, Any]


def energy_verdict(study: Study, tables: Sequence[dict[str, Any]]) -> Verdict:
    """Return what a study says of finding 2.

    Args:
        study: The study file.
        tables: From `lambda_tables`.
    """
    curves = [
        judged(table)
        for table in tables
        if table["factors"]["dataset"] in DATASETS
        and table["factors"]["energy"] == ENERGY
        and has_grid(table)
    ]
    has_both_ends = 0.0 in study.factors.lam and bool(set(study.factors.lam) - {0.0, BUDGET})
    if not curves or not has_both_ends:
        missing = (
            "it has no lambda 0 with others beside it, for the activation energy, on "
            f"{' or '.join(DATASETS)}"
        )
        return Verdict(finding=FINDING, word=Word.NOT_TESTED, because=[missing])
    groups = [[Word(c["verdict"]) for c in curves if c["dataset"] == name] for name in DATASETS]
    word = overall(groups)
    because = [sentence(curve) for curve in curves]
    absent = [name for name, group in zip(DATASETS, groups, strict=True) if not group]
    if absent:
        because.append(f"{absent[0]} is not in this study, and the finding is about both")
    holds = sum(curve["verdict"] == Word.SUPPORTED for curve in curves)
    fails = sum(curve["verdict"] == Word.CONTRADICTED for curve in curves)
    return Verdict(
        finding=FINDING,
        word=word,
        because=[f"holds on {holds} of {len(curves)} curves, fails on {fails}", *because],
        numbers={"curves": curves},
    )


def judged(table: dict[str, Any]) -> Curve:
    """Return the verdict on one curve, with the row that comes nearest to the finding."""
    rows = [row for row in table["rows"] if row["lam"] not in (0.0, BUDGET)]
    chosen = table["choice"]["lam"]
    at_choice = [row for row in rows if row["lam"] == chosen]
    if at_choice and holds(at_choice[0]):
        word = Word.SUPPORTED
    elif {row["lam"] for row in rows} >= set(LAMBDAS[1:]) and all(map(fails, rows)):
        word = Word.CONTRADICTED
    else:
        word = Word.NOT_DECIDED
    shown = at_choice or rows[-1:]
    return {
        "dataset": table["factors"]["dataset"],
        "label": table["label"],
        "verdict": str(word),
        "lam": shown[0]["lam"] if shown else None,
        "chosen": bool(at_choice),
        **{
            name: shown[0][name] if shown else None
            for name in ("fold_reduction", "gauge_fixed_fold", "accuracy_change_pp")
        },
    }


def holds(row: dict[str, Any]) -> bool:
    """Return whether a lambda is shown to do what the finding says."""
    fold, moved = row["fold_reduction"], row["accuracy_change_pp"]
    if row["statuses"]["ok"] < row["planned"] or not (known(fold) and known(moved)):
        return False
    return fold["low"] > FOLD and moved["low"] > -CHANGE_PP and moved["high"] < CHANGE_PP


def fails(row: dict[str, Any]) -> bool:
    """Return whether a lambda is shown not to do what the finding says."""
    fold, moved = row["fold_reduction"], row["accuracy_change_pp"]
    if row["statuses"]["collapsed"] == row["planned"]:
        return True
    too_little = known(fold) and fold["high"] < FOLD
    return too_little or (known(moved) and (moved["high"] < -CHANGE_PP or moved["low"] > CHANGE_PP))


def known(interval: dict[str, Any]) -> bool:
    """Return whether an interval has ends that differ; without spread nothing is shown."""
    return interval["low"] is not None and interval["low"] < interval["high"]


def sentence(curve: Curve) -> str:
    """Say what one curve shows, at the chosen lambda or at the largest."""
    fold, gauge_fixed = curve["fold_reduction"], curve["gauge_fixed_fold"]
    if fold is None or fold["estimate"] is None:
        reason = "no lambda above 0" if fold is None else fold["reason"]
        return f"{curve['label']}: {curve['verdict']}; nothing to compare ({reason})"
    at = f"at lambda {write.lam(curve['lam'])}, {'chosen' if curve['chosen'] else 'the largest'},"
    left = (
        f"{write.fold(gauge_fixed['estimate'])} gauge-fixed"
        if gauge_fixed["estimate"] is not None
        else f"gauge-fixed: {gauge_fixed['reason']}"
    )
    return (
        f"{curve['label']}: {curve['verdict']}; {at} raw energy "
        f"{write.fold(fold['estimate'])} lower ({interval_text(fold)}; {left}), accuracy "
        f"{change(curve['accuracy_change_pp'])}"
    )


def interval_text(interval: dict[str, Any]) -> str:
    """Write the ends of a fold reduction."""
    return write.bounds(interval, write.fold)
