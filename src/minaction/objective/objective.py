"""The objective `L = L_task + lambda * E`, in the shape a training loop wants."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from minaction.energy.functionals import Energy, reads_activations
from minaction.energy.pitfalls import warn_of_pitfalls
from minaction.energy.recorder import Recorder, Reduce, is_transformed
from minaction.energy.tape import (
    Layers,
    Tape,
    is_compiled,
    needs_hooks,
    refuse_in_compiled,
    run_model,
)
from minaction.objective.lam import LambdaRule, as_rule, checked
from minaction.objective.reduction import energy_of, reduction

TaskLoss = Callable[[Any, Any], Tensor]
"""`task_loss(output, target) -> scalar tensor`."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Terms:
    """The parts of the objective for one batch. Copies are detached from the autograd graph.

    Attributes:
        task: Task loss, scalar tensor.
        energy: Energy, scalar tensor; without gradient where lambda is 0.
        total: `task + lam * energy`; call `backward()` on it.
        lam: The lambda used.
    """

    task: Tensor
    energy: Tensor
    total: Tensor
    lam: float | Tensor

    def __getstate__(self) -> dict[str, Any]:
        return {k: v.detach() if isinstance(v, Tensor) else v for k, v in self.__dict__.items()}


@final
class EnergyObjective:
    """Task loss plus lambda times energy.

    To train compiled, compile the step and pass lambda as a tensor,
    `torch.compile(objective.evaluate)(model, x, y, torch.tensor(rule.value))`: one graph serves
    every lambda. A model compiled on its own runs uncompiled here, with a warning.

    Args:
        task_loss: `task_loss(model(x), y) -> scalar tensor`, e.g. `F.cross_entropy`.
        energy: The energy of the forward pass.
        lam: A number >= 0, or a rule such as `Schedule` or `Budget`. A rule moves on by one step
            with every call made in training mode with gradients enabled.
        layers: What to observe, as for `Tape`; default: nonlinearities.
        clone: Work on copies of the activations, as for `Tape`.

    Raises:
        LambdaError: lambda is negative, NaN or infinite.

    Example:
        >>> objective = EnergyObjective(F.cross_entropy, ActivationEnergy(), lam=1e-4)
        >>> terms = objective(model, x, y)
        >>> terms.total.backward()
    """

    def __init__(
        self,
        task_loss: TaskLoss,
        energy: Energy,
        lam: float | LambdaRule = 0.0,
        *,
        layers: Layers | None = None,
        clone: bool = False,
    ) -> None:
        self.task_loss = task_loss
        self.energy = energy
        self.lam = as_rule(lam)
        self.layers = layers
        self.clone = clone
        self._looked = False

    def __call__(self, model: nn.Module, x: Any, y: Any) -> Terms:
        """Run the model once and return the terms.

        The first call in training warns of observed layers whose energy cannot change, or changes
        by mere rescaling: before it, two samples pass through the model, which leave it as it is.

        Args:
            model: The model; not changed.
            x: Its input: a tensor, a tuple of positional or a mapping of keyword arguments.
            y: Target, passed on to the task loss.

        Raises:
            TapeError: The model cannot be observed.
        """
        # compiled code must not even read whether it has looked: it would be compiled again
        if not torch.compiler.is_compiling() and not self._looked:
            self._look(model, x)
        terms = self.evaluate(model, x, y, self.lam.value)
        if model.training and torch.is_grad_enabled():
            self.lam.advance(terms.task.detach(), terms.energy.detach())
        return terms

    def _look(self, model: nn.Module, x: Any) -> None:
        """Warn, on the first call in training, of layers whose energy says nothing."""
        if not (model.training and torch.is_grad_enabled()) or is_transformed(x):
            return
        if any(is_lazy(parameter) for parameter in model.parameters()):
            return  # the first real pass is to initialise them
        self._looked = True
        if reads_activations(self.energy):
            warn_of_pitfalls(model, x, self.layers, stacklevel=3)

    def evaluate(self, model: nn.Module, x: Any, y: Any, lam: float | Tensor) -> Terms:
        """Return the terms at a given lambda; a pure function, and compilable as a whole.

        A lambda that is the number 0 leaves the energy out of the gradient; a tensor is always
        differentiated through, so that one compiled graph serves every value.

        Raises:
            LambdaError: lambda is a negative, NaN or infinite number.
            TapeError: The model cannot be observed.
        """
        if not isinstance(lam, Tensor) and checked(lam) == 0:
            output, energy = self._observe(model, x, differentiate=False)
            task = self.task_loss(output, y)
            return Terms(task=task, energy=energy, total=task, lam=lam)
        output, energy = self.observe(model, x)
        task = self.task_loss(output, y)
        return Terms(task=task, energy=energy, total=task + lam * energy, lam=lam)

    def observe(self, model: nn.Module, x: Any) -> tuple[Any, Tensor]:
        """Run the model once and return its output and the energy of that pass."""
        return self._observe(model, x, differentiate=True)

    def _observe(self, model: nn.Module, x: Any, *, differentiate: bool) -> tuple[Any, Tensor]:
        reduce = reduction(self.energy, differentiate=differentiate)
        if torch.compiler.is_compiling():
            refuse_in_compiled(model, self.layers)
            output, seen = self._observe_functions(model, x, reduce)
        elif self.layers is None and not needs_hooks(model):
            # names are not needed here, so neither are hooks
            output, seen = self._observe_functions(model, x, reduce)
        else:
            output, seen = self._observe_modules(model, x, reduce)
        return output, energy_of(self.energy, seen, reduce, differentiate=differentiate)

    def _observe_functions(
        self, model: nn.Module, x: Any, reduce: Reduce | None
    ) -> tuple[Any, Recorder]:
        recorder = Recorder(reduce, clone=self.clone)
        with recorder:
            output = run_model(model, x)
        recorder.discard_output(output)
        recorder.check()
        return output, recorder

    def _observe_modules(self, model: nn.Module, x: Any, reduce: Reduce | None) -> tuple[Any, Tape]:
        if is_compiled(model):
            warnings.warn(
                "the compiled model runs uncompiled here, so that it can be observed; pass the "
                "original model, and compile the step: torch.compile(objective.evaluate)",
                stacklevel=5,
            )
        with Tape(model, self.layers, reduce=reduce, clone=self.clone) as tape:
            output = run_model(model, x)
        return output, tape

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs: the state of the lambda rule."""
        return {"lam": self.lam.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.lam.load_state_dict(state["lam"])
