from __future__ import annotations

import json
import random
import resource

import pytest
import torch
from real_study import comparable, study_of, task_of
from safetensors.torch import load_file

from minaction.data.load import load_dataset
from minaction.energy.catalog import ENERGIES
from minaction.errors import InputError, ModelError, StorageError
from minaction.models.build import build_model
from minaction.study.design import run_id, runs
from minaction.study.directory import write_weights
from minaction.study.journal import Record, RunStatus
from minaction.study.run import cross_entropy, run_one, weights_of
from minaction.train.evaluate import evaluate
from minaction.train.execution import Execution

PLAIN = Execution()
CONFIG = {
    "dataset": "digits", "model": "mlp", "energy": "activation", "lam": 1e-4, "seed": 1,
    "epochs": 3, "batch_size": 32, "lr": 3e-3, "weight_decay": 0.0, "parameters": 5000,
}  # fmt: skip


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


@pytest.fixture(scope="module")
def finished(digits):
    return run_one(CONFIG, digits, PLAIN)


def test_a_run_leaves_a_complete_record(finished, digits):
    record, metrics = finished.record, finished.record.metrics
    assert record.status is RunStatus.OK
    assert record.run_id == run_id(CONFIG)
    assert record.config == CONFIG
    assert record.error is None
    assert 0.7 < metrics["test_accuracy"] <= 1
    assert metrics["steps"] == 3 * (len(digits.train) // 32)
    assert metrics["parameters"] == sum(p.numel() for p in finished.model.parameters())
    assert abs(metrics["parameters"] - 5000) <= 500
    assert {f"energy_{name}" for name in ENERGIES} <= metrics.keys()
    assert all(metrics[f"energy_{name}"] is not None for name in ENERGIES)
    assert 0 <= metrics["silent_fraction"] <= metrics["zero_fraction"] <= 1
    assert metrics["train_seconds"] > 0
    provenance = record.provenance
    assert provenance["data_sha256"] == digits.fingerprint
    assert provenance["execution"] == PLAIN.to_dict()
    assert provenance["threads"] == torch.get_num_threads()
    assert provenance["versions"]["torch"] == torch.__version__


def test_its_history_has_one_entry_an_epoch(finished):
    history = finished.record.history
    assert [entry["epoch"] for entry in history] == [1, 2, 3]
    assert all(entry["lam"] == CONFIG["lam"] for entry in history)
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    assert history[-1]["val_accuracy"] == finished.record.metrics["val_accuracy"]


def test_its_macs_are_those_of_a_training_step(finished):
    # layers of 64-w-w/2-10 units: forward, gradients of weights, and of activations but the first
    first, second, third = (p.numel() for p in finished.model.parameters() if p.ndim == 2)
    assert finished.record.metrics["train_macs_per_step"] == 32 * (2 * first + 3 * (second + third))
    assert finished.record.metrics["train_macs_reason"] is None


def test_its_costs_are_those_of_a_forward_pass_on_test_samples(finished, digits):
    metrics = finished.record.metrics
    weights = [p for p in finished.model.parameters() if p.ndim == 2]
    assert metrics["macs_dense"] == sum(weight.numel() for weight in weights)
    activations = digits.test.x[:256].flatten(1)
    effective = 0
    with torch.no_grad():
        for layer in finished.model.net[1:]:
            if isinstance(layer, torch.nn.Linear):
                effective += int(activations.count_nonzero()) * layer.out_features
            activations = layer(activations)
    assert metrics["macs_effective"] == effective / len(activations)
    assert metrics["acs_effective"] == 0
    assert metrics["weight_bytes"] == 4 * metrics["parameters"]
    assert metrics["activation_bytes"] > 0


def test_a_run_of_steps_with_its_own_validations(digits):
    config = {key: value for key, value in CONFIG.items() if key != "epochs"}
    record = run_one(config | {"steps": 50, "validate_every": 20}, digits, PLAIN).record
    assert record.metrics["steps"] == 50
    assert [(e["step"], e["epoch"]) for e in record.history] == [(20, 1), (40, 1), (50, 2)]


def test_layers_add_up_to_the_total(finished):
    metrics, layers = finished.record.metrics, finished.record.layers
    for name in ("activation", "l1", "synaptic"):
        total = sum(layer.get(f"energy_{name}", 0.0) for layer in layers.values())
        assert total == pytest.approx(metrics[f"energy_{name}"])


def test_the_record_survives_its_line(finished):
    line = finished.record.to_line()
    assert Record.from_line(line) == finished.record
    json.loads(line, parse_constant=lambda token: pytest.fail(token))


def test_the_same_configuration_gives_the_same_record_whatever_the_global_random_state(
    finished, digits
):
    torch.manual_seed(987654)
    random.seed(3)
    again = run_one(CONFIG, digits, PLAIN)
    assert comparable(again.record) == comparable(finished.record)


@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_the_global_random_state_is_left_alone(digits, model):
    torch.manual_seed(11)
    before, python = torch.get_rng_state(), random.getstate()
    run_one(CONFIG | {"model": model, "epochs": 1}, digits, PLAIN)
    assert torch.equal(torch.get_rng_state(), before)
    assert random.getstate() == python


def test_a_run_builds_its_model_as_its_configuration_says(finished, digits):
    config = CONFIG | {"init": "he", "ratio": "1/4", "epochs": 1}
    other = run_one(config, digits, PLAIN)
    assert other.record.config == config
    widths = [w.shape[0] for w in other.model.parameters() if w.ndim == 2]
    assert widths[1] == widths[0] // 4
    plain = build_model("mlp", digits.spec, parameters=5000, seed=1, init="pytorch", ratio="1/4")
    started = build_model("mlp", digits.spec, parameters=5000, seed=1, init="he", ratio="1/4")
    distance = [
        sum((a - b).norm() for a, b in zip(m.parameters(), other.model.parameters(), strict=True))
        for m in (plain, started)
    ]
    assert distance[1] < distance[0]


def test_another_seed_gives_another_record(finished, digits):
    other = run_one(CONFIG | {"seed": 2}, digits, PLAIN).record
    assert other.run_id != finished.record.run_id
    assert other.history != finished.record.history


def test_the_order_of_runs_changes_no_record(tasks):
    configs = runs(study_of(seeds=2, model='["mlp", "cnn"]'))
    shuffled = random.Random(5).sample(configs, len(configs))
    assert shuffled != configs

    def done(order):
        records = [Record.from_line(json.dumps(tasks.do(task_of(c))["record"])) for c in order]
        return sorted((comparable(r) for r in records), key=lambda r: r["run_id"])

    assert done(configs) == done(shuffled)


def test_a_run_whose_loss_explodes_diverged(digits):
    record = run_one(CONFIG | {"lr": 1e15}, digits, PLAIN).record
    assert record.status is RunStatus.DIVERGED
    assert record.metrics.keys() == {
        "parameters", "steps", "train_seconds", "train_macs_per_step", "train_macs_reason",
    }  # fmt: skip
    assert len(record.history) <= CONFIG["epochs"]
    assert Record.from_line(record.to_line()).status is RunStatus.DIVERGED


@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_a_network_that_lambda_kills_collapsed(digits, model):
    record = run_one(CONFIG | {"model": model, "lam": 1e3, "lr": 0.03}, digits, PLAIN).record
    assert record.status is RunStatus.COLLAPSED
    assert record.metrics["val_accuracy"] < 0.2
    assert record.metrics["energy_activation"] < 1e-2


def test_without_training_to_speak_of_nothing_is_called_learned(digits):
    record = run_one(CONFIG | {"lr": 1e-12, "epochs": 1}, digits, PLAIN).record
    assert record.status is RunStatus.COLLAPSED


def test_a_configuration_that_does_not_fit_is_an_error(digits):
    with pytest.raises(ModelError, match="budget of 10 parameters"):
        run_one(CONFIG | {"parameters": 10}, digits, PLAIN)
    with pytest.raises(InputError, match="batch_size is 5000"):
        run_one(CONFIG | {"batch_size": 5000}, digits, PLAIN)


@pytest.mark.parametrize("model", ["mlp", "cnn"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_saved_weights_are_the_network_that_was_measured(digits, tmp_path, model, channels_last):
    execution = Execution(channels_last=channels_last)
    config = CONFIG | {"model": model, "epochs": 1}
    finished = run_one(config, digits, execution)
    path = tmp_path / "models" / "run.safetensors"
    write_weights(weights_of(finished.model), path)
    assert [p.name for p in path.parent.iterdir()] == ["run.safetensors"]
    rebuilt = build_model(model, digits.spec, parameters=5000, seed=99)
    execution.prepare(rebuilt)
    rebuilt.load_state_dict(load_file(path))
    measured = evaluate(rebuilt, digits.test, cross_entropy)
    assert measured.accuracy == finished.record.metrics["test_accuracy"]
    assert measured.loss == finished.record.metrics["test_loss"]


def test_weights_the_disk_refuses_leave_the_old_ones(finished, tmp_path):
    path = tmp_path / "models" / "run.safetensors"
    write_weights(weights_of(finished.model), path)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(StorageError, match=r"run\.safetensors: .*File too large.*same command"):
            write_weights(weights_of(finished.model), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [p.name for p in path.parent.iterdir()] == ["run.safetensors"]
    assert path.read_bytes() == before


def test_weights_cannot_go_into_a_file(finished, tmp_path):
    (tmp_path / "models").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        write_weights(weights_of(finished.model), tmp_path / "models" / "run.safetensors")


@pytest.mark.parametrize("lam", [3.0, "budget"])
def test_proximal_runs_lose_units_for_good(digits, lam):
    config = CONFIG | {"energy": "unit_macs", "lam": lam, "epochs": 6, "proximal": True}
    baseline = None
    if lam == "budget":
        config |= {"margin": 0.2, "aim": 1.0, "lr": 0.01, "validate_every": 10}
        baseline = {"run_id": "0", "status": RunStatus.OK, "steps": [10], "accuracies": [0.8]}
    finished = run_one(config, digits, PLAIN, baseline)
    assert finished.record.status is RunStatus.OK
    first, second = finished.model.net[1], finished.model.net[3]
    rows = torch.cat([first.weight, first.bias[:, None]], 1)
    dead = ~rows.any(1)
    assert 0 < dead.sum() < len(dead)
    assert torch.equal(dead, ~second.weight.any(0))
    assert finished.record.metrics["silent_fraction"] > 0
    lams = [entry["lam"] for entry in finished.record.history]
    assert lams == [3.0] * 6 if lam == 3.0 else lams[0] == 0 and 1 < max(lams) <= 4
