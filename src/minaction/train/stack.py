"""Networks of one architecture as one: their weights are rows of a matrix, trained together."""

from __future__ import annotations

import contextlib
import copy
import itertools
import math
import warnings
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from minaction.errors import InputError
from minaction.objective.objective import EnergyObjective
from minaction.train.graphs import Graphed
from minaction.train.loop import AdamW, TrainConfig
from minaction.train.stacked_convolution import MatrixProducts

State = dict[str, Tensor]

SAMPLE = 2
"""Inputs that show how networks can be stacked."""


class Stack:
    """The weights of several networks, `[runs, parameters]`, and their optimiser.

    A step takes each network's own batch and its own lambda and does what a step of
    `minaction.train.loop` does with each alone: `vmap(grad(losses))` over the rows, then torch's
    AdamW on blocks of rows that share a learning rate and weight decay. It works on single numbers,
    so every row has moments of its own.

    Args:
        models: Networks that differ in nothing but the values of their parameters and buffers; they
            are left as they are until `write`.
        objective: Task loss and energy of all of them.
        configs: Learning rate, weight decay and clipping of each; blocks are runs of equal
            neighbours.
        sample: A few inputs, two at least, for a pass that shows which buffers training changes.
        device: Where to train.

    Raises:
        InputError: The networks differ in how they are built, or their weights in type.
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
        objective: EnergyObjective,
        configs: Sequence[TrainConfig],
        sample: Tensor,
        device: torch.device | str = "cpu",
    ) -> None:
        _check_alike(models)
        self._net = _Losses(copy.deepcopy(models[0]).to(device), objective)
        on_gpu = torch.device(device).type == "cuda"
        self._convolutions = MatrixProducts() if on_gpu else contextlib.nullcontext()
        self._configs = list(configs)
        trained = [_trained(model) for model in models]
        self._shapes = {name: value.shape for name, value in trained[0].items()}
        rows = [torch.cat([value.flatten() for value in of_one.values()]) for of_one in trained]
        self._weights = torch.stack(rows).to(device)
        self._moments = [torch.zeros_like(self._weights) for _ in range(2)]
        self._steps = torch.zeros((), device=device)
        others = [_others(model) for model in models]
        changing = _changing(models[0], sample)
        own = {name for name in others[0] if name in changing or _differs(name, others)}
        self._own = {name: torch.stack([o[name] for o in others]).to(device) for name in own}
        shared = {n: v for n, v in others[0].items() if n not in own}
        self._shared = {name: value.to(device, copy=True) for name, value in shared.items()}
        self._arrange()

    def __len__(self) -> int:
        return len(self._weights)

    def _arrange(self) -> None:
        """Lay out names over the weights, and the optimiser over blocks of rows."""
        sizes = [shape.numel() for shape in self._shapes.values()]
        parts = self._weights.split(sizes, 1)
        self._parameters = {
            name: part.view(len(self), *shape)
            for (name, shape), part in zip(self._shapes.items(), parts, strict=True)
        }
        self._gradient = torch.empty_like(self._weights)
        norms = [config.clip_norm or math.inf for config in self._configs]
        self._clip_norms = self._weights.new_tensor(norms) if min(norms) < math.inf else None
        groups, states, start = [], [], 0
        for rates, block in itertools.groupby(self._configs, lambda c: (c.lr, c.weight_decay)):
            rows = slice(start, start + len(list(block)))
            weights, start = self._weights[rows], rows.stop
            weights.grad = self._gradient[rows]
            groups.append({"params": [weights], "lr": rates[0], "weight_decay": rates[1]})
            first, second = (moment[rows] for moment in self._moments)
            state = {"step": self._steps.clone(), "exp_avg": first, "exp_avg_sq": second}
            states.append((weights, state))
        self._optimizer = AdamW(groups, fused=True)
        self._optimizer.state.update(states)
        self._graphed: dict[bool, Graphed] = {}

    def step(self, x: Tensor, y: Tensor, lam: float | Tensor) -> tuple[Tensor, Tensor]:
        """Train all of them for a step.

        Args:
            x: A batch of inputs for each, `[runs, batch, ...]`.
            y: Its labels, `[runs, batch]`.
            lam: Lambda of each, `[runs]`; the number 0 leaves the energy out of the gradients.

        Returns:
            Task losses and energies, `[runs]` each.
        """
        self._net.train()
        task, energy = self._differentiate(x, y, lam)
        self._optimizer.step()
        return task, energy

    def _differentiate(self, x: Tensor, y: Tensor, lam: float | Tensor) -> tuple[Tensor, Tensor]:
        if not self._weights.is_cuda:
            return self._gradients(x, y, lam)
        penalised = isinstance(lam, Tensor)
        inputs = (x, y, lam) if penalised else (x, y)
        if penalised not in self._graphed:
            self._graphed[penalised] = Graphed(self._gradients, inputs, self._own.values())
        task, energy = self._graphed[penalised](*inputs)
        return task, energy

    def _gradients(self, x: Tensor, y: Tensor, lam: float | Tensor = 0.0) -> tuple[Tensor, Tensor]:
        """Put each network's gradient into its row and return task losses and energies."""

        def losses(
            parameters: State, own: State, x: Tensor, y: Tensor, lam: float | Tensor
        ) -> tuple[Tensor, tuple[Tensor, Tensor, State]]:
            state = {**self._shared, **own, **parameters}
            total, task, energy = self._call(state, x, y, lam)
            return total, (task, energy, {name: state[name] for name in own})

        in_dims = (0, 0, 0, 0, 0 if isinstance(lam, Tensor) else None)
        gradients, (task, energy, own) = vmap(
            grad(losses, has_aux=True), in_dims, randomness="different"
        )(self._parameters, self._own, x, y, lam)
        parts = [gradients[name].reshape(len(self), -1) for name in self._shapes]
        torch.cat(parts, 1, out=self._gradient)
        if self._clip_norms is not None:
            self._gradient.mul_(_clipping(self._gradient, self._clip_norms))
        for name, value in own.items():
            self._own[name].copy_(value)
        return task, energy

    @torch.no_grad()
    def outputs(self, x: Tensor, at_once: int | None = None) -> Tensor:
        """Return what each computes of the same inputs, in evaluation mode, `[runs, samples, ...]`.

        Args:
            x: `[samples, ...]`.
            at_once: Networks that run at once, to save memory; default: all.
        """
        self._net.eval()

        def output(parameters: State, own: State) -> Tensor:
            state = {**self._shared, **own, **parameters}
            with self._convolutions:
                return functional_call(self._net.model, state, (x,))

        return vmap(output, randomness="different", chunk_size=at_once)(self._parameters, self._own)

    @torch.no_grad()
    def losses(self, x: Tensor, y: Tensor, lam: Tensor) -> tuple[Tensor, Tensor]:
        """Return task losses and energies of one batch for all, in evaluation mode, `[runs]`."""
        self._net.eval()

        def losses(parameters: State, own: State, lam: Tensor) -> tuple[Tensor, Tensor]:
            state = {**self._shared, **own, **parameters}
            return self._call(state, x, y, lam)[1:]

        return vmap(losses, randomness="different")(self._parameters, self._own, lam)

    def _call(
        self, state: State, x: Tensor, y: Tensor, lam: float | Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return total, task loss and energy; `state` then holds what the pass assigned anew."""
        named = {f"model.{name}": value for name, value in state.items()}
        with self._convolutions:
            found = functional_call(self._net, named, (x, y, lam))
        state.update({name: named[f"model.{name}"] for name in state})
        return found

    def keep(self, rows: Tensor) -> None:
        """Go on with some of the networks only."""
        chosen = rows.to(self._weights.device)
        self._steps = next(iter(self._optimizer.state.values()))["step"]
        self._weights = self._weights[chosen]
        self._moments = [moment[chosen] for moment in self._moments]
        self._own = {name: value[chosen] for name, value in self._own.items()}
        self._configs = [self._configs[row] for row in rows.tolist()]
        self._arrange()

    @torch.no_grad()
    def write(self, row: int, model: nn.Module) -> None:
        """Give a model the values of one row and put it into evaluation mode."""
        values = {**self._parameters, **self._own}
        for name, value in itertools.chain(model.named_parameters(), model.named_buffers()):
            if name in values:
                value.copy_(values[name][row])
        model.eval()


class _Losses(nn.Module):
    """A network with its losses as a module, so that both can be called with other weights."""

    def __init__(self, model: nn.Module, objective: EnergyObjective) -> None:
        super().__init__()
        self.model = model
        self._objective = objective

    def forward(self, x: Tensor, y: Tensor, lam: float | Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return total, task loss and energy."""
        terms = self._objective.evaluate(self.model, x, y, lam)
        return terms.total, terms.task.detach(), terms.energy.detach()


def _clipping(gradients: Tensor, clip_norms: Tensor) -> Tensor:
    """Return what each row is scaled by, `[runs, 1]`, as `torch.nn.utils.clip_grad_norm_` does."""
    norms = torch.linalg.vector_norm(gradients, dim=1)
    scales = torch.where(norms + 1e-6 > clip_norms, clip_norms / (norms + 1e-6), 1.0)
    return scales.unsqueeze(1)


def _trained(model: nn.Module) -> State:
    return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}


