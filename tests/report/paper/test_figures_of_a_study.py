from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from minaction.report.paper.drawing import Drawing, Missing
from minaction.report.paper.pareto import tint
from minaction.report.paper.style import look


def axes_of(drawing: Drawing) -> list:
    """The drawing's panels, drawn without layout."""
    figure = Figure()
    found = figure.subplots(1, len(drawing.panels), squeeze=False).ravel().tolist()
    for axes, panel in zip(found, drawing.panels, strict=True):
        panel.draw(axes)
    return found


def curves(axes) -> list[tuple[list[float], list[float]]]:
    """Points of the error bars' curves."""
    lines = [container.lines[0] for container in axes.containers]
    return [(line.get_xdata().tolist(), line.get_ydata().tolist()) for line in lines]


def test_a_sweep_has_every_figure_but_gains(press, make):
    found = press.drawings(make.sweep, change=make.validated)
    assert press.drawn(found) == [
        *("accuracy", "energy", "rescaling", "pareto-vision", "interaction", "effect-sizes"),
        *("target-cost-steps", "target-cost-seconds"),
    ]
    assert "conventional models only" in found["efficiency-gains"].reason
    for drawing in found.values():
        if isinstance(drawing, Drawing):
            assert all(axes.has_data() for axes in axes_of(drawing))
            assert "error bars" in drawing.caption or "intervals" in drawing.caption


def test_lambda_curves_stand_where_the_findings_are(press, make):
    findings, _ = press.results(make.sweep)
    found = press.drawings(make.sweep)
    first, second = axes_of(found["accuracy"])
    for axes, dataset in ((first, "mnist"), (second, "fashion-mnist")):
        tables = [t for t in findings["lambda_tables"] if t["factors"]["dataset"] == dataset]
        expected = [[100 * row["test_accuracy"]["estimate"] for row in t["rows"]] for t in tables]
        assert [y for _, y in curves(axes)] == expected
        assert curves(axes)[0][0] == pytest.approx([-6, -5, -4, -3, -2])
    raw, fixed = curves(axes_of(found["energy"])[0])[:2]
    rows = findings["lambda_tables"][0]["rows"]
    assert raw[1] == [row["energy"]["estimate"] for row in rows]
    assert fixed[1] == [row["energy_gauge_fixed"]["estimate"] for row in rows]


def test_error_bars_end_where_the_intervals_do(press, make):
    findings, _ = press.results(make.small)
    axes = axes_of(press.drawings(make.small)["accuracy"])[0]
    (bars,) = axes.containers[0].lines[2]
    rows = findings["lambda_tables"][0]["rows"]
    for (low, high), row in zip(bars.get_segments(), rows, strict=True):
        assert low[1] == pytest.approx(100 * row["test_accuracy"]["low"])
        assert high[1] == pytest.approx(100 * row["test_accuracy"]["high"])


def test_a_budget_is_joined_to_nothing(press, make):
    axes = axes_of(press.drawings(make.budgeted)["accuracy"])[0]
    assert [len(x) for x, _ in curves(axes)] == [2, 1]
    assert [label.get_text() for label in axes.get_xticklabels()][-1] == "budget"
    assert "budgets" in press.drawings(make.budgeted)["accuracy"].caption


def test_a_figure_without_gauge_fixed_energies_says_so(press, make):
    found = press.drawings(make.small, change=make.old)
    assert isinstance(found["rescaling"], Missing)
    assert "No gauge-fixed energy was recorded" in found["energy"].caption
    assert found["energy"].legend == []


def test_every_modality_has_a_pareto_figure(press):
    found = press.drawings(press.modalities)
    assert {"pareto-vision", "pareto-text"} <= set(press.drawn(found))
    assert found["pareto-vision"].caption.startswith("Modality: vision.")
    assert [panel.title for panel in found["pareto-text"].panels] == ["docstrings"] * 2
    raw, fixed = (panel.x for panel in found["pareto-text"].panels)
    assert (raw, fixed) == ("raw energy", "gauge-fixed energy")


