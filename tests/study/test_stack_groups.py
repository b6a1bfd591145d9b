from __future__ import annotations

import pytest
from real_study import study_of

from minaction.study.design import run_id, runs
from minaction.study.stack_groups import grouped, stack_key, stackable

STUDY = study_of(seeds=3, model='["mlp", "cnn"]\nlr = [1e-3, 1e-2]')
CONFIGS = runs(STUDY)
BASE = CONFIGS[0]
SIZES = {"mlp on digits": 5}


def test_runs_of_one_stack_may_differ_in_what_leaves_the_shapes_alone():
    others = [
        {"seed": 7}, {"lam": 0.5}, {"lr": 1.0}, {"weight_decay": 0.1}, {"clip_norm": 1.0},
        {"init": "he"},
    ]  # fmt: skip
    assert {stack_key({**BASE, **other}) for other in others} == {stack_key(BASE)}


@pytest.mark.parametrize(
    "other",
    [
        {"dataset": "mnist"}, {"model": "cnn"}, {"energy": "l1"}, {"batch_size": 8},
        {"parameters": 900}, {"epochs": 9}, {"ratio": "1/2"}, {"validate_every": 3},
        {"lam": "budget"},
    ],
)  # fmt: skip
def test_all_else_makes_another_stack(other):
    assert stack_key({**BASE, **other}) != stack_key(BASE)


def test_every_run_is_in_one_group_of_one_kind_and_no_larger_than_allowed():
    groups = list(grouped(CONFIGS, SIZES, 2))
    assert sorted(run_id(c) for group in groups for c in group) == sorted(map(run_id, CONFIGS))
    for group in groups:
        assert len({stack_key(config) for config in group}) == 1
    sizes = {len(group) for group in groups if group[0]["model"] == "mlp"}
    assert sizes == {5, 2}  # 12 runs
    assert {len(group) for group in groups if group[0]["model"] == "cnn"} == {1}


@pytest.mark.parametrize(("workers", "largest"), [(1, 5), (2, 5), (3, 4), (12, 1), (50, 1)])
def test_every_worker_gets_its_share(workers, largest):
    mlps = [config for config in CONFIGS if config["model"] == "mlp"]
    assert max(len(group) for group in grouped(mlps, SIZES, workers)) == largest


def test_proximal_runs_are_never_stacked():
    configs = [{**BASE, "proximal": True, "seed": seed} for seed in range(4)]
    assert [len(group) for group in grouped(configs, SIZES, 1)] == [1] * 4
    assert stackable(configs, 1) == {}


def test_without_sizes_runs_come_one_by_one_as_they_are_drawn():
    assert list(grouped(CONFIGS, {}, 2)) == [[config] for config in CONFIGS]


@pytest.mark.parametrize(("workers", "size"), [(1, 12), (2, 6), (5, 3)])
def test_what_can_be_stacked_leaves_a_share_for_every_worker(workers, size):
    assert stackable(CONFIGS, workers) == {"mlp on digits": size, "cnn on digits": size}


def test_a_run_without_equals_cannot_be_stacked():
    assert stackable([BASE], 1) == {}
    assert stackable(CONFIGS, 100) == {}
