from __future__ import annotations

import math
from dataclasses import replace

import plotly.graph_objects as go
import pytest

from minaction.report.figure_table import figure_table
from minaction.report.figures import figures
from minaction.report.tables import compute_findings
from minaction.report.traces import lambda_places


@pytest.fixture(scope="module")
def sweep(make_once):
    study = make_once.study(make_once.sweep, seeds=3)
    return compute_findings(study, make_once.records(study))


def test_every_panel_is_a_valid_plotly_figure(sweep):
    drawn = {figure.id: figure for figure in figures(sweep)}
    assert list(drawn) == [
        *("accuracy", "energy", "rescaling", "trade-off", "pareto", "interaction", "heat-map"),
        *("effects", "layers", "training"),
    ]
    for name, figure in drawn.items():
        titles = [panel.title for panel in figure.panels]
        if name in ("interaction", "heat-map"):
            assert titles == ["all"]
            continue
        if name in ("effects", "layers", "training"):
            continue  # they have tests of their own
        if name == "pareto":
            kinds = ("raw energy", "gauge-fixed energy")
            sets = ("mnist (vision)", "fashion-mnist (vision)")
            assert titles == [f"{d} · {k}" for d in sets for k in kinds]
        elif name == "trade-off":
            kinds = ("raw energy", "gauge-fixed energy")
            assert titles == [f"{d} · {k}" for d in ("mnist", "fashion-mnist") for k in kinds]
        else:
            assert titles == ["mnist", "fashion-mnist"]
        for panel in figure.panels:
            names = [trace.name for trace in go.Figure(panel.spec).data]
            if name in ("energy", "rescaling"):
                assert names == [
                    f"{m} · {k}" for m in ("mlp", "cnn") for k in ("raw", "gauge-fixed")
                ]
            elif name == "pareto":
                assert names == ["front", "mlp", "cnn"]
            else:
                assert names == ["mlp", "cnn"]


def trace_of(findings, figure, name, panel=0):
    drawn = {one.id: one for one in figures(findings)}[figure].panels[panel]
    (found,) = (t for t in drawn.spec["data"] if t["name"] == name and t["mode"] != "markers")
    return found


def test_ids_are_unique(sweep):
    ids = [panel.id for figure in figures(sweep) for panel in figure.panels]
    ids += [figure.id for figure in figures(sweep)]
    assert len(set(ids)) == len(ids)


def test_every_caption_defines_its_error_bars(sweep):
    captions = {figure.id: figure.caption for figure in figures(sweep)}
    defined = {
        "pareto": "no error bars; how sure",
        "heat-map": "no error bars; the figure above",
        "effects": "95 % intervals that invert the noncentral F distribution",
    }
    for name, caption in captions.items():
        assert defined.get(name, "95 % t intervals of the mean") in caption


def test_both_energies_are_drawn_beside_each_other(sweep):
    rows = sweep["lambda_tables"][0]["rows"]
    raw = trace_of(sweep, "energy", "mlp · raw")
    gauge_fixed = trace_of(sweep, "energy", "mlp · gauge-fixed")
    assert raw["y"] == [row["energy"]["estimate"] for row in rows]
    assert gauge_fixed["y"] == [row["energy_gauge_fixed"]["estimate"] for row in rows]
    assert gauge_fixed["marker"]["symbol"] == raw["marker"]["symbol"] + "-open"
    assert gauge_fixed["line"]["color"] == raw["line"]["color"]


def test_the_gap_between_the_relative_curves_is_rescaling(sweep):
    rows = sweep["lambda_tables"][0]["rows"]
    raw = trace_of(sweep, "rescaling", "mlp · raw")
    gauge_fixed = trace_of(sweep, "rescaling", "mlp · gauge-fixed")
    assert raw["y"][0] == gauge_fixed["y"][0] == 100
    for number, row in enumerate(rows[1:], start=1):
        logs = [math.log(trace["y"][number] / 100) for trace in (raw, gauge_fixed)]
        share = 100 * (1 - logs[1] / logs[0])
        assert share == pytest.approx(row["rescaling_percent"]["estimate"])


def test_curves_hold_the_findings(sweep):
    trace = figures(sweep)[1].panels[0].spec["data"][0]
    rows = sweep["lambda_tables"][0]["rows"]
    assert trace["y"] == [row["energy"]["estimate"] for row in rows]
    low = [row["energy"]["estimate"] - row["energy"]["low"] for row in rows]
    assert trace["error_y"]["arrayminus"] == pytest.approx(low)


