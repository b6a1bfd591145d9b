"""Efficiency from hand-made journals whose costs are known."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from minaction.errors import InputError
from minaction.report.efficiency import efficiency

SCRIPT = Path(__file__).parents[2] / "results" / "efficiency.py"
MODALITIES = {"digits": "vision", "mnist": "vision"}
STUDY = """
[study]
name = "speed"
seeds = {seeds}
[factors]
dataset = {datasets}
model = ["mlp", "cnn", "lagrangian"]
lr = [1e-3, 1e-2]
[train]
steps = 100
validate_every = 10
"""
INIT = 'init = ["he", "pytorch"]\n'
# steps to the target, by model and rate: what the records below are made from
STEPS = {
    ("mlp", 1e-3): 60, ("mlp", 1e-2): 50,
    ("cnn", 1e-3): 40, ("cnn", 1e-2): 80,
    ("lagrangian", 1e-3): 30, ("lagrangian", 1e-2): 20,
}  # fmt: skip
FINAL = {"mlp": 0.8, "cnn": 0.7, "lagrangian": 0.9}
MACS = {"mlp": 10, "cnn": 100, "lagrangian": 20}
TARGET = 0.95 * 0.8


def trained(record, delay=0):
    """The record with a curve that reaches the target as `STEPS` says, seeds later by 0 or 10."""
    model, lr, seed = (record.config[key] for key in ("model", "lr", "seed"))
    reached = STEPS[model, lr] + 10 * (seed % 2) + delay
    history = [
        {
            "step": step,
            "train_seconds": 0.1 * MACS[model] * step,
            "val_accuracy": max(TARGET, FINAL[model]) if step >= reached else 0.1,
        }
        for step in range(10, 101, 10)
    ]
    metrics = {"val_accuracy": FINAL[model], "train_macs_per_step": MACS[model]}
    return replace(record, history=history, metrics=record.metrics | metrics)


def study_of(make, seeds=5, datasets='["digits"]'):
    return make.study(STUDY.replace("{datasets}", datasets), seeds)


def found_in(make, change=trained, **options):
    study = study_of(make, **options)
    return efficiency(make.records(study, change), MODALITIES, tuning_seeds=2)


def row_of(rows, **wanted):
    (row,) = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    return row


def test_the_target_is_a_share_of_the_best_conventional_accuracy(make):
    (target,) = found_in(make)["targets"]
    assert (target["dataset"], target["modality"]) == ("digits", "vision")
    assert (target["model"], target["n"]) == ("mlp", 5)  # the lagrangian sets no target
    assert target["accuracy"] == pytest.approx(0.8)
    assert target["target"] == pytest.approx(TARGET)


def test_each_model_takes_its_fastest_rate_and_costs_are_of_the_other_seeds(make):
    costs = found_in(make)["costs"]
    rates = {row["model"]: row["lr"] for row in costs}
    assert rates == {"mlp": 1e-2, "cnn": 1e-3, "lagrangian": 1e-2}
    assert all(row["lr_at_edge"] for row in costs)
    lagrangian = {row["unit"]: row for row in costs if row["model"] == "lagrangian"}
    # of seeds 2, 3 and 4, one of which is 10 steps later
    assert lagrangian["steps"]["n"] == 3
    assert lagrangian["steps"]["median"] == 20
    assert lagrangian["steps"]["mean"] == pytest.approx((20 + 30 + 20) / 3)
    assert lagrangian["macs"]["mean"] == pytest.approx(20 * 70 / 3)
    assert lagrangian["seconds"]["mean"] == pytest.approx(0.1 * 20 * 70 / 3)
    assert {row["censored"] for row in costs} == {0}


def test_an_initialisation_is_chosen_with_the_rate(make):
    def starts(record):
        late = record.config["model"] == "cnn" and record.config["init"] == "pytorch"
        return trained(record, delay=20 if late else 0)

    study = make.study(
        STUDY.replace("{datasets}", '["digits"]').replace("[train]", INIT + "[train]"), 5
    )
    found = efficiency(make.records(study, starts), MODALITIES, tuning_seeds=2)
    (target,) = found["targets"]
    assert (target["model"], target["lr"], target["init"], target["n"]) == (
        "mlp", 1e-3, "he", 5,
    )  # fmt: skip
    cnn = row_of(found["costs"], model="cnn", unit="steps")
    assert (cnn["lr"], cnn["init"], cnn["n"], cnn["median"]) == (1e-3, "he", 3, 40)


def test_runs_that_differ_in_anything_else_are_not_thrown_together(make):
    text = STUDY.replace("{datasets}", '["digits"]')
    study = make.study(text.replace("[train]", "batch_size = [8, 16]\n[train]"), 5)
    with pytest.raises(InputError, match="digits, cnn, seed 0: two runs differ in more than"):
        efficiency(make.records(study, trained), MODALITIES, tuning_seeds=2)


def test_gains_are_on_the_best_and_on_the_cheapest_conventional_model(make):
    gains = found_in(make)["gains"]
    assert {row["model"] for row in gains} == {"lagrangian"}
    best = row_of(gains, dataset="digits", unit="steps", against="best")
    assert best["reference"] == ["mlp"]
    assert best["gain"] == pytest.approx(1 - 70 / 160)
    assert best["low"] < best["gain"] < best["high"]
    cheapest = row_of(gains, dataset="digits", unit="steps", against="cheapest")
    assert cheapest["reference"] == ["cnn"]  # 40 steps against 50
    assert cheapest["gain"] == pytest.approx(1 - 70 / 130)
    macs = row_of(gains, dataset="digits", unit="macs", against="cheapest")
    assert macs["reference"] == ["mlp"]
    assert macs["gain"] == pytest.approx(1 - 20 * 70 / (10 * 160))


def test_gains_of_a_modality_are_the_geometric_mean_over_its_data_sets(make):
    def slower_on_mnist(record):
        late = record.config["dataset"] == "mnist" and record.config["model"] == "lagrangian"
        return trained(record, delay=10 if late else 0)

    gains = found_in(make, slower_on_mnist, datasets='["digits", "mnist"]')["gains"]
    wanted = {"modality": "vision", "unit": "steps", "against": "best"}
    both = row_of(gains, dataset=None, **wanted)
    ratios = [1 - row_of(gains, dataset=name, **wanted)["gain"] for name in ("digits", "mnist")]
    assert both["gain"] == pytest.approx(1 - (ratios[0] * ratios[1]) ** 0.5)
    assert both["n"] == 6


def test_runs_that_never_reach_the_target_are_kept(make):
    def one_never(record):
        never = record.config["model"] == "lagrangian" and record.config["seed"] == 3
        return trained(record, delay=1000 if never else 0)

    found = found_in(make, one_never)
    row = row_of(found["costs"], model="lagrangian", unit="steps")
    assert (row["n"], row["censored"], row["horizon"], row["median"]) == (3, 1, 100, 20)
    assert row["mean"] == pytest.approx((20 + 100 + 20) / 3)
    gain = row_of(found["gains"], dataset="digits", unit="steps", against="best")
    assert gain["gain"] == pytest.approx(1 - 140 / 160)


def test_a_run_that_failed_counts_as_one_that_never_reached_it(make):
    def one_fails(record):
        if record.config["model"] == "lagrangian" and record.config["seed"] == 3:
            return replace(make.ended(record, "failed", "out of memory"), history=[])
        return trained(record)

    row = row_of(found_in(make, one_fails)["costs"], model="lagrangian", unit="steps")
    assert (row["n"], row["censored"], row["mean"]) == (3, 1, pytest.approx(140 / 3))


def test_a_rate_with_a_run_that_broke_off_sets_no_target(make):
    def breaks_off(record):
        record = trained(record)
        if record.config["model"] == "mlp" and record.config["seed"] == 0:
            record = replace(record, metrics=record.metrics | {"val_accuracy": None})
        return record

    (target,) = found_in(make, breaks_off)["targets"]
    assert target["model"] == "cnn"


def test_macs_that_were_not_counted_are_left_out(make):
    def uncounted(record):
        record = trained(record)
        return replace(record, metrics=record.metrics | {"train_macs_per_step": None})

    found = found_in(make, uncounted)
    assert {row["unit"] for row in found["costs"]} == {"steps", "seconds"}
    assert {row["unit"] for row in found["gains"]} == {"steps", "seconds"}


def test_runs_under_a_penalty_do_not_count(make):
    study = study_of(make)
    records = make.records(study, trained)
    penalised = [
        replace(record, run_id=f"{record.run_id}x", config=record.config | {"lam": 0.1})
        for record in records
    ]
    assert efficiency([*records, *penalised], MODALITIES) == efficiency(records, MODALITIES)


def test_what_cannot_be_summarised_says_why(make):
    with pytest.raises(InputError, match="no seeds besides the 2"):
        found_in(make, seeds=2)

    def only_lagrangian(record):
        return trained(record) if record.config["model"] == "lagrangian" else None

    with pytest.raises(InputError, match="digits: no conventional model"):
        found_in(make, only_lagrangian)


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("efficiency_results", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_the_script_writes_the_same_numbers_twice(make, script):
    study = study_of(make, datasets='["digits", "mnist"]')
    directory = make.write(study, make.records(study, trained))
    script.main([str(directory), "--tuning-seeds", "2"])
    text = (directory / "efficiency.json").read_text()
    found = json.loads(text)
    assert (found["planned"], found["recorded"]) == (60, 60)
    page = (directory / "efficiency.md").read_text()
    assert "| digits | vision | mlp at lr 0.001 | 80.00 (n = 5) | 76.00 |" in page
    assert "| **vision** | lagrangian | best | 56 (" in page
    script.main([str(directory), "--tuning-seeds", "2"])
    assert (directory / "efficiency.json").read_text() == text


def test_the_script_sums_up_several_studies_of_different_data_sets(make, script):
    directories = []
    for name in ("digits", "mnist"):
        study = study_of(make, datasets=f'["{name}"]')
        directories.append(make.write(study, make.records(study, trained), name=name))
    found = script.summarise(directories, 2)
    assert [row["dataset"] for row in found["targets"]] == ["digits", "mnist"]
    with pytest.raises(InputError, match="in common"):
        script.summarise([directories[0], directories[0]], 2)


def test_the_script_refuses_a_folder_without_a_study(tmp_path, script, capsys):
    with pytest.raises(SystemExit) as stopped:
        script.main([str(tmp_path)])
    assert stopped.value.code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
