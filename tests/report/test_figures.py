from __future__ import annotations

import plotly.graph_objects as go
import pytest

from minaction.report.figures import figures, lambda_places
from minaction.report.tables import compute_findings


@pytest.fixture
def sweep(make):
    study = make.study(make.sweep, seeds=3)
    return compute_findings(study, make.records(study))


def test_every_panel_is_a_valid_plotly_figure(sweep):
    drawn = figures(sweep)
    assert [figure.id for figure in drawn] == ["accuracy", "energy", "trade-off"]
    for figure in drawn:
        assert [panel.title for panel in figure.panels] == ["mnist", "fashion-mnist"]
        for panel in figure.panels:
            checked = go.Figure(panel.spec)
            assert [trace.name for trace in checked.data] == ["mlp", "cnn"]


def test_ids_are_unique(sweep):
    ids = [panel.id for figure in figures(sweep) for panel in figure.panels]
    ids += [figure.id for figure in figures(sweep)]
    assert len(set(ids)) == len(ids)


def test_every_caption_defines_its_error_bars(sweep):
    assert all("95 % t intervals of the mean" in figure.caption for figure in figures(sweep))


def test_curves_hold_the_findings(sweep):
    trace = figures(sweep)[1].panels[0].spec["data"][0]
    rows = sweep["lambda_tables"][0]["rows"]
    assert trace["y"] == [row["energy"]["estimate"] for row in rows]
    low = [row["energy"]["estimate"] - row["energy"]["low"] for row in rows]
    assert trace["error_y"]["arrayminus"] == pytest.approx(low)


def test_lambda_zero_has_its_own_tick_left_of_the_others(sweep):
    axis = figures(sweep)[0].panels[0].spec["layout"]["xaxis"]
    assert axis["ticktext"] == ["0", "1e-5", "1e-4", "0.001", "0.01"]
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
    trace = figures(sweep)[2].panels[0].spec["data"][0]
    selected = [row["validation"]["selected"] for row in sweep["lambda_tables"][0]["rows"]]
    assert [symbol.endswith("-open") for symbol in trace["marker"]["symbol"]] == selected
    assert sum(selected) == 1


def test_what_cannot_be_drawn_is_left_out(make):
    def silence(record):
        if record.config["lam"]:
            record.metrics["energy_activation"] = 0.0
        return record

    study = make.study()
    drawn = figures(compute_findings(study, make.records(study, silence)))
    accuracy, energy, trade_off = (figure.panels[0].spec["data"][0] for figure in drawn)
    assert len(accuracy["x"]) == 2
    assert len(energy["x"]) == len(trade_off["x"]) == 1
    assert figures(compute_findings(study, [])) == []