def test_lambda_zero_has_its_own_tick_left_of_the_others(sweep):
    axis = figures(sweep)[0].panels[0].spec["layout"]["xaxis"]
    assert axis["ticktext"] == ["0", "1e-5", "1e-4", "1e-3", "1e-2"]
    assert axis["tickvals"] == pytest.approx([-6, -5, -4, -3, -2])


def test_lambda_zero_alone_has_a_place():
    assert lambda_places([0.0]) == {0.0: -1.0}


def test_groups_differ_in_more_than_colour(make):
    rates = "lr = [1e-4, 2e-4, 3e-4, 4e-4, 5e-4, 6e-4, 7e-4, 8e-4]\nlam ="
    study = make.study(make.small.replace("lam =", rates), seeds=2)
    traces = figures(compute_findings(study, make.records(study)))[0].panels[0].spec["data"]
    looks = {(t["marker"]["symbol"], t["line"]["dash"], t["marker"]["color"]) for t in traces}
    assert len(looks) == len(traces) == 8


def test_several_energies_are_never_on_one_axis(make):
    study = make.study(make.small.replace("lam =", 'energy = ["activation", "l1"]\nlam ='))
    drawn = figures(compute_findings(study, make.records(study)))
    assert [panel.title for panel in drawn[1].panels] == ["digits · activation", "digits · l1"]


def test_the_chosen_lambda_is_ringed(sweep):
    trace = trace_of(sweep, "trade-off", "mlp")
    selected = [row["validation"]["selected"] for row in sweep["lambda_tables"][0]["rows"]]
    assert [symbol.endswith("-open") for symbol in trace["marker"]["symbol"]] == selected
    assert sum(selected) == 1


def test_a_panels_table_has_its_points_in_the_units_of_its_axes(sweep):
    (panel, *_) = {one.id: one for one in figures(sweep)}["trade-off"].panels
    table = figure_table(panel.spec)
    assert table["columns"] == [
        *("series", "raw energy (log)", "raw energy (log) low", "raw energy (log) high"),
        *("test accuracy (%)", "test accuracy (%) low", "test accuracy (%) high"),
    ]
    rows = sweep["lambda_tables"][0]["rows"]
    assert [row[0] for row in table["rows"]] == ["mlp"] * 5 + ["cnn"] * 5
    for shown, row in zip(table["rows"][:5], rows, strict=True):
        energy, accuracy = row["energy"], row["test_accuracy"]
        assert shown[1:4] == pytest.approx([energy[key] for key in ("estimate", "low", "high")])
        assert shown[4:] == pytest.approx(
            [100 * accuracy[key] for key in ("estimate", "low", "high")]
        )


def test_a_table_without_bars_has_no_columns_for_them(make):
    study = make.study(seeds=1)
    panel = figures(compute_findings(study, make.records(study)))[0].panels[0]
    table = figure_table(panel.spec)
    assert table["columns"] == ["series", "λ", "test accuracy (%)"]
    assert [row[:2] for row in table["rows"]] == [["mlp", "0"], ["mlp", "1e-3"]]


def test_what_cannot_be_drawn_is_left_out(make):
    def silence(record):
        if record.config["lam"]:
            record.metrics["energy_activation"] = 0.0
        return record

    study = make.study()
    findings = compute_findings(study, make.records(study, silence))
    assert len(trace_of(findings, "accuracy", "mlp")["x"]) == 2
    assert len(trace_of(findings, "energy", "mlp · raw")["x"]) == 1
    assert len(trace_of(findings, "energy", "mlp · gauge-fixed")["x"]) == 2
    assert len(trace_of(findings, "trade-off", "mlp")["x"]) == 1
    assert figures(compute_findings(study, [])) == []


def test_without_gauge_fixed_energies_the_raw_ones_are_drawn_and_the_caption_says_so(make):
    study = make.study()
    drawn = figures(compute_findings(study, make.records(study, make.old)))
    assert [figure.id for figure in drawn] == [
        *("accuracy", "energy", "trade-off", "pareto", "effects", "layers", "training"),
    ]
    assert all("No gauge-fixed energy was recorded" in one.caption for one in drawn[1:3])
    assert [panel.title for panel in drawn[3].panels] == ["digits (vision) · raw energy"]
    assert [trace["name"] for trace in drawn[1].panels[0].spec["data"]] == ["mlp · raw"]
    assert [panel.title for panel in drawn[2].panels] == ["digits · raw energy"]


