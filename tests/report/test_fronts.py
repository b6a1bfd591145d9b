from __future__ import annotations

import math

import numpy as np
import pytest

from minaction.report.tables import compute_findings
from minaction.stats.pareto import hypervolume


def fronts_of(make, text=None, seeds=4, change=None):
    study = make.study(text or make.sweep, seeds=seeds)
    records = make.records(study, change)
    return records, compute_findings(study, records)["pareto"]


def test_points_are_means_over_seeds_and_the_front_is_what_none_dominates(make):
    records, fronts = fronts_of(make)
    kinds = [(front["dataset"], front["kind"]) for front in fronts]
    sets = ("mnist", "fashion-mnist")
    assert kinds == [(name, kind) for name in sets for kind in ("raw", "gauge-fixed")]
    for front in fronts:
        metric = {"raw": "energy_activation", "gauge-fixed": "energy_gauge_fixed"}[front["kind"]]
        points = front["points"]
        assert len(points) == 10
        for point in points:
            runs = [
                record.metrics
                for record in records
                if record.config["dataset"] == front["dataset"]
                and record.config["model"] == point["curve"]
                and record.config["lam"] == point["lam"]
            ]
            logs = [math.log(run[metric]) for run in runs]
            assert point["n"] == 4
            assert point["energy"] == pytest.approx(math.exp(np.mean(logs)))
            accuracy = np.mean([run["test_accuracy"] for run in runs])
            assert point["test_accuracy"] == pytest.approx(accuracy)
            dominated = any(
                other["energy"] <= point["energy"]
                and other["test_accuracy"] >= point["test_accuracy"]
                for other in points
                if other is not point
            )
            assert point["on_front"] is not dominated
            assert 0 <= point["membership"] <= 1
        assert front["shared_seeds"]
        assert front["left_out"] == 0


def test_the_area_is_in_decades_times_points_from_the_worst_of_both(make):
    _, (front, *_) = fronts_of(make)
    energies = np.array([point["energy"] for point in front["points"]])
    accuracies = np.array([point["test_accuracy"] for point in front["points"]])
    assert front["reference"]["energy"] == pytest.approx(energies.max())
    assert front["reference"]["test_accuracy"] == pytest.approx(accuracies.min())
    reference = (np.log10(energies.max()), 100 * accuracies.min())
    area = hypervolume(np.log10(energies), 100 * accuracies, reference=reference)
    assert front["hypervolume"]["estimate"] == pytest.approx(area)
    assert front["hypervolume"]["low"] < front["hypervolume"]["high"]


def test_seeds_that_differ_are_no_blocks(make):
    def fail(record):
        gone = record.config["seed"] == 0 and record.config["lam"] == 1e-3
        return make.ended(record, "failed", "why") if gone else record

    _, fronts = fronts_of(make, change=fail)
    assert not any(front["shared_seeds"] for front in fronts)
    assert {point["n"] for point in fronts[0]["points"]} == {3, 4}


def test_configurations_without_two_runs_of_positive_energy_are_left_out(make):
    def silence(record):
        if record.config["lam"] == 1e-2:
            record.metrics["energy_activation"] = 0.0
        return record

    _, fronts = fronts_of(make, change=silence)
    assert [(front["left_out"], len(front["points"])) for front in fronts[:2]] == [(2, 8), (0, 10)]


@pytest.mark.parametrize("status", ["ok", "failed"])
def test_one_seed_or_no_ok_run_has_no_front(make, status):
    seeds = 1 if status == "ok" else 3
    _, fronts = fronts_of(
        make, make.small, seeds, lambda r: r if status == "ok" else make.ended(r, "failed", "why")
    )
    assert fronts == []
