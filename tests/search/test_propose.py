from __future__ import annotations

import pytest
from tiny_search import search_of

from minaction.search.objectives import levels_of
from minaction.search.propose import Proposer, search_space
from minaction.search.search_file import SAMPLERS
from minaction.search.space import architecture, architectures, count_candidates
from minaction.study.design import run_id
from minaction.study.journal import Record, RunStatus

OBJECTIVES = ("accuracy", "macs")


@pytest.fixture
def crossing(tmp_path):
    return search_of(tmp_path / "search.toml").crossing


def judged(config):
    """A record made up of its configuration: larger is better and dearer, lambda 10 is hopeless."""
    metrics = {"val_accuracy": config["parameters"] / 4000, "macs_dense": config["parameters"]}
    status = RunStatus.STOPPED if config["lam"] == 10 else RunStatus.OK
    return Record(run_id=run_id(config), status=status, config={**config}, metrics=metrics)


def path(crossing, sampler, evaluations, left_out=()):
    proposer = Proposer(
        crossing,
        OBJECTIVES,
        sampler,
        seed=1,
        evaluations=evaluations,
        tried_with=0,
        left_out=left_out,
    )
    return search_space(
        proposer,
        lambda configs: [judged(config) for config in configs],
        evaluations=evaluations,
        batch=4,
    )


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_each_candidate_is_tried_once_until_none_is_left(crossing, sampler):
    count = count_candidates(crossing)
    found = path(crossing, sampler, count)
    assert len({record.run_id for record in found}) == count == 2 * 3 * 2 * 3 * 2 - 3 * 2 * 3


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_same_search_again_proposes_the_same(crossing, sampler):
    first, again = path(crossing, sampler, 20), path(crossing, sampler, 20)
    assert [record.run_id for record in first] == [record.run_id for record in again]


def test_what_is_left_out_is_never_proposed(crossing):
    left_out = {key for key, one in architectures(crossing).items() if one["model"] == "gru"}
    count = count_candidates(crossing, left_out)
    assert count == 3 * 2 * 3 * 2
    found = path(crossing, "tpe", count, left_out)
    assert not left_out & {architecture(record.config) for record in found}


def test_a_model_has_no_option_that_it_does_not_take(crossing):
    for config in architectures(crossing).values():
        assert ("depth" in config) == (config["model"] == "mlp")


def test_a_candidate_without_a_place_is_none_to_any_sampler():
    record = judged({"model": "mlp", "lam": 0, "parameters": 2000})
    assert levels_of(record, OBJECTIVES) == pytest.approx((-50.0, 3.30103))
    assert levels_of(record, ("accuracy", "latency")) is None
    stopped = judged({"model": "mlp", "lam": 10, "parameters": 2000})
    assert levels_of(stopped, OBJECTIVES) is None
