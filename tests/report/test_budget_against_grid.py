"""The comparison of budget with grid, on small synthetic journals from the real writer."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from minaction.report import formatting as write

SCRIPT = Path(__file__).parents[2] / "results" / "budget_against_grid.py"

GRID = """
[study]
name = "grid"
seeds = {seeds}
[factors]
dataset = ["mnist", "digits"]
model = "mlp"
lam = [0, 1e-4, 1e-3]
"""
BUDGET = """
[study]
name = "budgeted"
seeds = {seeds}
[factors]
dataset = ["mnist", "digits"]
model = "mlp"
lam = "budget"
"""


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("budget_against_grid", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


class Studies:
    """Directories of a grid and a budget study, and the records in them."""

    def __init__(self, make, change=None, *, seeds=5, budget=BUDGET):
        grid, budgeted = make.study(GRID, seeds), make.study(budget, seeds)
        self.grid_records = make.records(grid, change)
        baselines = [
            record
            for record in self.grid_records
            if record.config["lam"] == 0 and record.config["seed"] == 0
        ]
        made = {record.run_id: record for record in [*baselines, *make.records(budgeted, change)]}
        self.budget_records = list(made.values())
        self.grid = make.write(grid, self.grid_records, "grid")
        self.budget = make.write(budgeted, self.budget_records, "budget")

    def values(self, metric, dataset, lam):
        records = self.budget_records if lam == "budget" else self.grid_records
        found = sorted(
            (record.config["seed"], record.metrics[metric])
            for record in records
            if (record.config["dataset"], record.config["lam"]) == (dataset, lam)
        )
        return np.array([value for _, value in found])


def geometric(ratios):
    logs = np.log(ratios)
    ends = stats.t.interval(0.95, len(logs) - 1, logs.mean(), stats.sem(logs))
    return [100 * np.exp(value) for value in (logs.mean(), *ends)]


def shown(interval):
    return [interval["estimate"], interval["low"], interval["high"]]


def test_the_numbers_equal_those_by_hand(make, script):
    studies = Studies(make)
    found = script.compare(studies.budget, studies.grid)
    assert [cell["dataset"] for cell in found["cells"]] == ["mnist", "digits"]
    for cell in found["cells"]:
        name, lam = cell["dataset"], cell["grid"]["lam"]
        assert lam in (1e-4, 1e-3)
        for side, level in (("budget", "budget"), ("grid", lam)):
            for metric, key in (
                ("energy_activation", "energy_percent"),
                ("energy_gauge_fixed", "gauge_fixed_percent"),
            ):
                ratios = studies.values(metric, name, level) / studies.values(metric, name, 0.0)
                assert shown(cell[side][key]) == pytest.approx(geometric(ratios))
            change = 100 * (
                studies.values("test_accuracy", name, level)
                - studies.values("test_accuracy", name, 0.0)
            )
            low, high = stats.t.interval(0.95, 4, change.mean(), stats.sem(change))
            interval = cell[side]["accuracy_change_pp"]
            assert shown(interval) == pytest.approx([change.mean(), low, high])
            assert cell[side]["non_inferior"] is bool(low > -0.5)
        for metric, key in (
            ("energy_activation", "energy_percent"),
            ("energy_gauge_fixed", "gauge_fixed_percent"),
        ):
            ratios = studies.values(metric, name, "budget") / studies.values(metric, name, lam)
            assert shown(cell["budget_of_grid"][key]) == pytest.approx(geometric(ratios))
        multipliers = studies.values("shadow_price", name, "budget")
        assert shown(cell["budget"]["multiplier"]) == pytest.approx(
            [np.median(multipliers), multipliers.min(), multipliers.max()]
        )


def test_runs_are_counted_with_the_baseline(make, script):
    studies = Studies(make)
    found = script.compare(studies.budget, studies.grid)
    for cell in found["cells"]:
        assert cell["grid"]["runs"] == 15
        assert cell["budget"]["runs"] == 6
    assert found["runs_in_both"] == {"runs": 2, "same": 2}


def test_a_study_with_both_counts_only_its_budget_runs_and_baselines(make, script):
    both = BUDGET.replace('"budget"\n', '[0, "budget"]\n')
    studies = Studies(make, budget=both)
    cells = script.compare(studies.budget, studies.grid)["cells"]
    assert all(cell["budget"]["runs"] == 6 for cell in cells)


def test_pairs_are_the_seeds_that_both_have(make, script):
    def lose(record):
        lost = record.config["lam"] == "budget" and record.config["seed"] == 3
        return make.ended(record, "collapsed") if lost else record

    studies = Studies(make, lose)
    cell = script.compare(studies.budget, studies.grid)["cells"][0]
    assert cell["budget"]["energy_percent"]["n"] == 4
    assert cell["budget_of_grid"]["energy_percent"]["n"] == 4
    assert cell["budget"]["not_ok"] == 1
    assert cell["budget"]["non_inferior"] is False
    assert cell["grid"]["not_ok"] == 0


def test_without_gauge_fixed_energies_both_sides_say_so(make, script):
    studies = Studies(make, make.old)
    script.main(["--budget", str(studies.budget), "--grid", str(studies.grid)])
    cell = json.loads((studies.budget / "comparison.json").read_text("utf-8"))["cells"][0]
    assert cell["budget_of_grid"]["gauge_fixed_percent"]["reason"] == "budget: not recorded"
    assert cell["grid"]["gauge_fixed_percent"]["reason"] == "not recorded"
    assert cell["budget_of_grid"]["energy_percent"]["estimate"] > 0
    assert "not recorded" in (studies.budget / "comparison.md").read_text("utf-8")


def test_the_page_says_what_was_found(make, script):
    studies = Studies(make)
    script.main(["--budget", str(studies.budget), "--grid", str(studies.grid)])
    text = (studies.budget / "comparison.md").read_text("utf-8")
    found = json.loads((studies.budget / "comparison.json").read_text("utf-8"))
    assert found == script.compare(studies.budget, studies.grid)
    cell = found["cells"][0]
    assert f"| {write.lam(cell['grid']['lam'])} selected |" in text
    assert "| mnist, mlp, activation, budget of 0.5 pp | 6 |" in text
    assert f"{cell['budget']['energy_percent']['estimate']:.3g} [" in text
    assert "| 6 against 15 |" in text
    assert "2 runs are in both studies, 2 of them with the same result." in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rows[:6]} == {9}
    assert {line.count("|") for line in rows[6:]} == {6}


def test_no_selected_lambda_is_said(make, script):
    def fail(record):
        return record if record.config["lam"] else make.ended(record, "failed", "no")

    studies = Studies(make, fail)
    script.main(["--budget", str(studies.budget), "--grid", str(studies.grid)])
    text = (studies.budget / "comparison.md").read_text("utf-8")
    assert "none can be selected" in text
    assert "no lambda was selected" in text


def test_other_conditions_are_named(make, script):
    def other(record):
        if record.config["lam"] != "budget":
            return record
        return replace(record, provenance=record.provenance | {"code_version": "another"})

    studies = Studies(make, other)
    found = script.compare(studies.budget, studies.grid)
    assert found["different_conditions"] == ["code_version"]
    assert "under the same code_version." in script.as_markdown(found)


@pytest.mark.parametrize(
    ("percent", "verdict"),
    [
        ((80.0, 70.0, 95.0), "yes"),
        ((98.0, 90.0, 107.0), "on average"),
        ((104.0, 90.0, 120.0), "not shown"),
        ((130.0, 110.0, 150.0), "no"),
        ((80.0, None, None), "on average"),
    ],
)
def test_verdicts(script, percent, verdict):
    names = ("estimate", "low", "high")
    assert script.no_higher(dict(zip(names, percent, strict=True))) == verdict


def test_studies_that_cannot_be_compared(make, script, tmp_path, capsys):
    studies = Studies(make)
    arguments = ["--budget", str(studies.grid), "--grid", str(studies.grid)]
    with pytest.raises(SystemExit) as stopped:
        script.main(arguments)
    assert stopped.value.code == 2
    assert 'has no runs with lam = "budget"' in capsys.readouterr().err
    other = make.study(GRID.replace("[study]", "[train]\nepochs = 9\n[study]"), 5)
    directory = make.write(other, make.records(other), "other")
    with pytest.raises(SystemExit) as stopped:
        script.main(["--budget", str(studies.budget), "--grid", str(directory)])
    assert stopped.value.code == 2
    assert "has no runs with dataset = mnist" in capsys.readouterr().err
    other = make.study(GRID.replace("[study]", "[train]\nclip_norm = 1.0\n[study]"), 5)
    clipped = make.write(other, make.records(other), "clipped")
    with pytest.raises(SystemExit) as stopped:
        script.main(["--budget", str(studies.budget), "--grid", str(clipped)])
    assert stopped.value.code == 2
    assert "clipped: has clip_norm and" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        script.main(["--budget", str(tmp_path / "none")])
    assert stopped.value.code == 2
