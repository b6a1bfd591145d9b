"""Proxy fidelity: what is planted is found, what has no number has a reason."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace

import pytest
import scipy.stats

from minaction.report.analysis.analyse import analyse, compute_analysis
from minaction.report.analysis.proxies import deviations, proxy_fidelity
from minaction.report.analysis.proxy_frame import measured_frame
from minaction.report.analysis.proxy_text import cost_rows
from minaction.report.analysis.text import analysis_text
from minaction.report.build import write_report
from minaction.report.verify import verify_report
from minaction.study.design import runs
from minaction.study.measurements import Measurement, MeasurementFile

STUDY = """
[study]
name = "proxies"
seeds = {seeds}
[factors]
dataset = "digits"
model = ["mlp", "cnn"]
lam = [0, 1e-4, 1e-2]
parameters = [10_000, 30_000, 90_000]
"""
SETTING = {"device": "a processor", "seconds": "CPU time of one thread", "torch": "2.13.0"}
SAVED = {0: 1.0, 1e-4: 0.9, 1e-2: 0.25}
"""What compaction leaves of the seconds, by lambda."""


def measured(record, rounds=3):
    """Seconds that go with the MACs, whatever the energy; lambda saves what compaction removes."""
    config, rng = record.config, random.Random(record.run_id)
    macs = config["parameters"] * {"mlp": 1.0, "cnn": 20.0}[config["model"]]
    noise = math.exp(0.02 * rng.gauss(0, 1))

    def costs(share):
        seconds = 1e-9 * macs * share * noise
        counts = {"macs_dense": macs * share, "macs_effective": macs * share / 2}
        counts |= {"bytes_moved": macs, "parameters": config["parameters"]}
        return {"inference_seconds": seconds, "training_seconds": 3 * seconds, **counts}

    return [
        Measurement(
            run_id=record.run_id,
            round=turn,
            before=costs(1.0),
            after=costs(SAVED[config["lam"]]) if config["lam"] else None,
            units_removed=5 if config["lam"] else 0,
            no_joules="there is no meter",
            setting=SETTING,
            conditions={"others_cpus": 0.5},
        )
        for turn in range(rounds)
    ]


@pytest.fixture(scope="module")
def planted(make_once):
    study = make_once.study(STUDY, seeds=3)
    records = make_once.records(study)
    return study, records, [one for record in records for one in measured(record)]


@pytest.fixture(scope="module")
def found(planted):
    _, records, measurements = planted
    return proxy_fidelity(records, measurements)


def scope(found, stage, name, quantity="inference_seconds"):
    (cost,) = (c for c in found["costs"] if (c["quantity"], c["stage"]) == (quantity, stage))
    (one,) = (s for s in cost["scopes"] if s["scope"] == name)
    return {row["proxy"]: row for row in one["proxies"]}


def test_the_proxy_that_makes_the_cost_is_found_and_the_energy_is_not(found):
    rows = scope(found, "before", "all networks")
    assert rows["macs_dense"]["spearman"]["low"] > 0.85
    assert rows["macs_dense"]["r_squared"]["estimate"] > 0.99
    assert abs(rows["energy_activation"]["spearman"]["estimate"]) < 0.3
    assert any("to be trusted dense MACs" in sentence for sentence in found["verdict"])
    assert found["networks"] == 54
    assert found["rounds"] == 3


def test_one_size_of_two_architectures_gives_estimates_and_no_interval(planted):
    """Each is one group of networks that cost the same: two groups say nothing of a third."""
    _, records, measurements = planted
    small = {r.run_id for r in records if r.config["parameters"] == 10_000}
    found = proxy_fidelity(records, [one for one in measurements if one.run_id in small])
    for name in ("all networks", "same data set, architecture and size"):
        for row in scope(found, "after", name).values():
            assert row["spearman"]["low"] is None
    assert scope(found, "after", "all networks")["macs_dense"]["spearman"]["estimate"] > 0.8
    assert "undecided, there are too few cases for an interval" in found["verdict"][0]
    assert "trusted" not in found["verdict"][0]


def test_where_only_lambda_differs_the_energy_tells_costs_after_compaction_alone(found):
    alike = "same data set, architecture and size"
    assert scope(found, "after", alike)["energy_activation"]["spearman"]["low"] > 0.7
    before = scope(found, "before", alike)["energy_activation"]["spearman"]
    assert before["low"] < 0.3
    reason = scope(found, "before", alike)["macs_dense"]["spearman"]["reason"]
    assert reason == "no difference between networks of one data set, model and size"


def test_what_a_lower_energy_bought_is_the_ratio_that_was_planted(found):
    everything, *models = found["bought"]
    assert [row["scope"] for row in models] == ["cnn", "mlp"]
    assert everything["energy"]["n"] == 18
    seconds = everything["quantities"][0]
    assert seconds["before"]["estimate"] == pytest.approx(1.0, abs=0.03)
    assert seconds["after"]["estimate"] == pytest.approx(0.25, rel=0.03)
    assert seconds["after"]["low"] < 0.25 * 1.03
    assert 1 / everything["energy"]["estimate"] > 100


def test_what_has_no_number_has_a_reason_and_nothing_is_nan(planted):
    _, records, measurements = planted
    spoilt = [
        replace(
            record,
            metrics=record.metrics
            | {"energy_l1": 7.0, "energy_gauge_fixed": None, "zero_fraction": 1.0},
        )
        for record in records
    ]
    rows = scope(found := proxy_fidelity(spoilt, measurements), "before", "all networks")
    json.dumps(found, allow_nan=False)
    assert rows["energy_l1"]["spearman"]["reason"] == "no difference between networks"
    assert rows["energy_gauge_fixed"]["spearman"]["reason"] == "known of 0 networks only"
    assert rows["operations_effective"]["r_squared"]["estimate"] is None
    assert found["missing"] == ["no joules: there is no meter"]
    for cost in found["costs"]:
        for one in cost["scopes"]:
            for row in one["proxies"]:
                for part in ("spearman", "r_squared"):
                    assert (row[part]["estimate"] is None) == bool(row[part]["reason"])


def test_a_zero_has_a_rank_and_no_logarithm(planted):
    _, records, measurements = planted
    first = records[0].run_id
    zeroed = [
        replace(r, metrics=r.metrics | {"energy_l1": 0.0}) if r.run_id == first else r
        for r in records
    ]
    row = scope(proxy_fidelity(zeroed, measurements), "before", "all networks")["energy_l1"]
    assert row["spearman"]["estimate"] is not None
    assert row["r_squared"]["reason"] == "0 or less in some networks, which has no logarithm"


def test_equal_counts_are_ties_where_only_lambda_differs(planted):
    """Their logarithms differ from the mean of theirs by rounding, which ranks nothing."""
    _, records, measurements = planted
    sizes = {r.run_id: r.config["parameters"] for r in records}
    lambdas = {r.run_id: r.config["lam"] for r in records}
    pruned = [  # of one size lambda takes something out, of the others nothing
        replace(one, before=one.before | {"macs_dense": 1e5 * (3 - (lambdas[one.run_id] > 0))})
        if sizes[one.run_id] == 10_000
        else replace(one, before=one.before | {"macs_dense": math.pi * sizes[one.run_id]})
        for one in measurements
    ]
    alike = "same data set, architecture and size"
    rho = scope(proxy_fidelity(records, pruned), "before", alike)["macs_dense"]["spearman"]
    frame = measured_frame(records, pruned)
    frame = frame.loc[frame["stage"] == "before", :]
    exact = [round(x, 9) for x in deviations(frame, "macs_dense")]
    assert sum(x == 0 for x in exact) == 36
    expected = scipy.stats.spearmanr(exact, deviations(frame, "inference_seconds")).statistic
    assert rho["estimate"] == pytest.approx(expected, abs=1e-9)


def test_networks_of_several_energies_are_one_case(planted):
    """What a network is trained with does not change what it costs."""
    _, records, measurements = planted
    frame = measured_frame(records, measurements)
    other = [replace(r, config=r.config | {"energy": "l1", "lr": 0.1}) for r in records]
    assert list(measured_frame(other, measurements)["network"]) == list(frame["network"])
    assert set(measured_frame(other, measurements)["cell"]).isdisjoint(frame["cell"])
    assert frame["network"].nunique() == 6


def test_networks_of_other_depths_and_kernels_are_other_cases(planted):
    _, records, measurements = planted
    shapes = ({"depth": 1}, {"depth": 2}, {"depth": 2, "kernel": 5})
    other = [replace(r, config=r.config | shapes[r.config["seed"]]) for r in records]
    assert measured_frame(other, measurements)["network"].nunique() == 3 * 6


def test_a_proxy_that_few_networks_have_says_of_how_many(planted):
    _, records, measurements = planted
    uncovered = [
        replace(r, metrics=r.metrics | {"energy_gauge_fixed": None})
        if r.config["model"] == "cnn"
        else r
        for r in records
    ]
    found = proxy_fidelity(uncovered, measurements)
    assert "gauge-fixed energy" in found["verdict"][0]
    assert "(n = 27)" in found["verdict"][0].split("gauge-fixed energy")[1].split(";")[0]
    (cost, *_) = found["costs"]
    row = next(row for row in cost_rows(cost) if row[0] == "gauge-fixed energy")
    assert row[1].endswith("(n = 27)")
    assert "(n" not in next(row for row in cost_rows(cost) if row[0] == "dense MACs")[1]


def test_networks_without_joules_are_counted_where_others_have_some(planted):
    _, records, measurements = planted
    lucky = {record.run_id for record in records[:50]}
    some = [
        replace(one, before=one.before | {"inference_joules": 1e-3}, no_joules=None)
        if one.run_id in lucky
        else one
        for one in measurements
    ]
    found = proxy_fidelity(records, some)
    assert found["missing"] == ["no joules of 4 networks: there is no meter"]


def test_networks_that_could_not_be_compacted_are_counted_and_left_out_after(planted):
    _, records, measurements = planted
    kinds = {record.run_id: record.config["model"] for record in records}
    refused = [
        replace(one, after=None, units_removed=None, no_compaction="it cannot be traced")
        if kinds[one.run_id] == "cnn"
        else one
        for one in measurements
    ]
    found = proxy_fidelity(records, refused)
    assert found["missing"][0] == "cnn: 27 networks not compacted: it cannot be traced"
    after = next(cost for cost in found["costs"] if cost["stage"] == "after")
    assert [(one["scope"], one["n"]) for one in after["scopes"][:2]] == [
        ("all networks", 27),
        ("mlp", 27),
    ]
    cnn = next(row for row in found["bought"] if row["scope"] == "cnn")
    assert cnn["quantities"][0]["after"]["reason"]


def test_runs_that_are_not_ok_and_strangers_are_left_out_and_said_to_be(planted, make):
    _, records, measurements = planted
    failed = {record.run_id for record in records[:4]}
    ended = [make.ended(r, "collapsed") if r.run_id in failed else r for r in records]
    strangers = [replace(one, run_id="stranger") for one in measurements[:3]]
    shuffled = random.Random(1).sample(measurements + strangers, len(measurements) + 3)
    expected = proxy_fidelity(
        [r for r in records if r.run_id not in failed],
        [one for one in measurements if one.run_id not in failed],
    )
    found = proxy_fidelity(ended, shuffled)
    assert found.pop("missing") == [
        *expected.pop("missing"),
        "left out: measurements of 5 runs that are no ok runs of this study",
    ]
    assert found == expected


def test_records_of_before_there_was_a_gauge_say_so(planted, make):
    _, records, measurements = planted
    found = proxy_fidelity([make.old(record) for record in records], measurements)
    row = scope(found, "before", "all networks")["energy_gauge_fixed"]
    assert row["spearman"]["reason"] == "known of 0 networks only"


def test_few_networks_say_nothing(planted):
    _, records, measurements = planted
    few = "2 networks of ok runs are measured, fewer than 5"
    assert proxy_fidelity(records, measurements[:6]) == {"reason": few}
    strangers = [replace(one, run_id="stranger") for one in measurements[:3]]
    found = proxy_fidelity(records, measurements[:6] + strangers)
    assert found == {
        "reason": f"{few}; left out: measurements of 1 runs that are no ok runs of this study"
    }


def test_architectures_of_few_networks_are_undecided(planted):
    _, records, measurements = planted
    first = {r.run_id for r in records if (r.config["seed"], r.config["parameters"]) == (0, 10_000)}
    found = proxy_fidelity(records, [one for one in measurements if one.run_id in first])
    assert "no architecture has enough networks for an interval" in found["verdict"][1]


@pytest.mark.parametrize("value", [math.nan, math.inf, 10**400, True, "many"])
def test_conditions_that_are_no_numbers_are_not_shown(planted, value):
    _, records, measurements = planted
    spoilt = [replace(one, conditions={"others_cpus": value}) for one in measurements[:18]]
    assert proxy_fidelity(records, spoilt)["conditions"]["others_cpus"] is None


def test_the_command_the_page_and_verify_say_the_same(planted, make):
    study, *_ = planted
    records = [record for record in planted[1] if record.config["seed"] == 0]
    measurements = [one for record in records for one in measured(record)]
    directory = make.write(study, records)
    before = analyse(directory)
    assert "proxies" not in before
    with MeasurementFile(directory, SETTING) as file:
        for one in measurements:
            file.append(one)
    found = analyse(directory)
    assert found == compute_analysis(study, records, measurements)
    assert {name: found[name] for name in before} == before
    text = analysis_text(found)
    assert all(len(line) <= 130 for line in text)
    assert "Measured costs, and what tells them" in text
    write_report(directory)
    assert verify_report(directory).differences == []
    page = (directory / "report.html").read_text()
    assert "What the energies predict" in page
    with MeasurementFile(directory, SETTING) as file:
        for one in measurements[:3]:  # the last of a run and round counts
            file.append(replace(one, before={**one.before, "macs_dense": 1.0}))
    assert verify_report(directory).differences


def test_a_study_without_measurements_says_nothing_of_them(planted):
    study, records, _ = planted
    assert len(list(runs(study))) == len(records)
    assert not [
        line for line in analysis_text(compute_analysis(study, records)) if "joules" in line
    ]
