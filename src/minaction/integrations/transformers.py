"""An energy for the Hugging Face `Trainer`, and linear layers for GPT-2; extra `transformers`."""

from __future__ import annotations

import copy
import functools
import warnings
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from minaction.energy.functionals import Energy
from minaction.energy.tape import Layers
from minaction.errors import InputError
from minaction.integrations.steps import EnergyTerm, StepTerms
from minaction.objective.lam import LambdaRule

try:
    import accelerate  # noqa: F401 (transformers names it only when a Trainer is made)
    from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState
    from transformers.pytorch_utils import Conv1D
    from transformers.training_args import TrainingArguments
except ImportError as error:
    raise InputError(
        f"add_energy needs transformers and accelerate ({error}); install with: "
        "pip install 'minaction[transformers]'"
    ) from None

STATE = "minaction"
"""Where a checkpoint's `trainer_state.json` has the state of lambda, in `stateful_callbacks`."""


def add_energy(
    trainer: Trainer,
    energy: Energy,
    lam: float | LambdaRule = 0.0,
    *,
    layers: Layers | None = None,
) -> LambdaRule:
    """Have a `Trainer` train on its loss plus lambda * E.

    The loss may be the model's own, that of `compute_loss_func`, of label smoothing, or of a
    subclass's `compute_loss`. E is the energy of everything that runs with gradients while it is
    computed, padding included. Evaluation stays without it.

    With gradient accumulation every batch's energy counts alike, and lambda moves on once per
    optimiser step. With several processes E is the mean of theirs, and all have one lambda. The
    state of lambda is in every checkpoint; `train(resume_from_checkpoint=...)` goes on along the
    same trajectory. A compiled model runs uncompiled, with a warning.

    The trainer's own `loss` is then task + lambda * energy; beside it are logged, of the last
    optimiser step, `minaction/task`, `energy`, `total`, `lam` and `zero_fraction`, the share of
    activations that are exactly 0.

    Args:
        trainer: A trainer, or one of a subclass, before `train()`. Its model is not touched.
        energy: The energy of a training step.
        lam: A number >= 0 or a rule, `Schedule` or `Budget`; a step of it is an optimiser step.
        layers: What to observe, as for `Tape`; default: nonlinearities.

    Returns:
        The rule of lambda.

    Raises:
        InputError: The trainer has an energy, or trains by `nn.DataParallel`; `energy` is none.
        LambdaError: lambda is negative, NaN or infinite, or not one number.
        TapeError: In the first step, if the model cannot be observed or has no nonlinearity.

    Example:
        >>> trainer = Trainer(model=model, args=args, train_dataset=dataset)
        >>> add_energy(trainer, ma.ActivationEnergy(), lam=1e-4)
        >>> trainer.train()
    """
    if "compute_loss" in vars(trainer):
        raise InputError("this trainer has an energy; add energies up in one: E1 + 0.1 * E2")
    if trainer.args.n_gpu > 1:
        raise InputError(
            "nn.DataParallel runs a model in threads, which cannot be observed; start one process "
            "per GPU, with torchrun, or show this one a single GPU: CUDA_VISIBLE_DEVICES=0"
        )
    term = EnergyTerm(energy, lam, layers)
    callback = _LambdaCallback(trainer, term)
    trainer.compute_loss = _with_energy(trainer, term, callback)
    trainer.log = _with_terms(trainer, callback)
    trainer.add_callback(callback)
    return term.lam


Model = TypeVar("Model", bound=nn.Module)


def with_linear_layers(model: Model) -> Model:
    """Return a copy of a model in which each `Conv1D` is the `nn.Linear` that computes the same.

    GPT-2 and its kin keep their weights in transformers' own `Conv1D`, a linear layer with its
    weight transposed, through which neither `minaction.gauge_fix` nor `minaction.compact` follows
    units. Embeddings shared with the output stay so. The copy's state dict fits no model of the
    hub.

    Args:
        model: Any module; not changed.

    Example:
        >>> model = with_linear_layers(GPT2LMHeadModel(GPT2Config()))
    """
    copied = copy.deepcopy(model)
    for parent in list(copied.modules()):
        for name, child in parent.named_children():
            if isinstance(child, Conv1D):
                setattr(parent, name, _linear(child))
    return copied


def _linear(layer: Conv1D) -> nn.Linear:
    """Return the linear layer that computes what a `Conv1D` does."""
    weight, bias = layer.weight.detach(), layer.bias.detach()
    linear = nn.Linear(layer.nx, layer.nf, device="meta")  # draws no random numbers
    linear.weight = nn.Parameter(weight.T.contiguous(), layer.weight.requires_grad)
    linear.bias = nn.Parameter(bias.clone(), layer.bias.requires_grad)
    return linear.train(layer.training)