def test_the_filling_of_a_point_is_its_membership():
    colour = look(0)
    assert tint(colour, 0) == (1, 1, 1)
    assert tint(colour, 1) == pytest.approx((0, 0x72 / 255, 0xB2 / 255))


def test_points_and_labels_of_a_front_are_those_of_the_findings(press, make):
    findings, _ = press.results(make.sweep)
    drawing = press.drawings(make.sweep)["pareto-vision"]
    for axes, front, panel in zip(
        axes_of(drawing), findings["pareto"], drawing.panels, strict=True
    ):
        stair, *points = axes.lines
        ahead = [point for point in front["points"] if point["on_front"]]
        assert sorted(stair.get_xdata()) == sorted(point["energy"] for point in ahead)
        assert [p.get_xdata()[0] for p in points] == [point["energy"] for point in front["points"]]
        assert {label.x for label in panel.labels} == {point["energy"] for point in ahead}


def test_a_heat_map_has_the_means_of_the_lines(press, make):
    axes = axes_of(press.drawings(make.sweep)["interaction"])
    lines = {tuple(np.round(y, 1)) for _, y in curves(axes[0])}
    texts = [float(text.get_text()) for text in axes[1].texts]
    assert {tuple(texts[:2]), tuple(texts[2:])} == lines


def test_effect_sizes_are_those_of_the_analysis(press, make):
    _, analysis = press.results(make.sweep)
    axes = axes_of(press.drawings(make.sweep)["effect-sizes"])[0]
    drawn = [container.lines[0].get_xdata()[0] for container in axes.containers]
    expected = [
        row["partial_eta_sq"]
        for table in analysis["factorial"]
        for row in table["rows"]
        if row["F"] is not None
    ]
    assert drawn == expected
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names[0] == "data set"
    assert "data set \u00d7 model \u00d7 \u03bb" in names


def test_gains_have_a_forest_plot(press, make):
    def trained(record):
        late = 40 + 20 * (record.config["model"] == "mlp") + 10 * (record.config["seed"] % 3)
        history = [
            {"step": step, "train_seconds": step / 10, "val_accuracy": 0.9 * (step >= late)}
            for step in range(10, 101, 10)
        ]
        metrics = record.metrics | {"val_accuracy": 0.9, "train_macs_per_step": 1000}
        return replace(record, history=history, metrics=metrics)

    _, analysis = press.results(press.modalities, seeds=6, change=trained)
    drawing = press.drawings(press.modalities, seeds=6, change=trained)["efficiency-gains"]
    axes = axes_of(drawing)[0]
    drawn = [container.lines[0].get_xdata()[0] for container in axes.containers]
    gains = [g["gain"] for g in analysis["efficiency"]["gains"] if g["against"] == "best"]
    assert drawn == pytest.approx([100 * gain for gain in gains])
    assert [entry.text for entry in drawing.legend] == ["steps", "macs", "seconds"]


def test_costs_climb_to_the_share_that_reached_the_target(press, make):
    def half(record):
        return make.validated(record, reached=2 if record.config["seed"] % 2 else 9)

    drawing = press.drawings(make.sweep, change=half)["target-cost-steps"]
    for axes in axes_of(drawing):
        for line in axes.lines:
            assert line.get_ydata()[0] == 0
            assert max(line.get_ydata()) == pytest.approx(50)
            assert not math.isnan(line.get_xdata()[-1])


@pytest.mark.parametrize("status", ["collapsed", "failed", "diverged"])
def test_a_group_without_ok_runs_is_left_out(press, make, status):
    def change(record):
        lost = record.config["model"] == "mlp"
        return make.ended(record, status, "why" if status == "failed" else None) if lost else record

    change.__qualname__ = f"without mlp: {status}"
    found = press.drawings(make.sweep, change=change)
    assert isinstance(found["interaction"], Missing)
    assert [len(curves(axes)) for axes in axes_of(found["accuracy"])] == [1, 1]
