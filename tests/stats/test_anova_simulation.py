"""What the tests and intervals promise, over 2,000 simulated experiments each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from minaction.stats.anova import effect_row
from minaction.stats.factorial_data import read_factorial
from minaction.stats.heteroscedastic import hc3_covariance
from minaction.stats.linear_model import fit_factorial
from minaction.stats.permutation import permutation_p
from minaction.stats.posthoc import games_howell
from minaction.stats.sums_of_squares import hypothesis

RUNS = 2000


def simulate(counts, means, deviations, seed, columns, ss_type=3):
    """Return columns of the tables of 2 x 3 experiments, [runs, effects, columns].

    Each is fitted and tested as by `factorial_anova`, only its table is never made.
    """
    generator = np.random.default_rng(seed)
    cell = np.repeat(np.arange(6), counts)
    means, deviations = np.asarray(means)[cell], np.asarray(deviations)[cell]
    frame = pd.DataFrame({"a": cell // 3, "b": cell % 3, "y": cell})
    data = read_factorial(frame, "y", ["a", "b"])
    tables = []
    for _ in range(RUNS):
        model = fit_factorial(replace(data, y=generator.normal(means, deviations)))
        hc3 = hc3_covariance(model)
        rows = [
            effect_row(model, hypothesis(model, term, ss_type), hc3, 0.95, "effectsize")
            for term in model.terms
        ]
        tables.append([[row[column] for column in columns] for row in rows])
    return np.array(tables)


@pytest.mark.slow
@pytest.mark.parametrize("ss_type", [2, 3])
def test_an_effect_that_is_not_there_is_found_in_five_percent(ss_type):
    p = simulate([4, 9, 6, 12, 5, 7], np.zeros(6), np.ones(6), 1, ["p"], ss_type=ss_type)
    rejected = (p[:, :, 0] < 0.05).mean(0)
    assert ((rejected >= 0.04) & (rejected <= 0.06)).all(), rejected


@pytest.mark.slow
@pytest.mark.parametrize("ss_type", [2, 3])
def test_cells_of_unequal_variance_mislead_the_ordinary_test_but_not_hc3(ss_type):
    p = simulate(
        *([40, 35, 30, 20, 15, 12], np.zeros(6), [1, 1, 1.5, 2, 3, 4], 2, ["p", "p_hc3"]),
        ss_type=ss_type,
    )
    ordinary, robust = (p < 0.05).mean(0).T
    assert ordinary.max() > 0.15, ordinary
    assert ((robust >= 0.04) & (robust <= 0.06)).all(), robust


@pytest.mark.slow
def test_intervals_cover_what_they_estimate_in_95_percent():
    means, n = np.array([0.0, 0.3, 0.8, 0.4, 1.3, 0.7]), 10
    columns = ["partial_eta_sq_low", "partial_eta_sq_high", "omega_sq_low", "omega_sq_high"]
    limits = simulate([n] * 6, means, np.ones(6), 3, columns)
    grid = means.reshape(2, 3) - means.mean()
    a, b = grid.mean(1, keepdims=True), grid.mean(0, keepdims=True)
    effects = np.stack([np.broadcast_to(part, (2, 3)) for part in (a, b, grid - a - b)])
    nc = n * (effects**2).sum((1, 2))
    eta, omega = nc / (nc + 54), nc / (nc + 60)
    eta_low, eta_high, omega_low, omega_high = limits.transpose(2, 0, 1)
    for low, high, truth in ((eta_low, eta_high, eta), (omega_low, omega_high, omega)):
        covered = ((low <= truth) & (truth <= high)).mean(0)
        assert ((covered >= 0.93) & (covered <= 0.97)).all(), covered


@pytest.mark.slow
@pytest.mark.parametrize(
    ("draw", "least"),
    [("standard_normal", 0.04), ("standard_cauchy", 0.0)],
    ids=["normal errors", "errors without a variance"],
)
def test_permutation_keeps_its_level(draw, least):
    generator = np.random.default_rng(4)
    cell = np.repeat(np.arange(4), [3, 4, 5, 4])
    frame = pd.DataFrame({"a": cell // 2, "b": cell % 2, "y": cell})
    data = read_factorial(frame, "y", ["a", "b"])
    p = []
    for _ in range(RUNS):
        data = replace(data, y=getattr(generator, draw)(cell.size))
        model = fit_factorial(data)
        directions = [hypothesis(model, term, 3) for term in model.terms]
        p.append(permutation_p(model, data, directions, 99, generator))
    rejected = (np.array(p) <= 0.05).mean(0)
    assert ((rejected >= least) & (rejected <= 0.06)).all(), rejected


@pytest.mark.slow
def test_games_howell_keeps_the_level_of_all_pairs_together():
    generator = np.random.default_rng(5)
    group = np.repeat(np.arange(4), [6, 10, 14, 20])
    deviations = np.array([4.0, 2.0, 1.0, 1.0])[group]
    frame = pd.DataFrame({"g": group})
    found = []
    for _ in range(500):
        frame["y"] = generator.normal(0, deviations)
        found.append(games_howell(frame, "y", ["g"])["p"].min() < 0.05)
    # 500 runs: 5 % give or take two standard errors of 1 %
    assert 0.03 <= np.mean(found) <= 0.07, np.mean(found)
