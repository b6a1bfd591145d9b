from __future__ import annotations

import pytest

from minaction.report.analysis.analyse import compute_analysis
from minaction.report.figures_analysis import effect_figure, gain_figure
from minaction.report.forest import effect_forest, gain_forests


@pytest.fixture(scope="module")
def analysis(make_once):
    study = make_once.study(make_once.sweep, seeds=3)
    return compute_analysis(study, make_once.records(study))


def test_effect_sizes_are_those_of_the_table_without_the_residual(analysis):
    table = analysis["factorial"][0]
    forest = effect_forest(table)
    assert list(forest) == ["partial η²", "ω²"]
    effects = {row["effect"]: row for row in table["rows"]}
    del effects["Residual"]
    for series, size in (("partial η²", "partial_eta_sq"), ("ω²", "omega_sq")):
        assert [point["label"] for point in forest[series]] == [
            *("data set", "model", "\u03bb", "data set \u00d7 model", "data set \u00d7 \u03bb"),
            *("model \u00d7 \u03bb", "data set \u00d7 model \u00d7 \u03bb", "seed (block)"),
        ]
        for point, row in zip(forest[series], effects.values(), strict=True):
            ends = (row[size], row[f"{size}_low"], row[f"{size}_high"])
            assert (point["estimate"], point["low"], point["high"]) == ends


def test_a_table_that_could_not_be_computed_has_no_forest(make):
    study = make.study(make.sweep, seeds=1)
    tables = compute_analysis(study, make.records(study))["factorial"]
    assert tables[0]["reason"].startswith("there is one seed only")
    assert effect_forest(tables[0]) == {"partial η²": [], "ω²": []}
    assert effect_figure(tables) is None


def test_rows_come_from_the_top_and_an_estimate_beyond_its_interval_keeps_it(analysis):
    table = analysis["factorial"][0]
    low = {**table["rows"][0], "partial_eta_sq": 0.5, "partial_eta_sq_low": 0.0}
    rows = [{**low, "partial_eta_sq_high": 0.1}, *table["rows"][1:]]
    spec = effect_figure([{**table, "rows": rows}]).panels[0].spec
    partial = spec["data"][0]
    assert partial["y"] == sorted(partial["y"], reverse=True)
    assert spec["layout"]["yaxis"]["ticktext"][0] == "data set"
    bars = partial["error_x"]
    assert 0.5 + bars["array"][0] == pytest.approx(0.1)
    assert 0.5 - bars["arrayminus"][0] == pytest.approx(0.0)


def gain(**changed):
    row = {
        **{"modality": "vision", "dataset": None, "model": "lagrangian", "unit": "steps"},
        **{"against": "best", "reference": ["cnn"], "n": 7, "gain": 0.2, "low": 0.1, "high": 0.3},
    }
    return row | changed


def test_gains_are_in_percent_by_unit_and_reference_over_modalities_only():
    rows = [
        gain(),
        gain(against="cheapest", gain=0.1, low=None, high=None, reference=["mlp", "cnn"]),
        gain(dataset="mnist", gain=0.7),
        gain(unit="macs", gain=-0.5, low=-1.0, high=0.0),
    ]
    forests = gain_forests({"gains": rows})
    assert list(forests) == ["steps", "macs"]
    assert forests["steps"] == {
        "against the best": [
            {
                **{"label": "vision · lagrangian", "estimate": 20.0, "low": 10.0, "high": 30.0},
                "note": "n = 7, against cnn",
            }
        ],
        "against the cheapest": [
            {
                **{"label": "vision · lagrangian", "estimate": 10.0, "low": None, "high": None},
                "note": "n = 7, against mlp, cnn",
            }
        ],
    }
    figure = gain_figure({"gains": rows})
    assert [panel.id for panel in figure.panels] == ["gains-steps", "gains-macs"]
    assert gain_figure({"gains": []}) is None
