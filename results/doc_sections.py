"""What the README and docs/findings.md show of the committed results, as Markdown."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from budget_against_grid import tables
from compact_report import summary_table

from minaction.report import formatting as write
from minaction.report.comparison import REFERENCE
from minaction.report.tables import compute_findings
from minaction.study.directory import load_study_directory
from minaction.study.journal import latest_records
from minaction.study.study_file import Study

RESULTS = Path(__file__).parent
FOLDS = ("fold_reduction", "gauge_fixed_fold")


@functools.cache
def sweep_findings() -> tuple[Study, dict[str, Any]]:
    """Return the study of `results/lambda_sweep` and what its report says."""
    directory = RESULTS / "lambda_sweep"
    study = load_study_directory(directory)
    return study, compute_findings(study, latest_records(directory))


def headline_section() -> str:
    """Return the sweep in a few lines: raw and gauge-fixed energy at the selected lambdas."""
    study, findings = sweep_findings()
    rows = "".join(headline_row(table) for table in findings["lambda_tables"])
    return (
        f"{study.seeds} seeds each, the lambda chosen on the validation split, results on the test "
        "split with 95 % intervals:\n\n"
        "| | lambda | energy in the loss, fold lower | with mere rescaling taken out "
        "| accuracy, pp |\n|---|---|---|---|---|\n"
        f"{rows}"
    )


def headline_row(table: dict[str, Any]) -> str:
    """Return what one data set and model's selected lambda does, as a Markdown row."""
    choice = table["choice"]
    if choice["lam"] is None:
        return f"| {table['label']} | {choice['reason']} | | | |\n"
    cells = [
        f"{table['factors']['dataset']}, {table['factors']['model']}",
        write.lam(choice["lam"]),
        *(bracketed(choice[fold], digits(choice[fold])) for fold in FOLDS),
        bracketed(choice["accuracy_change_pp"], "+.2f"),
    ]
    return f"| {' | '.join(cells)} |\n"


def digits(fold: dict[str, Any]) -> str:
    """Return the format of a ratio: three digits, or whole where that is more."""
    return ".3g" if fold["estimate"] is None or fold["estimate"] < 100 else ",.0f"


def sweep_section() -> str:
    """Return the tables of `results/lambda_sweep`."""
    study, findings = sweep_findings()
    shown = "\n".join(sweep_table(table) for table in findings["lambda_tables"])
    (parameters,), (energy,) = study.levels["parameters"], study.levels["energy"]
    headlines = "".join(f"- {line}\n" for line in findings["headlines"])
    return (
        f"{findings['counts']['done']} runs, {study.seeds} seeds per row, "
        f"{study.levels['epochs'][0]} epochs, {parameters:,} parameters, {energy} energy. "
        "Raw energy also falls by mere rescaling of a network's weights, which does not change its "
        "function; gauge-fixed energy is what is left when that is taken out, and *rescaling* is "
        "its share of the fall on a log scale. Brackets are 95 % intervals over seeds, paired with "
        "lambda = 0; *selected* is what the rule in the study file chose on the validation split. "
        "The whole report is "
        "[results/lambda_sweep/report.html](../results/lambda_sweep/report.html).\n\n"
        f"{headlines}\n{shown}\n"
    )


def sweep_table(table: dict[str, Any]) -> str:
    """Return one data set and model's table as Markdown."""
    head = (
        f"**{table['factors']['dataset']}, {table['factors']['model']}**\n\n"
        "| lambda | raw energy | % of lambda 0 | gauge-fixed energy | % of lambda 0 | rescaling, % "
        "| test accuracy % | change, pp | |\n"
        "|---|---|---|---|---|---|---|---|---|\n"
    )
    return head + "".join(sweep_row(row) for row in table["rows"])


def sweep_row(row: dict[str, Any]) -> str:
    """Return one lambda as a Markdown row."""
    bad = {s: n for s, n in row["statuses"].items() if n and s != "ok"}
    remarks = ["selected"] * bool(row["validation"]["selected"])
    remarks += [f"{n} {status}" for status, n in bad.items()]
    cells = [
        write.lam(row["lam"]),
        number(row["energy"]),
        bracketed(row["energy_percent"], ".3g"),
        number(row["energy_gauge_fixed"]),
        bracketed(row["gauge_fixed_percent"], ".3g"),
        bracketed(row["rescaling_percent"], ".3g"),
        f"{100 * row['test_accuracy']['estimate']:.2f}",
        bracketed(row["accuracy_change_pp"], "+.2f"),
        ", ".join(remarks),
    ]
    return f"| {' | '.join(cells)} |\n"


def number(mean: dict[str, Any]) -> str:
    """Return a mean with four digits, large ones with separators instead of exponents."""
    value = mean["estimate"]
    if value is None:
        return mean["reason"]
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def bracketed(interval: dict[str, Any], digits: str) -> str:
    """Return an estimate with its interval in brackets, or why there is none."""
    if interval["estimate"] is None:
        return "" if interval["reason"] == REFERENCE else interval["reason"]
    estimate, low, high = (
        format(interval[key], digits) if interval[key] is not None else "?"
        for key in ("estimate", "low", "high")
    )
    return f"{estimate} [{low}, {high}]"


