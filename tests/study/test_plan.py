from __future__ import annotations

import tempfile

import pytest
import torch
from real_study import study_of

from minaction.commands.plan import plan_lines
from minaction.errors import InfeasibleStudyError
from minaction.measure.environment import cpu_count
from minaction.study.design import iter_runs
from minaction.study.journal import latest_records
from minaction.study.pilot import RunCost
from minaction.study.plan import _Machine, _stacked, _Work, plan_study

STUDY = study_of(seeds=3, model='["mlp", "cnn"]', epochs=2)
HERE = min(cpu_count(), STUDY.run_count)
DIGITS = 1293  # training samples


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """A plan, what it said on the way, and the folders it could have written to."""
    here, scratch = tmp_path_factory.mktemp("here"), tmp_path_factory.mktemp("scratch")
    notes = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        patch.setattr(tempfile, "tempdir", str(scratch))
        plan = plan_study(STUDY, notes.append)
    return plan, notes, (here, scratch)


def test_a_plan_leaves_nothing_behind(planned):
    for folder in planned[2]:
        assert list(folder.iterdir()) == []


def test_a_plan_covers_every_kind_of_run(planned):
    plan, notes, _ = planned
    assert plan.runs == STUDY.run_count == sum(kind.runs for kind in plan.kinds) == 12
    assert all(kind.piloted and kind.seconds > 0 for kind in plan.kinds)
    assert {(k.kind["model"], k.kind["penalised"]) for k in plan.kinds} == {
        (model, penalised) for model in ("mlp", "cnn") for penalised in (False, True)
    }
    assert sum(note.startswith("trying mlp on digits") for note in notes) == 2
    assert plan.pilot_runs >= 12


def test_more_cores_take_more_memory_and_never_longer_than_one(planned):
    plan, *_ = planned
    assert {1, 2, 16, HERE} == {cost.cores for cost in plan.costs}
    assert max(cost.seconds for cost in plan.costs) == plan.costs[0].seconds
    memory = [cost.memory_bytes for cost in plan.costs]
    assert memory == sorted(memory)
    first, last = plan.costs[0], plan.costs[-1]
    of_a_worker = (last.memory_bytes - first.memory_bytes) / (last.cores - first.cores)
    assert 50e6 < of_a_worker < 2e9  # the driver's, here that of all tests, is in all of them
    assert [cost.measured for cost in plan.costs if cost.cores == 16] == [HERE == 16]
    assert plan.pilot_share == pytest.approx(
        plan.pilot_seconds / next(cost.seconds for cost in plan.costs if cost.cores == HERE)
    )


def test_a_plan_says_whether_stacks_pay(planned):
    """A study as short as this is not worth a trial, unless other programs make it long."""
    stacked = planned[0].stacked
    assert (stacked.gpu is None) == (not torch.cuda.is_available())
    assert stacked.sizes.keys() == stacked.step_ratios.keys()
    assert (stacked.seconds is None) == (not stacked.sizes)
    said = "stacks (--fleet auto): none"
    assert any(said in line for line in plan_lines(planned[0])) == (not stacked.sizes)


@pytest.mark.slow
def test_a_plan_predicts_what_stacks_gain():
    """Benchmarks found a factor of 2.7 in the steps of such networks."""
    plan = plan_study(study_of(seeds=40, epochs=100, train="parameters = 2000"), print)
    (ratio,) = plan.stacked.step_ratios.values()
    assert plan.stacked.sizes["mlp on digits"] > 1
    assert 0 < ratio < 0.9
    alone = next(cost.seconds for cost in plan.costs if cost.cores == cpu_count())
    assert plan.stacked.seconds < alone
    assert any("mlp on digits:" in line and "at a time" in line for line in plan_lines(plan))


COST = RunCost(
    first_seconds=0.0,
    fixed_seconds=1.0,
    step_seconds=0.5,
    validation_seconds=0.0,
    record_bytes=0.0,
    entry_bytes=0.0,
)
MACHINE = _Machine(
    here=4, once_seconds=10.0, slow_down=1.5, driver_bytes=0, worker_bytes=0, shared_bytes=0
)


@pytest.mark.parametrize("gpu", [None, "a GPU"])
@pytest.mark.parametrize("proximal", [False, True])
def test_steps_of_stacks_share_the_cores_or_follow_one_another_on_a_gpu(gpu, proximal):
    """40 runs of 80 steps, half of them penalised: half a second a step, one more a run."""
    train = "proximal = true" if proximal else ""
    energy = "unit_macs" if proximal else "activation"
    study = study_of(seeds=20, epochs=2, model=f'"mlp"\nenergy = "{energy}"', train=train)
    work = _Work(study, {"digits": DIGITS})
    found = {"stacked": {"mlp on digits": 16}, "step_ratios": {"mlp on digits": 0.25}}
    stacked = _stacked(work, dict.fromkeys(work.examples, COST), MACHINE, found, gpu)
    steps = 0.5 * 2 * (DIGITS // 32)
    in_stacks, alone = (20, 20) if proximal else (40, 0)
    stepping, others = 0.25 * in_stacks * steps, in_stacks + alone * (1 + steps)
    on_cores = others if gpu else others + stepping
    assert stacked.seconds == pytest.approx(10 + 1.5 * on_cores / 4 + (stepping if gpu else 0))
    assert (stacked.gpu, stacked.sizes) == (gpu, {"mlp on digits": 16})


def test_the_journal_has_about_the_planned_size(planned, launch, tmp_path):
    run = launch(STUDY, tmp_path / "study")
    assert run.wait()[0] == 0
    size = (tmp_path / "study" / "journal.jsonl").stat().st_size
    assert planned[0].journal_bytes == pytest.approx(size, rel=0.25)
    work = _Work(STUDY, {"digits": DIGITS})
    for record in latest_records(tmp_path / "study"):
        assert work.steps(record.config) == record.metrics["steps"]
        assert len(record.history) == 2


@pytest.mark.parametrize(
    ("train", "steps", "validations"),
    [
        ("parameters = 5000", 2 * (DIGITS // 32), 2),
        ("parameters = 5000\nvalidate_every = 10", 2 * (DIGITS // 32), 8),
    ],
)
def test_lengths_are_those_of_the_training(train, steps, validations):
    study = study_of(epochs=2, train=train)
    work = _Work(study, {"digits": DIGITS})
    assert [work.steps(config) for config in iter_runs(study)] == [steps] * 2
    assert list(work._lengths.values()) == [{(steps, validations): 1}] * 2


def test_a_machines_cores_slow_each_other_down():
    machine = _Machine(
        here=4,
        once_seconds=10.0,
        slow_down=1.3,
        driver_bytes=100,
        worker_bytes=50,
        shared_bytes=20,
    )
    one, two, four, many = (machine.cost(n, 120.0, 5.0) for n in (1, 2, 4, 64))
    assert one.seconds == pytest.approx(10 + 120)
    assert two.seconds == pytest.approx(10 + 1.1 * 60)
    assert four.seconds == pytest.approx(10 + 1.3 * 30)
    assert many.seconds == pytest.approx(10 + 1.3 * 5)  # no run takes less than the longest
    assert four.memory_bytes == 100 + 20 + 4 * 30
    assert one.core_hours == pytest.approx(130 / 3600)


def test_a_study_that_cannot_be_run_has_no_plan(tmp_path):
    with pytest.raises(InfeasibleStudyError, match="cannot meet"):
        plan_study(study_of(train="parameters = 10"), lambda text: None)
