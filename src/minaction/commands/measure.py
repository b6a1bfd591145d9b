"""`minaction measure`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from minaction.commands.model_inputs import (
    Batch,
    DataName,
    High,
    RandomType,
    RandomTypeOption,
    Shape,
    StudyOrTarget,
    Weights,
    is_study,
    model_batches,
)
from minaction.commands.options import AsJson, DataDir, print_json, text_of
from minaction.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

OF_A_MODEL = ("weights", "dataset", "shape", "dtype", "high", "batch", "threads", "measurements")
"""Parameters that say nothing of a study's networks."""

ROUNDS = 5


def measure(
    context: typer.Context,
    target: StudyOrTarget,
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
    rounds: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=f"Rounds through all networks of a study; default: {ROUNDS}; what is done "
            "already counts.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Time a model or a study's; joules where there is a meter.

    A study's networks are measured as they were trained and compacted.
    """
    if is_study(target):
        _refuse_options_of_a_model(context)
        return _measure_study(Path(target), device, rounds or ROUNDS, data_dir, as_json)
    if rounds is not None:
        raise InputError(f"--rounds is for a study's directory, {target} is none")
    inputs = model_batches(dataset, data_dir, shape, dtype, high, batch=batch, batches=1)
    _measure_model(target, weights, inputs, device, threads, measurements, as_json)
    if shape is not None and not as_json:
        typer.echo(
            "note: measured on random inputs; what depends on them may take longer or shorter",
            err=True,
        )
    return None


def _measure_model(
    target: str,
    weights: Path | None,
    inputs: Iterable[Tensor],
    device: str | None,
    threads: int | None,
    measurements: int,
    as_json: bool,
) -> None:
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
    else:
        typer.echo(network_text(found))


def _refuse_options_of_a_model(context: typer.Context) -> None:
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name in OF_A_MODEL and source is not None and source.name == "COMMANDLINE":
            raise InputError(
                f"{parameter.opts[0]} is for a model of yours; a study's networks bring their own"
            )


def _measure_study(
    directory: Path, device: str | None, rounds: int, data_dir: Path | None, as_json: bool
) -> None:
    from minaction.study.measure_runs import measure_runs
    from minaction.study.measurements import MEASUREMENTS_NAME

    found = measure_runs(
        directory,
        device=_device(device) or "cpu",
        rounds=rounds,
        data_dir=text_of(data_dir),
        note=_notes(every_seconds=10.0),
    )
    if as_json:
        return print_json({"measured": len(found), "file": str(directory / MEASUREMENTS_NAME)})
    networks = len({one.run_id for one in found})
    typer.echo(
        f"{directory / MEASUREMENTS_NAME}: {len(found):,} measurements of {networks:,} networks; "
        f"`minaction analyse {directory}` says what tells them"
    )
    return None


def _notes(every_seconds: float) -> Callable[[str], None]:
    """Return what prints a line of progress now and then."""
    last = time.monotonic()

    def note(text: str) -> None:
        nonlocal last
        if time.monotonic() - last >= every_seconds:
            last = time.monotonic()
            typer.echo(text, err=True)

    return note


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
