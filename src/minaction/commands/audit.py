"""`minaction audit`."""

from __future__ import annotations

from typing import Annotated

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


def audit(
    target: Target,
    weights: Weights = None,
    dataset: DataName = None,
    data_dir: DataDir = None,
    shape: Shape = None,
    dtype: RandomTypeOption = RandomType.FLOAT32,
    high: High = None,
    batch: Batch = 32,
    batches: Annotated[
        int | None,
        typer.Option(min=1, help="Batches; default: the whole split, or one.", show_default=False),
    ] = None,
    layers: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Observe this layer instead of all nonlinearities; repeatable."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Audit a model's energy and MACs layer by layer."""
    inputs = model_batches(dataset, data_dir, shape, dtype, high, batch=batch, batches=batches or 1)

    from minaction.measure.audit import audit as audited
    from minaction.models.external import load_model

    found = audited(load_model(target, weights), iter(inputs), layers=layers, batches=batches)
    if as_json:
        print_json(found.to_dict())
        return
    typer.echo(str(found))
    if shape is not None:
        typer.echo("note: measured on random inputs; energies and zeros depend on them", err=True)
