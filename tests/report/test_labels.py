from __future__ import annotations

import itertools

import numpy as np
import pytest

from minaction.report.figures import figures
from minaction.report.labels import (
    MARGINS,
    PLACES,
    PLOTS,
    label_box,
    marker_radii,
    overlap,
    place_labels,
    scene,
)
from minaction.report.tables import compute_findings


def path(points, texts=None, mode="lines+markers+text", bar=None):
    """A trace as the trade-off figure draws it: x an energy, y an accuracy in percent."""
    bars = {"array": [bar] * len(points), "arrayminus": [bar] * len(points)}
    return {
        "mode": mode,
        "x": [x for x, _ in points],
        "y": [y for _, y in points],
        "error_x": bars,
        "error_y": bars,
        "text": texts or ["1e-3"] * len(points),
        "marker": {"size": 8},
    }


def boxes(traces, places, x_range, y_range, size):
    """Where the labels are that have a place."""
    one = scene(traces, x_range, y_range, size)
    texts = [text for trace in traces for text in trace["text"]]
    radii = [radius for trace in traces for radius in marker_radii(trace)]
    at = [place for places_of in places for place in places_of]
    return [
        label_box(centre, text, radius, place)
        for centre, text, radius, place in zip(one.centres, texts, radii, at, strict=True)
        if place
    ]


def assert_apart(traces, places, x_range, y_range):
    for size in PLOTS:
        drawn = boxes(traces, places, x_range, y_range, size)
        assert not [pair for pair in itertools.combinations(drawn, 2) if overlap(*pair)]


def test_a_point_alone_has_its_label_at_the_first_place():
    assert place_labels([path([(100, 95)])], [1, 3], [90, 100]) == [[PLACES[0]]]


@pytest.mark.parametrize(("end", "free"), [(99, "top left"), (91, "top right")])
def test_a_label_keeps_off_the_line_through_its_point(end, free):
    places = place_labels([path([(10, 190 - end), (100, 95), (1000, end)])], [0.5, 3.5], [88, 102])
    assert places[0][1] == free


def test_a_label_keeps_within_the_axes():
    traces = [path([(10, 100), (1000, 90)])]
    places = place_labels(traces, [1, 3], [90, 100])
    for width, height in PLOTS:
        for left, right, top, bottom in boxes(traces, places, [1, 3], [90, 100], (width, height)):
            assert left >= -MARGINS[0]
            assert right <= width + MARGINS[1]
            assert top >= -MARGINS[2]
            assert bottom <= height + MARGINS[3]


def test_labels_of_close_points_do_not_meet_at_any_width():
    close = path([(100, 95), (105, 95.1), (110, 95.05), (120, 95.2), (126, 95)], bar=0.2)
    places = place_labels([close], [1, 3], [90, 100])
    assert_apart([close], places, [1, 3], [90, 100])
    assert sum(place is not None for place in places[0]) >= 4


def test_labels_without_room_are_left_out():
    crowd = path([(100, 95)] * 30)
    places = place_labels([crowd], [1, 3], [90, 100])
    assert_apart([crowd], places, [1, 3], [90, 100])
    assert 4 <= sum(place is not None for place in places[0]) < 30


def test_bars_that_reach_zero_run_to_the_edge():
    low = path([(10, 95)], bar=20)
    ink = scene([low], [0, 2], [0, 100], (200.0, 100.0)).ink
    assert np.isclose(ink[:, 0].min(), 0)


@pytest.mark.parametrize("seeds", [1, 3, 10])
def test_labels_of_the_trade_off_figure_are_apart(make, seeds):
    study = make.study(make.sweep, seeds=seeds)
    (figure,) = (
        one
        for one in figures(compute_findings(study, make.records(study)))
        if one.id == "trade-off"
    )
    shown = 0
    for panel in figure.panels:
        traces, layout = panel.spec["data"], panel.spec["layout"]
        places = [
            [
                place if text else None
                for text, place in zip(t["text"], t["textposition"], strict=True)
            ]
            for t in traces
        ]
        ranges = layout["xaxis"]["range"], layout["yaxis"]["range"]
        assert_apart(traces, places, *ranges)
        shown += sum(place is not None for of in places for place in of)
        assert all(len(t["customdata"]) == len(t["x"]) for t in traces)
    assert shown >= 0.9 * sum(len(t["x"]) for p in figure.panels for t in p.spec["data"])


def test_the_axes_hold_every_point_and_bar(make):
    study = make.study(make.budgeted, seeds=3)
    found = figures(compute_findings(study, make.records(study)))
    (drawn,) = (figure for figure in found if figure.id == "trade-off")
    for panel in drawn.panels:
        (x_low, x_high), (y_low, y_high) = (
            panel.spec["layout"][axis]["range"] for axis in ("xaxis", "yaxis")
        )
        for trace in panel.spec["data"]:
            for x, y, arm in zip(trace["x"], trace["y"], trace["error_y"]["array"], strict=True):
                assert x_low < np.log10(x) < x_high
                assert y_low < y < y + arm < y_high