def test_a_panel_without_any_point_is_not_drawn(make):
    def half(record):
        return make.old(record) if record.config["dataset"] == "mnist" else record

    study = make.study(make.sweep, seeds=2)
    drawn = {one.id: one for one in figures(compute_findings(study, make.records(study, half)))}
    titles = [panel.title for panel in drawn["trade-off"].panels]
    assert "mnist · gauge-fixed energy" not in titles
    assert "fashion-mnist · gauge-fixed energy" in titles
    assert "the tables say why" in drawn["trade-off"].caption


def test_an_activation_energy_never_shares_an_axis_with_another_kind(make):
    study = make.study(make.small.replace("lam =", 'energy = "l1"\nlam ='))
    drawn = {one.id: one for one in figures(compute_findings(study, make.records(study)))}
    assert [t["name"] for t in drawn["energy"].panels[0].spec["data"]] == ["mlp · raw"]
    assert "stand beside no other kind" in drawn["energy"].caption
    relative = [t["name"] for t in drawn["rescaling"].panels[0].spec["data"]]
    assert relative == ["mlp · raw", "mlp · gauge-fixed"]


def test_the_front_is_a_stair_through_its_filled_points(sweep):
    for front, panel in zip(
        sweep["pareto"], {f.id: f for f in figures(sweep)}["pareto"].panels, strict=True
    ):
        stair, *networks = go.Figure(panel.spec).data
        assert list(stair.x) == sorted(stair.x)
        assert list(stair.y) == sorted(stair.y)
        symbols = [symbol for trace in networks for symbol in trace.marker.symbol]
        filled = sum(not symbol.endswith("-open") for symbol in symbols)
        assert filled == len(stair.x) == sum(point["on_front"] for point in front["points"])
        assert len(symbols) == len(front["points"]) == 10


def test_interaction_and_heat_map_hold_the_accuracies_at_the_smallest_lambda(sweep):
    drawn = {figure.id: figure for figure in figures(sweep)}
    found = {
        (one["factors"]["model"], one["factors"]["dataset"]): one["rows"][0]["test_accuracy"]
        for one in sweep["lambda_tables"]
    }
    for trace in go.Figure(drawn["interaction"].panels[0].spec).data:
        for dataset, y, up in zip(trace.x, trace.y, trace.error_y.array, strict=True):
            accuracy = found[trace.name, dataset]
            assert y == pytest.approx(100 * accuracy["estimate"])
            assert y + up == pytest.approx(100 * accuracy["high"])
    (heat,) = go.Figure(drawn["heat-map"].panels[0].spec).data
    assert list(heat.y) == ["cnn", "mlp"]  # plotly draws from the bottom
    assert [list(line) for line in heat.z] == [
        [pytest.approx(100 * found[model, dataset]["estimate"]) for dataset in heat.x]
        for model in heat.y
    ]
    assert "at λ = 0" in drawn["interaction"].caption
    table = figure_table(drawn["heat-map"].panels[0].spec)
    assert table["columns"] == ["data set", "network", "test accuracy (%)"]
    assert table["rows"][0][:2] == ["mnist", "cnn"]


def test_one_network_or_one_data_set_has_no_interaction(make):
    study = make.study()
    drawn = {figure.id for figure in figures(compute_findings(study, make.records(study)))}
    assert "pareto" in drawn
    assert not drawn & {"interaction", "heat-map", "target-cost"}


def test_a_cell_without_an_ok_run_is_empty(make):
    def fail(record):
        gone = record.config["model"] == "cnn" and record.config["dataset"] == "mnist"
        return make.ended(record, "failed", "why") if gone else record

    study = make.study(make.sweep, seeds=2)
    drawn = {f.id: f for f in figures(compute_findings(study, make.records(study, fail)))}
    (heat,) = go.Figure(drawn["heat-map"].panels[0].spec).data
    assert [value is None for line in heat.z for value in line] == [True, False, False, False]


def test_costs_to_target_are_stairs_with_pointwise_bars(make):
    study = make.study(make.sweep, seeds=3)
    records = make.records(study, make.validated)
    findings = compute_findings(study, records)
    drawn = {figure.id: figure for figure in figures(findings)}["target-cost"]
    assert "Error bars are pointwise 95 % intervals" in drawn.caption
    assert [panel.id.split("-")[-1] for panel in drawn.panels] == ["steps", "seconds"] * 2
    for panel in drawn.panels:
        for trace in go.Figure(panel.spec).data:
            assert trace.line.shape == "hv"
            assert (trace.x[0], trace.y[0]) == (0, 0)
            assert list(trace.y) == sorted(trace.y)
            assert all(bar is None or bar >= 0 for bar in trace.error_y.array)
            assert all(bar is None or bar >= 0 for bar in trace.error_y.arrayminus)


