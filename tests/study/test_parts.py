from __future__ import annotations

from collections import Counter

import pytest
from real_study import study_of

from minaction.errors import InputError
from minaction.study.design import baseline_of, run_id, runs
from minaction.study.parts import Part
from minaction.study.read_study import parse_study

STUDY = study_of(seeds=5, model='["mlp", "cnn"]')
BUDGETED = parse_study(
    STUDY.to_toml().replace("lam = [0.0, 0.001]", 'lam = [0.001, "budget"]'), source="study.toml"
)


def ids(configs):
    return [run_id(config) for config in configs]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 20])
def test_every_run_is_in_one_part_and_parts_differ_by_one_run_at_most(count):
    parts = [Part(number=number, count=count).runs(STUDY) for number in range(1, count + 1)]
    assert Counter(name for part in parts for name in ids(part)) == Counter(ids(runs(STUDY)))
    sizes = {len(part) for part in parts}
    assert max(sizes) - min(sizes) <= 1


def test_a_part_keeps_the_order_of_the_crossing_and_is_the_same_whatever_that_is():
    half = Part(number=1, count=2).runs(STUDY)
    assert half == [config for config in runs(STUDY) if config in half]
    turned = study_of(seeds=5, model='["cnn", "mlp"]')
    assert sorted(ids(Part(number=1, count=2).runs(turned))) == sorted(ids(half))


def test_budget_runs_are_where_their_baseline_is():
    assert BUDGETED.run_count == 22  # 2 baselines, 10 runs with a budget, 10 without
    parts = [Part(number=number, count=4).runs(BUDGETED) for number in range(1, 5)]
    assert sorted(name for part in parts for name in ids(part)) == sorted(ids(runs(BUDGETED)))
    for part in parts:
        steered = [config for config in part if config["lam"] == "budget"]
        assert {run_id(baseline_of(config)) for config in steered} <= set(ids(part))
    assert sorted(len(part) for part in parts) == [5, 5, 6, 6]


@pytest.mark.parametrize(
    ("study", "count", "said"),
    [
        (STUDY, 21, "part 1/21: the 20 runs of digits make 20 parts at most"),
        (BUDGETED, 13, "the 22 runs of digits make 12 parts at most: budget runs need their base"),
    ],
)
def test_more_parts_than_runs_that_can_be_apart_are_refused(study, count, said):
    with pytest.raises(InputError, match=said):
        Part(number=1, count=count).runs(study)


@pytest.mark.parametrize("text", ["0/2", "3/2", "1/0", "0/0"])
def test_a_part_that_is_none_is_refused(text):
    with pytest.raises(InputError, match=f"there is no part {text} of a study; give K/N"):
        Part.of(text)


@pytest.mark.parametrize("text", ["", "1", "1/2/3", "a/b", "-1/2", "1.0/2", " 1/2", "1/2\n", "²/3"])
def test_what_is_spelt_otherwise_is_refused(text):
    with pytest.raises(
        InputError, match=r"no part of a study: .*; give K/N, such as 2/4"
    ) as caught:
        Part.of(text)
    assert str(caught.value).isprintable()


def test_a_part_is_read_and_written_alike():
    assert Part.of("2/04") == Part(number=2, count=4)
    assert str(Part.of("2/4")) == "2/4"


def test_all_runs_are_one_part():
    assert Part(number=1, count=1).runs(STUDY) == runs(STUDY)
