"""`minaction audit`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from minaction.commands.options import AsJson, DataDir, print_json, text_of
from minaction.errors import InputError


class RandomType(StrEnum):
    """What random inputs can be made of."""

    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    INT32 = "int32"
    INT64 = "int64"


def audit(
    target: Annotated[
        str,
        typer.Argument(
            metavar="MODULE:FACTORY",
            help="Function or class of a module that makes the model without arguments, or the "
            "path of an exported program (torch.export.save, .pt2).",
        ),
    ],
    weights: Annotated[
        Path | None, typer.Option(help="Weights of the model, a safetensors file.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--data", help="Run it on this data set's validation split.")
    ] = None,
    data_dir: DataDir = None,
    shape: Annotated[
        str | None,
        typer.Option(help="Run it on random samples of this shape, e.g. 3,224,224."),
    ] = None,
    dtype: Annotated[RandomType, typer.Option(help="Of random inputs.")] = RandomType.FLOAT32,
    high: Annotated[
        int | None,
        typer.Option(min=1, help="Random integers are below it, e.g. the vocabulary's size."),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Samples in a batch.")] = 32,
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
    if (dataset is None) == (shape is None):
        raise InputError("give either --data NAME or --shape of one sample, e.g. --shape 3,224,224")
    if dataset is not None and (high is not None or dtype is not RandomType.FLOAT32):
        raise InputError("--dtype and --high are for random inputs; leave them out with --data")
    if shape is not None and data_dir is not None:
        raise InputError("--data-dir is for data sets; leave it out with --shape")
    sizes = None if shape is None else _sizes(shape)

    from minaction.data.load import load_dataset
    from minaction.measure.audit import audit as audited
    from minaction.measure.audit_inputs import random_batches
    from minaction.models.external import load_model

    inputs = (
        load_dataset(dataset or "", text_of(data_dir)).validation.x.split(batch)
        if sizes is None
        else random_batches(sizes, batch=batch, batches=batches or 1, dtype=dtype.value, high=high)
    )
    found = audited(load_model(target, weights), iter(inputs), layers=layers, batches=batches)
    if as_json:
        print_json(found.to_dict())
        return
    typer.echo(str(found))
    if sizes is not None:
        typer.echo("note: measured on random inputs; energies and zeros depend on them", err=True)


def _sizes(shape: str) -> list[int]:
    try:
        return [int(size) for size in shape.split(",")]
    except ValueError:
        raise InputError(
            f"--shape {shape}: expected whole numbers with commas, e.g. 3,224,224"
        ) from None
