"""One run of a study: from its configuration to its record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from minaction.data.dataset import Dataset, Split
from minaction.energy.build import build_energy
from minaction.energy.catalog import ENERGIES
from minaction.energy.functionals import Energy
from minaction.errors import InputError
from minaction.measure.environment import code_version, cpu_name, versions
from minaction.measure.flops import count_macs
from minaction.measure.mac_count import MacCount
from minaction.models.build import build_model
from minaction.models.sizing import count_parameters
from minaction.objective.objective import EnergyObjective
from minaction.study.design import RunConfig, model_options, run_id
from minaction.study.record import Record, RunStatus
from minaction.study.study_file import BUDGET
from minaction.study.trial import Trial, inference_seconds
from minaction.train.evaluate import (
    Evaluation,
    judge,
    learned,
    measure_energies,
    measure_gauge_fixed,
)
from minaction.train.execution import Execution
from minaction.train.logbook import Training
from minaction.train.loop import TrainConfig, train
from minaction.train.steering import AccuracySteering, AccuracyTarget

if TYPE_CHECKING:
    from minaction.train.proximal import ProximalUnits

ORDER_STREAM = 1 << 32  # keeps the seeds of data orders apart from those of initial weights
WIRING_SAMPLES = 2
MACS_SAMPLES = 256  # of the test split: effective MACs depend on the activations


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """A record and the network it is about."""

    record: Record
    model: nn.Module


def run_one(
    config: RunConfig,
    dataset: Dataset,
    execution: Execution,
    baseline: Mapping[str, Any] | None = None,
    trial: Trial | None = None,
) -> FinishedRun:
    """Build, train and evaluate one network.

    The test split is read once, at the end, and not at all in a trial. The record's provenance says
    what the run can know itself; whoever dispatched it adds the rest.

    Args:
        config: What to run.
        dataset: Its data.
        execution: How the arithmetic is done.
        baseline: Where lambda is a budget: run_id, status, steps and validation accuracies of the
            run it is compared with.
        trial: Where the run is a candidate of a search: how it is tried.

    Raises:
        MinActionError: The configuration does not fit the data, or the baseline did not end well.
    """
    run = prepare_run(config, dataset, baseline)
    hyperparameters = train_config(config)
    steps = hyperparameters.total_steps(len(dataset.train))
    training = train(
        run.model,
        dataset,
        run.objective,
        hyperparameters,
        execution,
        proximal=run.proximal,
        after_validation=run.after_validation,
        hopeless=trial.hopeless(dataset.validation, steps) if trial else None,
    )
    return finish_run(run, training, dataset, execution, trial)


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedRun:
    """A run before its training.

    Attributes:
        config: What is run.
        started: When it was prepared.
        model: Its network.
        energies: All energies, to be measured in the end.
        macs: Multiply-accumulates of a sample in training.
        objective: Task loss, energy and lambda rule.
        proximal: What lambda acts through if not the loss.
        steering: What finds lambda, where it is a budget.
        baseline: Id of the run that a budget is compared with.
    """

    config: RunConfig
    started: datetime
    model: nn.Module
    energies: Mapping[str, Energy]
    macs: MacCount
    objective: EnergyObjective
    proximal: ProximalUnits | None
    steering: AccuracySteering | None
    baseline: str | None

    @property
    def after_validation(self) -> list[AccuracySteering]:
        """What is to be told of every validation."""
        return [] if self.steering is None else [self.steering]


def prepare_run(
    config: RunConfig,
    dataset: Dataset,
    baseline: Mapping[str, Any] | None = None,
    like: PreparedRun | None = None,
) -> PreparedRun:
    """Build a run's network and what trains it; for arguments and errors see `run_one`.

    Args:
        config: What to run.
        dataset: Its data.
        baseline: For a budget.
        like: A run of the same architecture, energy and data, whose energies and MACs are this
            one's as well.
    """
    started = datetime.now(UTC)
    model = build_model(
        config["model"],
        dataset.spec,
        parameters=config["parameters"],
        seed=config["seed"],
        **model_options(config),
    )
    sample = dataset.train.x[:WIRING_SAMPLES]
    if like is None:
        energies = {name: build_energy(name, model, sample) for name in ENERGIES}
        macs = count_macs(model, sample)
    else:
        energies, macs = like.energies, like.macs
    proximal = _proximal_units(config, model, sample)
    steering = None
    if config["lam"] == BUDGET:
        steering = _steering(config, dataset, baseline, proximal=proximal is not None)
    lam = config["lam"] if steering is None else steering.budget
    return PreparedRun(
        config=config,
        started=started,
        model=model,
        energies=energies,
        macs=macs,
        objective=EnergyObjective(cross_entropy, energies[config["energy"]], lam),  # pyright: ignore[reportArgumentType]
        proximal=proximal,
        steering=steering,
        baseline=baseline["run_id"] if baseline else None,
    )


def finish_run(
    run: PreparedRun,
    training: Training,
    dataset: Dataset,
    execution: Execution,
    trial: Trial | None = None,
) -> FinishedRun:
    """Measure a trained network, in a trial on the validation split, and write the record.

    `shadow_price` of a budget run is the geometric mean of lambda over the last fifth of the
    training, `lam_final` its last value.

    Args:
        run: Its model has been trained.
        training: How.
        dataset: Its data.
        execution: How the arithmetic was done.
        trial: Where the run is a candidate of a search: how it is tried.
    """
    config, model = run.config, run.model
    split = dataset.validation if trial else dataset.test
    metrics: dict[str, Any] = {
        "train_macs_per_step": _per_step(run.macs, config["batch_size"]),
        "train_macs_reason": run.macs.reason,
        "parameters": count_parameters(model),
        "steps": training.steps,
        "train_seconds": training.train_seconds,
    }
    if run.steering is not None:
        metrics["shadow_price"] = run.steering.multiplier
        metrics["lam_final"] = training.history[-1]["lam"]
    layers: dict[str, Any] = {}
    status = RunStatus.DIVERGED
    validation = training.validation
    if training.stopped:
        assert validation is not None
        status = RunStatus.STOPPED
        metrics |= _validation_metrics(training, validation, dataset.validation)
    elif not training.diverged:
        assert validation is not None  # of the last epoch
        measured = measure_energies(model, split, run.energies)
        status = RunStatus.OK if learned(validation, dataset.validation) else RunStatus.COLLAPSED
        metrics |= _validation_metrics(training, validation, dataset.validation)
        if trial is None:
            metrics |= _test_metrics(judge(measured.outputs, split.y, cross_entropy), split)
        metrics |= {f"energy_{name}": value for name, value in measured.energies.items()}
        metrics["zero_fraction"] = measured.zero_fraction
        metrics["silent_fraction"] = measured.silent_fraction
        metrics |= _forward_costs(model, split)
        gauge = measure_gauge_fixed(model, split)
        metrics["energy_gauge_fixed"] = gauge.energy
        metrics["energy_gauge_fixed_reason"] = gauge.reason
        metrics["gauge_output_difference"] = gauge.output_difference
        layers = {name: row | gauge.layers.get(name, {}) for name, row in measured.layers.items()}
        if trial and trial.latency_on:
            metrics |= inference_seconds(model, split, config["batch_size"], trial.latency_on)
    record = Record(
        run_id=run_id(config),
        status=status,
        config={**config},
        metrics=metrics,
        layers=layers,
        history=training.history,
        provenance=provenance(dataset, execution, run.started)
        | ({"baseline": run.baseline} if run.baseline else {})
        | (_of_trial(trial, config, dataset) if trial else {}),
    )
    return FinishedRun(record=record, model=model)


def _of_trial(trial: Trial, config: RunConfig, dataset: Dataset) -> dict[str, Any]:
    steps = train_config(config).total_steps(len(dataset.train))
    return {"trial": {**asdict(trial), "split": "validation", "steps": steps}}


def _steering(
    config: RunConfig, dataset: Dataset, baseline: Mapping[str, Any] | None, *, proximal: bool
) -> AccuracySteering:
    """Return what finds lambda of a budget run.

    Raises:
        InputError: The baseline did not end well.
    """
    if baseline is None or baseline["status"] != RunStatus.OK:
        status = "missing" if baseline is None else baseline["status"]
        raise InputError(
            f"the baseline of this budget, the run at lambda 0 and seed 0, is {status}; mend that "
            "run first"
        )
    target = AccuracyTarget(
        steps=baseline["steps"],
        accuracies=baseline["accuracies"],
        margin=config["margin"],  # pyright: ignore[reportTypedDictNotRequiredAccess]
        aim=config["aim"],  # pyright: ignore[reportTypedDictNotRequiredAccess]
    )
    hyperparameters = train_config(config)
    return AccuracySteering(
        target,
        steps=hyperparameters.total_steps(len(dataset.train)),
        every=hyperparameters.steps_between_validations(len(dataset.train)),
        proximal=proximal,
    )


def _proximal_units(config: RunConfig, model: nn.Module, sample: Tensor) -> ProximalUnits | None:
    if not config.get("proximal"):
        return None
    from minaction.train.proximal import ProximalUnits  # what finds units takes long to import

    return ProximalUnits(model, sample)


def train_config(config: RunConfig) -> TrainConfig:
    """Return the training hyperparameters of a run."""
    given: dict[str, Any] = {**config}
    length = {key: given[key] for key in ("epochs", "steps", "validate_every") if key in given}
    return TrainConfig(
        **length,
        batch_size=config["batch_size"],
        lr=config["lr"],
        weight_decay=config["weight_decay"],
        clip_norm=config.get("clip_norm"),
        seed=ORDER_STREAM + config["seed"],
    )


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Return the mean cross-entropy, computed in float32 whatever the logits' precision."""
    return F.cross_entropy(logits.float(), y)