def budget_section() -> str:
    """Return the tables of `results/budget` against the sweep."""
    path = RESULTS / "budget" / "comparison.json"
    if not path.exists():
        return (
            "Not measured yet; `minaction study run recipes/budget.toml --out results/budget` and "
            "`python results/budget_against_grid.py` measure it.\n"
        )
    found = json.loads(path.read_text(encoding="utf-8"))
    return (
        "Instead of a grid of lambdas, each run finds its own: it lowers the energy as far as "
        "validation accuracy stays within a margin of that of one baseline run at lambda 0 "
        '(`lam = "budget"` in a study file). Against the lambda the sweep selects, on the test '
        "split, with 95 % intervals over seeds "
        "([results/budget/comparison.md](../results/budget/comparison.md)):\n\n"
        f"{tables(found)}"
    )


def compact_section() -> str:
    """Return what `results/compact` came to."""
    path = RESULTS / "compact" / "compaction.json"
    if not path.exists():
        return (
            "Not measured yet; `minaction study run recipes/compact.toml --out results/compact` "
            "and `python results/compact_report.py` measure it.\n"
        )
    found = json.loads(path.read_text(encoding="utf-8"))
    first = found["cells"][0]
    return (
        "With `proximal = true` lambda takes hidden units out for good while a network trains, "
        "those first that cause the most MACs for what they are worth; `minaction compact` then "
        "removes them. A CNN of "
        f"{first['parameters']:,} parameters that may lose {found['aim']:g} x "
        f"{write.margin(found['margin'])} on the way and is then fine-tuned for "
        f"{found['fine_tune_epochs']:g} epochs, {first['seeds']} seeds, "
        f"measured on one thread ({found['cpu']}) in turns with its dense original. Accuracy on "
        "the test split against the dense network as it was trained, and against the same "
        "fine-tuned for as long; 95 % intervals over seeds "
        "([results/compact/compaction.md](results/compact/compaction.md)):\n\n"
        f"{summary_table(found)}{pruning_table()}"
    )


def pruning_table() -> str:
    """Return how compaction compares with other pruners at equal accuracy and training."""
    path = RESULTS / "benchmarks" / "against_torch_pruning.json"
    if not path.exists():
        return ""
    found = json.loads(path.read_text(encoding="utf-8"))
    seeds = len({row["seed"] for row in found["rows"]})
    rows = "".join(
        f"| {dataset}, {rival} | "
        f"{' | '.join(shown_ratio(of[rival]) for of in by_runtime.values())} |\n"
        for dataset, by_runtime in found["results"].items()
        for rival in first(by_runtime)
    )
    runtimes = " | ".join(f"latency over ours, {name}" for name in first(found["results"]))
    return (
        "\nAgainst the pruners of torch-pruning, with the same training steps and fine-tune: their "
        "latency at batch 256 over ours at equal test accuracy, the geometric mean over the range "
        f"of accuracies both reach ({seeds} seeds, 95 % bootstrap intervals; below 1 theirs is "
        "faster; benchmarks/against_torch_pruning.py):\n\n"
        f"| | {runtimes} |\n|---|---|---|\n{rows}"
        "\nBefore the fine-tune, with about an eighth of the MACs left: "
        f"{as_removed(found['rows'])}.\n"
    )


def as_removed(rows: list[dict[str, Any]]) -> str:
    """Return accuracies right after the removal, of ours and of pruning by magnitude."""
    ours, theirs = ("minaction", "plain, 0.12 of MACs"), ("magnitude", "uniform 0.65")

    def accuracy(dataset: str, method: str, setting: str) -> str:
        found = [
            row["removed"]
            for row in rows
            if (row["dataset"], row["method"], row["setting"]) == (dataset, method, setting)
        ]
        return f"{100 * sum(found) / len(found):.1f} %"

    return "; ".join(
        f"{dataset} {accuracy(dataset, *ours)}, by magnitude {accuracy(dataset, *theirs)}"
        for dataset in dict.fromkeys(row["dataset"] for row in rows)
    )


def first(mapping: dict[str, Any]) -> Any:
    """Return a mapping's first value."""
    return next(iter(mapping.values()))


def shown_ratio(ratio: dict[str, Any]) -> str:
    """Return a ratio with its interval, if there is one."""
    if ratio["mean"] is None:
        return "no accuracy that both reach"
    low_high = ratio["mean_interval"]
    interval = f" [{low_high[0]:.2f}, {low_high[1]:.2f}]" if low_high else ""
    return f"{ratio['mean']:.2f}{interval}"


def speed_section() -> str:
    """Return what the benchmarks measured."""
    path = RESULTS / "benchmarks" / "against_lightning.json"
    if not path.exists():
        return "Not measured yet; `make bench` runs the comparison with a Lightning script.\n"
    lightning = json.loads(path.read_text(encoding="utf-8"))
    rows = "".join(
        f"| {r['dataset']} {r['model']}, {r['runs']} runs x {r['epochs']} epochs "
        f"| {r['minaction_runs_per_hour']:,.0f} | {r['lightning_runs_per_hour']:,.0f} "
        f"| **{r['ratio']:.1f}x** |\n"
        for r in lightning["results"]
    )
    return (
        f"Runs per hour on {lightning['cpus']} CPU cores ({lightning['cpu']}), start-up, "
        "calibration and evaluation included, both programs taking turns on the same machine, at "
        "the same final accuracy (benchmarks/against_lightning.py):\n\n"
        "| | `minaction study run` | Lightning + DataLoader | ratio |\n|---|---|---|---|\n"
        f"{rows}"
    )