@pytest.fixture(scope="module")
def budgeted(make_once):
    study = make_once.study(make_once.budgeted)
    return compute_findings(study, make_once.records(study))


@pytest.mark.parametrize("figure", ["accuracy", "energy", "rescaling"])
def test_a_budget_stands_apart_from_the_numbers_of_lambda(budgeted, figure):
    panel = {one.id: one for one in figures(budgeted)}[figure].panels[0]
    axis, shapes = panel.spec["layout"]["xaxis"], panel.spec["layout"]["shapes"]
    assert axis["ticktext"][-1] == "budget"
    curves = [t for t in panel.spec["data"] if t["mode"] == "lines+markers"]
    points = [t for t in panel.spec["data"] if t["mode"] == "markers"]
    assert len(points) == len(curves) == (1 if figure == "accuracy" else 2)
    for curve, point in zip(curves, points, strict=True):
        assert max(curve["x"]) < shapes[-1]["x0"] < point["x"][0] == axis["tickvals"][-1]
        assert point["error_y"]["array"][0] > 0
        assert not point["showlegend"]
        assert point["marker"]["symbol"].endswith("-dot")


def test_captions_say_what_the_budget_is(budgeted):
    drawn = {one.id: one for one in figures(budgeted)}
    for name in ("accuracy", "energy", "rescaling"):
        assert "Runs with a budget find a λ of their own" in drawn[name].caption
    assert "the budget" in drawn["trade-off"].caption
    for panel in drawn["trade-off"].panels:
        path, point = panel.spec["data"]
        assert "budget" not in path["text"]
        assert point["text"] == ["budget"]
        assert point["customdata"][0].startswith("budget, λ = ")


def test_the_budget_has_a_place_right_of_all_numbers():
    assert lambda_places(["budget", 0.0, 1e-2]) == {0.0: -3.0, 1e-2: -2.0, "budget": -1.0}
    assert lambda_places(["budget"]) == {"budget": 1.0}


def test_every_plot_of_layers_and_of_training_is_a_valid_plotly_figure(sweep):
    drawn = {figure.id: figure for figure in figures(sweep)}
    for name in ("effects", "layers", "training"):
        for panel in drawn[name].panels:
            assert go.Figure(panel.spec).data
    choices = [table["label"] for table in sweep["lambda_tables"]]
    assert list(dict.fromkeys(panel.choice for panel in drawn["layers"].panels)) == choices
    assert len(drawn["layers"].panels) == 2 * len(choices)


def test_layers_are_drawn_as_shares_with_a_bar_for_each_lambda(sweep):
    panel = {figure.id: figure for figure in figures(sweep)}["layers"].panels[0]
    assert [trace["name"] for trace in panel.spec["data"]] == [
        f"λ = {lam}" for lam in ("0", "1e-5", "1e-4", "1e-3", "1e-2")
    ]
    bars = panel.spec["data"][0]
    assert bars["x"] == ["net.2", "net.10"]
    assert bars["y"] == pytest.approx([60, 40])
    patterns = [trace["marker"]["pattern"]["shape"] for trace in panel.spec["data"]]
    assert len(set(patterns)) == 5
    rows = figure_table(panel.spec)["rows"]
    assert rows[0][:2] == ["λ = 0", "net.2"]


def test_a_layer_without_a_share_has_no_bar(make):
    def below_zero(record):
        layers = {**record.layers, "net.2": {**record.layers["net.2"], "energy_activation": -1.0}}
        return replace(record, layers=layers)

    study = make.study()
    findings = compute_findings(study, make.records(study, below_zero))
    assert findings["lambda_tables"][0]["layers"][0]["energy_share"]["n"] == 0
    panels = {figure.id: figure for figure in figures(findings)}["layers"].panels
    assert [panel.title for panel in panels] == ["digits · mlp · activation · gauge-fixed energy"]


def test_long_names_of_layers_keep_both_ends(make):
    long = "encoder." + "deep." * 2000 + "relu"

    def rename(record):
        return replace(record, layers={long: record.layers["net.2"], "b": record.layers["net.10"]})

    study = make.study()
    drawn = figures(compute_findings(study, make.records(study, rename)))
    panel = {figure.id: figure for figure in drawn}["layers"].panels[0]
    short = panel.spec["layout"]["xaxis"]["ticktext"][1]
    assert len(short) == 49
    assert (short[:8], short[-4:]) == ("encoder.", "relu")
    assert [row[1] for row in figure_table(panel.spec)["rows"][:2]] == ["b", short]
