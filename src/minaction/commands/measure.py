"""`minaction measure`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from minaction.commands.model_inputs import (
    Batch,
    DataName,
    High,
    RandomType,
    RandomTypeOption,
    Shape,
    Target,
    Weights,
    model_batches,
)
from minaction.commands.options import AsJson, DataDir, print_json
from minaction.errors import InputError

if TYPE_CHECKING:
    import torch


def measure(
    target: Target,
    weights: Weights = None,
    dataset: DataName = None,
    data_dir: DataDir = None,
    shape: Shape = None,
    dtype: RandomTypeOption = RandomType.FLOAT32,
    high: High = None,
    batch: Batch = 32,
    device: Annotated[
        str | None,
        typer.Option(help="Where to run it, e.g. cuda:0; default: where its factory put it."),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads on the CPU; default: torch's own choice.")
    ] = None,
    measurements: Annotated[int, typer.Option(min=5, help="Measurements of the time.")] = 41,
    as_json: AsJson = False,
) -> None:
    """Time a model; joules where there is a meter."""
    inputs = model_batches(dataset, data_dir, shape, dtype, high, batch=batch, batches=1)

    import torch

    from minaction.measure.network import measure_network
    from minaction.measure.network_text import network_text
    from minaction.models.external import load_model

    if threads is not None:
        torch.set_num_threads(threads)
    model = load_model(target, weights)
    where = _device(device)
    if where is not None:
        model = model.to(where)
    else:
        where = next((tensor.device for tensor in model.parameters()), torch.device("cpu"))
    found = measure_network(
        model,
        next(iter(inputs)).to(where),
        measurements=measurements,
        note=lambda text: typer.echo(text, err=True),
    )
    if as_json:
        print_json(found.to_dict())
        return
    typer.echo(network_text(found))
    if shape is not None:
        typer.echo(
            "note: measured on random inputs; what depends on them may take longer or shorter",
            err=True,
        )


def _device(name: str | None) -> torch.device | None:
    import torch

    if name is None:
        return None
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        first = str(error).splitlines()[0]
        raise InputError(
            f"--device {name}: cannot be used here ({first}); `minaction env` says what can"
        ) from error
    return device
