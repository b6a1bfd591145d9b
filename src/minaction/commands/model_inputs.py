"""Options for a model of the user's and what it runs on, as several commands take them."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from minaction.commands.options import text_of
from minaction.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


class RandomType(StrEnum):
    """What random inputs can be made of."""

    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    INT32 = "int32"
    INT64 = "int64"


Target = Annotated[
    str,
    typer.Argument(
        metavar="MODULE:FACTORY",
        help="Function or class of a module that makes the model without arguments, or the "
        "path of an exported program (torch.export.save, .pt2).",
    ),
]
StudyOrTarget = Annotated[
    str,
    typer.Argument(
        metavar="DIR|MODULE:FACTORY",
        help="A study's directory, for the networks it kept; or a model of yours: MODULE:FACTORY, "
        "or the path of an exported program (torch.export.save, .pt2).",
    ),
]
Weights = Annotated[Path | None, typer.Option(help="Weights of the model, a safetensors file.")]
DataName = Annotated[
    str | None, typer.Option("--data", help="Run it on this data set's validation split.")
]
Shape = Annotated[
    str | None, typer.Option(help="Run it on random samples of this shape, e.g. 3,224,224.")
]
RandomTypeOption = Annotated[RandomType, typer.Option("--dtype", help="Of random inputs.")]
High = Annotated[
    int | None,
    typer.Option(min=1, help="Random integers are below it, e.g. the vocabulary's size."),
]
Batch = Annotated[int, typer.Option(min=1, help="Samples in a batch.")]


def is_study(target: str) -> bool:
    """Tell a study's directory from a model of the user's.

    Raises:
        InputError: It can be neither.
    """
    if Path(target).is_dir():
        return True
    if ":" not in target and not Path(target).exists():
        raise InputError(
            f"{target}: no such file or directory; give a study's directory, MODULE:FACTORY, or "
            "the path of an exported program (.pt2)"
        )
    return False


def model_batches(
    dataset: str | None,
    data_dir: Path | None,
    shape: str | None,
    dtype: RandomType,
    high: int | None,
    *,
    batch: int,
    batches: int,
) -> Iterable[Tensor]:
    """Return the batches that the options ask for: all of a split, or so many random ones.

    Raises:
        InputError: The options contradict each other.
    """
    if (dataset is None) == (shape is None):
        raise InputError("give either --data NAME or --shape of one sample, e.g. --shape 3,224,224")
    if dataset is not None and (high is not None or dtype is not RandomType.FLOAT32):
        raise InputError("--dtype and --high are for random inputs; leave them out with --data")
    if shape is not None and data_dir is not None:
        raise InputError("--data-dir is for data sets; leave it out with --shape")
    sizes = None if shape is None else _sizes(shape)

    from minaction.data.load import load_dataset
    from minaction.measure.audit_inputs import random_batches

    if sizes is None:
        return load_dataset(dataset or "", text_of(data_dir)).validation.x.split(batch)
    return random_batches(sizes, batch=batch, batches=batches, dtype=dtype.value, high=high)


def _sizes(shape: str) -> list[int]:
    try:
        return [int(size) for size in shape.split(",")]
    except ValueError:
        raise InputError(
            f"--shape {shape}: expected whole numbers with commas, e.g. 3,224,224"
        ) from None
