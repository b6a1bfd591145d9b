"""Which channels of which layers must be removed together, by torch-pruning's dependency graph."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn
from torch_pruning import ops

from minaction.compaction.batches import first_line
from minaction.energy.scale_rules import tensors_in
from minaction.energy.tape import run_model
from minaction.errors import CompactionError

WEIGHTED = (nn.Linear, nn.modules.conv._ConvNd)
NORMS = (nn.modules.batchnorm._BatchNorm,)
_OP = ops.OPTYPE
OUTPUT = "it is an output of the model"
_MIXES = {
    _OP.LN: "a layer norm computes with all its channels at once",
    _OP.GN: "a group norm computes with several of its channels at once",
    _OP.MHA: "attention computes with it",
    _OP.LSTM: "a recurrent layer computes with it",
    _OP.CUSTOMIZED: "a layer of unknown kind computes with it",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Places:
    """Where the units of a coupling are found in one layer.

    Attributes:
        units: Unit of each place, `[places]`.
        channels: Channel of the layer it is, `[places]`.
    """

    units: Tensor
    channels: Tensor

    def of(self, units: Iterable[int]) -> list[int]:
        """Return the channels that belong to some of the units."""
        wanted = torch.isin(self.units, torch.tensor(list(units), dtype=torch.long))
        return self.channels[wanted].tolist()


@dataclass(frozen=True, kw_only=True, eq=False)
class Coupling:
    """The units of one layer, and everything that must go with each of them.

    Attributes:
        layer: Name of the layer whose output channels the units are.
        units: Their number.
        writers: Layers whose output channels go with a unit; the layer itself is one of them, and
            so is a depthwise convolution on the way.
        readers: Layers whose input channels go with a unit.
        norms: Batch norms whose channels go with a unit.
    """

    layer: str
    units: int
    writers: Mapping[str, Places]
    readers: Mapping[str, Places]
    norms: Mapping[str, Places]


def find_couplings(model: nn.Module, example: Any) -> tuple[list[Coupling], dict[str, str]]:
    """Return the couplings from which units can be removed, and why not from the other layers.

    Layers that compute the model's outputs are in neither: their units are asked for.

    Args:
        model: A copy of its own, in evaluation mode; gradients get switched on for its parameters.
        example: One batch of inputs.

    Raises:
        CompactionError: The model cannot be traced.
    """
    graph = _build(model, example)
    names = {module: name for name, module in model.named_modules()}
    couplings, foreign = [], dict(_foreign_layers(model))
    not_covered = dict(foreign)
    with _traced(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        groups = list(graph.get_all_groups(root_module_types=WEIGHTED))
    seen: set[str] = set()
    for group in groups:
        coupling, reason = _coupling(graph, group, names)
        seen.update(coupling.writers)
        if reason is None:
            couplings.append(coupling)
        elif reason != OUTPUT:
            not_covered |= dict.fromkeys(coupling.writers, reason)
    weighted = [n for n, module in model.named_modules() if isinstance(module, WEIGHTED)]
    if weighted and not seen:
        raise CompactionError(
            "the model cannot be traced by torch-pruning: no layer has a part in the gradient of "
            "its output"
        )
    for name in weighted:
        # a part of attention is listed as that
        if name not in seen and name.rpartition(".")[0] not in foreign:
            not_covered.setdefault(name, "it did not run, or not so that it can be followed")
    return couplings, not_covered


def remove_units(model: nn.Module, example: Any, units: Mapping[str, Sequence[int]]) -> None:
    """Remove units by layer, and what is coupled to them, from a model in place."""
    graph = _build(model, example)
    modules = dict(model.named_modules())
    for layer, indices in units.items():
        module = modules[layer]
        prune = graph.get_pruner_of_module(module).prune_out_channels
        graph.get_pruning_group(module, prune, list(indices)).prune()


def _build(model: nn.Module, example: Any) -> Any:
    # the graph is read off autograd, so everything must take part in it
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parameter.requires_grad_(True)
    with _traced(), warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")  # what it does not know is checked afterwards
        return torch_pruning.DependencyGraph().build_dependency(
            model,
            example_inputs=example,
            forward_fn=run_model,
            output_transform=_differentiable,
            verbose=False,
        )


@contextlib.contextmanager
def _traced() -> Iterator[None]:
    """Turn whatever goes wrong in the dependency graph into one line."""
    try:
        yield
    except Exception as error:
        raise CompactionError(
            f"the model cannot be traced by torch-pruning: {first_line(error)}"
        ) from error


def _differentiable(output: Any) -> list[Tensor]:
    return [tensor for tensor in tensors_in([output]) if tensor.grad_fn is not None]


def _coupling(
    graph: Any, group: Any, names: Mapping[nn.Module, str]
) -> tuple[Coupling, str | None]:
    root, units = group[0].dep.target.module, len(group[0].idxs)
    writers: dict[str, Places] = {}
    readers: dict[str, Places] = {}
    norms: dict[str, Places] = {}
    # nothing follows an output layer, unless a function that has no weights
    is_output = len(group) == 1 or any(item.dep.target.type == _OP.OUTPUT for item in group)
    reason = OUTPUT if is_output else None
    for item in group:
        node = item.dep.target
        reason = reason or _obstacle(node)
        if not isinstance(node.module, (*WEIGHTED, *NORMS)):
            continue
        # a depthwise convolution does both at once, and computes nothing across channels
        writes = graph.is_out_channel_pruning_fn(item.dep.handler)
        side = norms if isinstance(node.module, NORMS) else writers if writes else readers
        side[names[node.module]] = Places(
            units=torch.tensor(item.root_idxs), channels=torch.tensor(item.idxs)
        )
        channels = graph.get_out_channels(node) if writes else graph.get_in_channels(node)
        if not 0 <= min(item.idxs) <= max(item.idxs) < channels:
            reason = reason or "its channels are regrouped in a way that cannot be followed"
    if not readers:
        reason = reason or "no layer with weights reads it directly, as in attention"
    coupling = Coupling(
        layer=names[root], units=units, writers=writers, readers=readers, norms=norms
    )
    return coupling, reason


def _obstacle(node: Any) -> str | None:
    """Return why channels of a node cannot be removed, None where they can."""
    module = node.module
    if node.type in _MIXES:
        return _MIXES[node.type]
    if node.type == _OP.PARAMETER and sum(size > 1 for size in module.shape) > 1:
        return "a weight outside of a linear layer or convolution is involved"
    if node.type == _OP.CONV and module.groups > 1:
        return "a grouped convolution is involved"
    return None


def _foreign_layers(model: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield layers with weights that the graph does not take units from, and why."""
    known = (*WEIGHTED, nn.Embedding, nn.EmbeddingBag)
    for name, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention):
            yield name, "attention is not taken apart"
        elif isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
            yield name, "recurrent layers are not taken apart"
        elif not isinstance(module, known):
            weights = [p for p in module.parameters(recurse=False) if p.ndim > 1]
            if any(sum(size > 1 for size in weight.shape) > 1 for weight in weights):
                yield name, "its weights are not in a linear layer or convolution"
