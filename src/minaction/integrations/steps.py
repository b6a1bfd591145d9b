"""Lambda * energy for losses that another library's training step computes."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from minaction.energy.functionals import Energy, reads_names
from minaction.energy.recorder import Recorder, Reduce
from minaction.energy.tape import Layers, Tape, is_compiled, needs_hooks
from minaction.energy.trajectory import Activation
from minaction.errors import InputError, LambdaError, TapeError
from minaction.objective.lam import LambdaRule, as_rule
from minaction.objective.reduction import energy_of, reduction

Average = Callable[[Tensor], Tensor]
"""Returns the mean of a tensor over the processes that train together."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """What ran in one training step of another library.

    Attributes:
        output: What the step returned.
        energy: Energy of what ran in it, scalar tensor.
        zero_fraction: Share of the observed activations that are exactly 0; None: not counted.
        empty: Nothing was there to take an energy of.
    """

    output: Any
    energy: Tensor
    zero_fraction: Tensor | None
    empty: bool


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class StepTerms:
    """The parts of an optimiser step's loss, means over its batches and over all processes.

    Attributes:
        task: Task loss, scalar tensor.
        energy: Energy, scalar tensor.
        lam: The lambda used.
        zero_fraction: Share of activations that are exactly 0; None: not counted.
    """

    task: Tensor
    energy: Tensor
    lam: float | Tensor
    zero_fraction: Tensor | None

    def to_log(self) -> dict[str, Tensor | float]:
        """Return them, and the total, by the names they are logged by."""
        total = self.task + self.lam * self.energy
        terms = {"task": self.task, "energy": self.energy, "total": total, "lam": self.lam}
        if self.zero_fraction is not None:
            terms["zero_fraction"] = self.zero_fraction
        return {f"minaction/{name}": value for name, value in terms.items()}


@final
class EnergyTerm:
    """The term `lambda * E` of a loss that another library's training step computes.

    Every batch is observed and its loss completed; a batch's energy counts as much as any other's
    that is accumulated for the same optimiser step. The rule of lambda moves on once per optimiser
    step, with the means of those batches over all processes.

    Args:
        energy: The energy of everything that runs with gradients in a training step.
        lam: A number >= 0 or a rule, as for `EnergyObjective`.
        layers: What to observe, as for `Tape`.

    Raises:
        InputError: `energy` is none.
        LambdaError: lambda is negative, NaN or infinite, or not one number.
    """

    def __init__(
        self, energy: Energy, lam: float | LambdaRule = 0.0, layers: Layers | None = None
    ) -> None:
        if not isinstance(energy, Energy):
            raise InputError(f"energy must be one such as ActivationEnergy(), got {energy!r}")
        self.energy, self.lam, self.layers = energy, as_rule(lam), layers
        if isinstance(self.lam.value, Tensor) and self.lam.value.ndim:
            raise LambdaError("lambda must be one number here; give the Budget a single limit")
        self._batches: list[tuple[Tensor, Tensor, Tensor | None]] = []
        self._hooked: bool | None = None
        self._warned = False

    def begin(self) -> None:
        """Start training: forget what an earlier one left."""
        self._batches, self._hooked = [], None

    def observe(
        self,
        model: nn.Module,
        step: Callable[[], Any],
        *,
        compiled: bool = False,
        count_zeros: bool = False,
    ) -> Seen:
        """Run a training step and take the energy of what ran in it.

        Args:
            model: The model whose layers are meant; not changed.
            step: Computes the task loss.
            compiled: The step itself is compiled. It then runs uncompiled, with a warning, as any
                compiled part of `model` does.
            count_zeros: Count the activations that are 0.

        Raises:
            TapeError: The model cannot be observed.
        """
        lam = self.lam.value
        differentiate = isinstance(lam, Tensor) or lam != 0
        reduce = reduction(self.energy, differentiate=differentiate)
        zeros = _Zeros()
        counted = zeros.counting(reduce) if reduce and count_zeros else reduce
        if self._hooked is None:
            self._hooked = needs_hooks(model)
        if self._hooked or self.layers is not None or reads_names(self.energy):
            seen = observing = Tape(model, self.layers, reduce=counted, skip_no_grad=True)
        else:  # names are not needed, so neither are hooks, which cost more
            seen = Recorder(counted, skip_no_grad=True)
            observing = _functions_of(model, seen)
        with self._eagerly(compiled or (self._hooked and is_compiled(model))), observing:
            output = step()
        for activation in seen.trajectory.layers if count_zeros else ():
            zeros.add(activation)
        names = list(seen.reduced if reduce else seen.trajectory)
        return Seen(
            output=output,
            energy=energy_of(self.energy, seen, reduce, differentiate=differentiate),
            zero_fraction=zeros.fraction(names) if count_zeros else None,
            empty=not (names or seen.trajectory.weights),
        )

    def total(self, task: Tensor, seen: Seen, *, share: float = 1.0) -> Tensor:
        """Return the loss with its energy term, and keep both for `finish_step`.

        Args:
            task: Task loss of the batch, a scalar; returned as it is where lambda is the number 0.
            seen: What ran to compute it.
            share: How much of an optimiser step's mean loss the batch's is: 1 where whoever trains
                divides by the number of batches afterwards.

        Raises:
            TapeError: Nothing was observed.
        """
        if seen.empty:
            raise TapeError(
                "no nonlinearity ran with gradients in the training step, so there is no energy; "
                "name the layers to observe: layers=[...]"
            )
        observed = task.detach() if share == 1 else task.detach() / share
        self._batches.append((observed, seen.energy.detach(), seen.zero_fraction))
        lam = self.lam.value
        # without a graph of its own the task loss is a mistake, which must not look like training
        if not task.requires_grad or (not isinstance(lam, Tensor) and lam == 0):
            return task
        return task + share * lam * seen.energy

    def finish_step(self, average: Average | None = None) -> StepTerms | None:
        """Move lambda on after an optimiser step and return its terms; None without a loss.

        Args:
            average: As said there; None for a single process.
        """
        batches, self._batches = self._batches, []
        if not batches:
            return None
        task, energy, zeros = (_mean(column) for column in zip(*batches, strict=True))
        assert task is not None
        assert energy is not None
        if average:
            both = [task, energy] if zeros is None else [task, energy, zeros]
            joined = torch.stack([value.to(task.device, torch.float32) for value in both])
            task, energy, *rest = average(joined).unbind()
            zeros = rest[0] if rest else None
        lam = self.lam.value
        self.lam.advance(task, energy)
        return StepTerms(task=task, energy=energy, lam=lam, zero_fraction=zeros)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs: the state of the lambda rule."""
        return {"lam": self.lam.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.lam.load_state_dict(state["lam"])

    def _eagerly(self, compiled: bool) -> contextlib.AbstractContextManager[None]:
        if not compiled:
            return contextlib.nullcontext()
        if not self._warned:
            self._warned = True
            warnings.warn(
                "what is compiled runs uncompiled here, so that it can be observed; leave "
                "torch.compile out",
                stacklevel=4,
            )
        return torch.compiler.set_stance("force_eager")


@contextlib.contextmanager
def _functions_of(model: nn.Module, recorder: Recorder) -> Iterator[None]:
    """Observe without names; as under a tape, the output of the model itself is no layer."""
    hook = model.register_forward_hook(lambda _model, _x, output: recorder.discard_output(output))
    try:
        with recorder:
            yield
    finally:
        hook.remove()
    recorder.check()


class _Zeros:
    """Counts of elements and of those that are not 0, by layer."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[int, Tensor]] = {}

    def add(self, activation: Activation) -> None:
        with torch.no_grad():
            nonzero = activation.value.count_nonzero()
        self._counts[activation.name] = (activation.value.numel(), nonzero)

    def counting(self, reduce: Reduce) -> Reduce:
        def counted(activation: Activation) -> Tensor:
            self.add(activation)
            return reduce(activation)

        return counted

    def fraction(self, names: list[str]) -> Tensor:
        """Return the share of zeros in these layers: a model's output is counted, but none."""
        elements = sum(self._counts[name][0] for name in names)
        nonzero = torch.stack([self._counts[name][1] for name in names]).sum() if names else 0
        return 1 - torch.as_tensor(nonzero / max(elements, 1))


def _mean(values: tuple[Tensor | None, ...]) -> Tensor | None:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    return known[0] if len(known) == 1 else torch.stack(known).mean(0)