def _others(model: nn.Module) -> State:
    frozen = {n: p.detach() for n, p in model.named_parameters() if not p.requires_grad}
    return frozen | dict(model.named_buffers())


def _check_alike(models: Sequence[nn.Module]) -> None:
    built, shapes = repr(models[0]), _shapes(models[0])
    for run, model in enumerate(models):
        if repr(model) != built or _shapes(model) != shapes:
            raise InputError(
                f"network {run} is built otherwise than network 0; only equal ones can be stacked"
            )
    types = {value.dtype for model in models for value in _trained(model).values()}
    if len(types) != 1:
        raise InputError(f"parameters are of {len(types)} types; stacked ones must be of one")


def _shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in {**_trained(model), **_others(model)}.items()}


def _differs(name: str, states: Sequence[State]) -> bool:
    return any(not torch.equal(state[name], states[0][name]) for state in states[1:])


def _changing(model: nn.Module, sample: Tensor) -> set[str]:
    """Return the buffers that a pass in training mode changes."""
    twin = copy.deepcopy(model).train()
    before = {name: value.clone() for name, value in twin.named_buffers()}
    if not before:
        return set()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        twin(sample)
    return {name for name, value in twin.named_buffers() if not torch.equal(before[name], value)}


@contextlib.contextmanager
def stacking_conditions() -> Iterator[None]:
    """Compute in full float32 on GPUs, and keep quiet about operations that run row by row."""
    with warnings.catch_warnings(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        warnings.filterwarnings("ignore", "There is a performance drop")
        yield