class _LambdaCallback(TrainerCallback):
    """Moves lambda on after every optimiser step and keeps its state in the trainer's."""

    def __init__(self, trainer: Trainer, term: EnergyTerm) -> None:
        self._trainer, self._term = trainer, term
        self._initial = term.state_dict()
        self.terms: StepTerms | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start from the checkpoint's lambda, or from the first."""
        saved = _kept(state).get(STATE)
        if saved is None and state.global_step:
            warnings.warn("the checkpoint holds no lambda; it starts from its first", stacklevel=2)
        self._term.load_state_dict(self._initial if saved is None else _tensors(saved))
        self._term.begin()
        self.terms = None

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Move lambda on."""
        several = self._trainer.accelerator.num_processes > 1
        self.terms = self._term.finish_step(self._mean if several else None)
        # whatever saves next, after a step, an epoch or an evaluation, writes this
        _kept(state)[STATE] = _json(self._term.state_dict())

    def _mean(self, values: Tensor) -> Tensor:
        mean = self._trainer.accelerator.reduce(values, reduction="mean")
        assert isinstance(mean, Tensor)
        return mean

    def will_log(self) -> bool:
        """Return whether the trainer may log after the optimiser step that is under way."""
        state, args = self._trainer.state, self._trainer.args
        if args.logging_strategy != "steps":
            return args.logging_strategy == "epoch"  # which step is its last is not known here
        done = state.global_step + 1
        return done % state.logging_steps == 0 or (done == 1 and args.logging_first_step)


def _with_energy(trainer: Trainer, term: EnergyTerm, callback: _LambdaCallback) -> Any:
    """Return `trainer.compute_loss` with the energy's term in training."""
    compute_loss = trainer.compute_loss

    @functools.wraps(compute_loss)
    def completed(
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
        **kwargs: Any,
    ) -> Any:
        kwargs |= {"return_outputs": return_outputs, "num_items_in_batch": num_items_in_batch}
        step = functools.partial(compute_loss, model, inputs, **kwargs)
        if not (model.training and torch.is_grad_enabled()):
            return step()
        seen = term.observe(
            trainer.accelerator.unwrap_model(model, keep_torch_compile=False),
            step,
            compiled=trainer.args.torch_compile,
            count_zeros=callback.will_log(),
        )
        task, *outputs = seen.output if return_outputs else (seen.output,)
        batches = trainer.current_gradient_accumulation_steps
        share = 1 / batches if _is_scaled(trainer, num_items_in_batch) else 1.0
        loss = term.total(task, seen, share=share)
        return (loss, *outputs) if return_outputs else loss

    return completed


def _is_scaled(trainer: Trainer, num_items_in_batch: Tensor | int | None) -> bool:
    """Return whether batches' losses add up to an optimiser step's, as `training_step` decides.

    Else they are divided by the number of batches afterwards.
    """
    said = getattr(trainer, "loss_is_scaled_for_ga", None)
    if said is not None:
        return said
    by_model = trainer.model_accepts_loss_kwargs and num_items_in_batch is not None
    return by_model or trainer.compute_loss_func is not None


def _with_terms(trainer: Trainer, callback: _LambdaCallback) -> Any:
    """Return `trainer.log` with the energy's terms beside the training loss."""
    log = trainer.log

    @functools.wraps(log)
    def completed(logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        if "loss" in logs and callback.terms is not None:
            terms = callback.terms.to_log()
            logs = {**logs, **{name: float(value) for name, value in terms.items()}}
        log(logs, *args, **kwargs)

    return completed


def _kept(state: TrainerState) -> dict[str, Any]:
    """Return what a checkpoint keeps of callbacks; it is declared as a list, and is a dict."""
    assert isinstance(state.stateful_callbacks, dict)
    return state.stateful_callbacks


def _json(state: Any) -> Any:
    """Return a state as JSON values that keep every bit of its tensors."""
    if isinstance(state, Tensor):
        return {"dtype": str(state.dtype).removeprefix("torch."), "values": state.tolist()}
    if isinstance(state, Mapping):
        return {name: _json(value) for name, value in state.items()}
    return [_json(value) for value in state] if isinstance(state, tuple | list) else state


def _tensors(saved: Any) -> Any:
    """Return the state that `_json` was given, its tuples as lists."""
    if isinstance(saved, Mapping):
        if saved.keys() == {"dtype", "values"}:
            return torch.tensor(saved["values"], dtype=getattr(torch, saved["dtype"]))
        return {name: _tensors(value) for name, value in saved.items()}
    return [_tensors(value) for value in saved] if isinstance(saved, list) else saved