def provenance(dataset: Dataset, execution: Execution, started: datetime) -> dict[str, Any]:
    """Return the conditions a run was made under."""
    return {
        "versions": versions(),
        "code_version": code_version(),
        "device": "cpu",
        "cpu": cpu_name(),
        "threads": torch.get_num_threads(),
        "data_sha256": dataset.fingerprint,
        "execution": execution.to_dict(),
        "started": started.isoformat(timespec="seconds"),
    }


def weights_of(model: nn.Module) -> bytes:
    """Return a model's weights as the content of a safetensors file."""
    return save({name: tensor.contiguous() for name, tensor in model.state_dict().items()})


def _test_metrics(test: Evaluation, split: Split) -> dict[str, Any]:
    return {
        "test_samples": len(split),
        "test_accuracy": test.accuracy,
        "test_balanced_accuracy": test.balanced_accuracy,
        "test_loss": test.loss,
    }


def _validation_metrics(training: Training, validation: Evaluation, split: Split) -> dict[str, Any]:
    return {
        "val_samples": len(split),
        "val_accuracy": validation.accuracy,
        "val_balanced_accuracy": validation.balanced_accuracy,
        "val_loss": validation.loss,
        "train_loss": training.history[-1]["train_loss"],
    }


def _per_step(macs: MacCount, batch_size: int) -> float | None:
    """Return the MACs of a training step, where all of them are known."""
    if macs.uncounted or macs.macs_training is None:
        return None
    return macs.macs_training * batch_size


def _forward_costs(model: nn.Module, split: Split) -> dict[str, float | None]:
    """Return MACs, accumulates and bytes of a forward pass per sample, of weights per pass."""
    count = count_macs(model, split.x[:MACS_SAMPLES], training=False)
    names = ("macs_dense", "macs_effective", "acs_effective", "weight_bytes", "activation_bytes")
    return {name: None if count.uncounted else getattr(count, name) for name in names}
