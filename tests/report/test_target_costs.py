from __future__ import annotations

from dataclasses import replace

import pytest

from minaction.report.build import write_report
from minaction.report.tables import compute_findings
from minaction.report.verify import parse_page, verify_report


def costs_of(make, change, text=None, seeds=3):
    study = make.study(text or make.small, seeds=seeds)
    records = make.records(study, change)
    return records, compute_findings(study, records)["target_costs"]


def test_the_target_is_of_the_best_conventional_network_at_lambda_zero(make):
    records, costs = costs_of(make, make.validated, make.sweep)
    assert [(one["dataset"], one["modality"]) for one in costs] == [
        ("mnist", "vision"),
        ("fashion-mnist", "vision"),
    ]
    for one in costs:
        final = [
            record.metrics["val_accuracy"]
            for record in records
            if record.config["dataset"] == one["dataset"]
            and record.config["model"] == "cnn"
            and record.config["lam"] == 0
        ]
        assert one["target"]["curve"] == "cnn"
        assert one["target"]["value"] == pytest.approx(0.95 * sum(final) / 3)
        assert [arm["curve"] for arm in one["arms"]] == ["mlp", "cnn"]


def test_costs_are_what_was_spent_at_the_first_validation_at_the_target(make):
    _, ((one),) = costs_of(make, make.validated)
    (arm,) = one["arms"]
    assert (arm["n"], arm["censored"]) == (3, 0)
    assert arm["steps"]["median"]["estimate"] == 201
    assert arm["steps"]["band"]["cost"] == [200, 201, 202]
    assert arm["steps"]["band"]["estimate"] == pytest.approx([1 / 3, 2 / 3, 1])
    assert arm["seconds"]["band"]["cost"] == [4, 5, 6]
    assert arm["macs"] is None


def test_runs_that_never_reach_the_target_are_censored(make):
    def change(record):
        return make.validated(record, reached=2 if record.config["seed"] == 0 else 9)

    _, ((one),) = costs_of(make, change)
    (arm,) = one["arms"]
    assert (arm["n"], arm["censored"]) == (3, 2)
    assert arm["steps"]["median"] == {"n": 3, "estimate": None, "low": 200, "high": None}
    assert arm["steps"]["band"]["estimate"] == pytest.approx([1 / 3])
    assert arm["steps"]["band"]["end"] == 302


def test_without_conventional_network_there_is_no_target(make):
    text = make.small.replace('"mlp"', '"lif-mlp"')
    _, costs = costs_of(make, make.validated, text)
    assert [(one["target"], one["arms"]) for one in costs] == [(None, [])]


def test_a_network_of_which_a_run_failed_sets_no_target(make):
    def change(record):
        failed = record.config["model"] == "cnn" and record.config["seed"] == 1
        record = make.validated(record)
        return make.ended(replace(record, history=[]), "failed", "why") if failed else record

    _, costs = costs_of(make, change, make.sweep)
    assert [one["target"]["curve"] for one in costs] == ["mlp", "mlp"]
    assert [arm["censored"] for one in costs for arm in one["arms"]] == [0, 1, 0, 1]


@pytest.mark.parametrize(
    "spoilt",
    [
        {"step": None},
        {"step": "many"},
        {"step": 0},
        {"train_seconds": -1.0},
        {"train_seconds": 1e9},
        {"val_accuracy": "good"},
    ],
)
def test_histories_that_do_not_say_what_was_spent_have_no_costs(make, spoilt):
    def change(record):
        first, *others = make.validated(record).history
        return replace(record, history=[first | spoilt, *others])

    assert costs_of(make, change)[1] == []


def test_metrics_that_are_no_numbers_set_no_target(make):
    def change(record):
        metrics = record.metrics | {"val_accuracy": "high", "train_macs_per_step": 0}
        return replace(make.validated(record), metrics=metrics)

    study = make.study(seeds=3)
    valid = make.records(study, make.validated)
    records = [change(r) if r.config["seed"] == 1 else r for r in valid]
    (one,) = compute_findings(study, records)["target_costs"]
    assert one["target"] is None


def test_what_was_spent_in_macs_is_steps_times_macs_per_step(make):
    def change(record):
        return replace(
            make.validated(record), metrics=record.metrics | {"train_macs_per_step": 1000}
        )

    _, ((one),) = costs_of(make, change)
    assert one["arms"][0]["macs"]["band"]["cost"] == [200_000, 201_000, 202_000]


def test_the_page_shows_costs_and_fronts_and_verify_checks_them(make):
    def change(record):
        return make.validated(record, reached=9 if record.config["model"] == "mlp" else 2)

    study = make.study(make.sweep, seeds=3)
    directory = make.write(study, make.records(study, change))
    page = write_report(directory)
    assert verify_report(directory).differences == []
    text = page.read_text("utf-8")
    cells = dict(parse_page(text).cells)
    assert cells["target_costs.0.arms.0.steps"] == "— fewer than half reached it"
    assert cells["target_costs.0.arms.0.censored"] == "3"
    assert cells["target_costs.0.arms.1.macs"] == "— not recorded"
    assert cells["target_costs.0.arms.1.steps"].startswith("201")
    for path in ("target_costs.0.arms.1.steps", "pareto.2.hypervolume", "pareto.0.points.3.energy"):
        at = text.index(f'data-path="{path}">') + len(f'data-path="{path}">')
        page.write_text(f"{text[:at]}9{text[at:]}", "utf-8")
        (difference,) = verify_report(directory).differences
        assert difference.path == f"page: {path}"
