"""`minaction compact`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from minaction.commands.options import AsJson, DataDir, print_json, text_of
from minaction.errors import InputError

if TYPE_CHECKING:
    from minaction.compaction.latency import Runtime


def compact(
    target: Annotated[
        str,
        typer.Argument(
            metavar="DIR|MODULE:FACTORY",
            help="A study's directory, to compact the networks it kept; or a model of yours: "
            "MODULE:FACTORY, or the path of an exported program (torch.export.save, .pt2).",
        ),
    ],
    run: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Only this run of the study; repeatable."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Weights of your model, a safetensors file.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--data", help="Calibrate on this data set's training split.")
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(help="Calibrate on the inputs in this safetensors file instead."),
    ] = None,
    held_out: Annotated[
        Path | None, typer.Option(help="Other inputs to compare outputs on, a safetensors file.")
    ] = None,
    data_dir: DataDir = None,
    tolerance: Annotated[
        float,
        typer.Option(
            min=0, help="Remove units below this share of their layer's largest effect too."
        ),
    ] = 0.0,
    macs: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Remove units too, those first that the outputs depend on least for their MACs, "
            "until at most this share of the MACs is left, e.g. 0.25.",
        ),
    ] = None,
    fine_tune: Annotated[
        float, typer.Option(min=0, help="Epochs of fine-tuning after the removal (a study's runs).")
    ] = 0.0,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the smaller networks: weights, exported program, report."),
    ] = None,
    onnx: Annotated[bool, typer.Option("--onnx", help="Write ONNX files to --out too.")] = False,
    latency: Annotated[bool, typer.Option(help="Measure latency before and after.")] = True,
    as_json: AsJson = False,
) -> None:
    """Remove the units that do nothing, and time it."""
    _check_place(out, onnx=onnx)
    if Path(target).is_dir():
        if weights or dataset or calibration or held_out:
            raise InputError(
                "--weights, --data, --calibration and --held-out are for a model of yours; a "
                "study's runs bring their own"
            )
    elif run or fine_tune:
        raise InputError(f"--run and --fine-tune are for a study's directory, {target} is none")
    else:
        _check_inputs(dataset, calibration, held_out)

    from minaction.compaction.saving import save_compaction
    from minaction.compaction.table import compaction_table

    runtimes = _runtimes() if latency else ()
    if Path(target).is_dir():
        from minaction.study.compact_runs import CompactionPlan, compact_runs

        plan = CompactionPlan(
            tolerance=tolerance, macs=macs, fine_tune_epochs=fine_tune, runtimes=runtimes
        )
        compacted = compact_runs(target, run or (), plan, data_dir=text_of(data_dir))
    else:
        from minaction.compaction.user_model import compact_user_model
        from minaction.data.load import load_dataset

        data = calibration or load_dataset(dataset or "", text_of(data_dir))
        compacted = [
            compact_user_model(
                target, data, weights=weights, held_out=held_out, tolerance=tolerance,
                macs=macs, runtimes=runtimes,
            )
        ]  # fmt: skip
    found = []
    for one in compacted:
        found.append(one.to_dict())
        files = []
        if out is not None:
            files = save_compaction(one.compaction, out, one.name, found[-1], onnx=onnx)
        if not as_json:
            lines = [one.name, compaction_table(found[-1]), *(f"wrote {file}" for file in files)]
            typer.echo("\n".join(lines) + "\n")
    if as_json:
        print_json(found)


def _check_place(out: Path | None, *, onnx: bool) -> None:
    if onnx and out is None:
        raise InputError("--onnx: say where the files go with --out FOLDER")
    if out is not None and out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: is a file; give a folder, which need not exist")


def _check_inputs(dataset: str | None, calibration: Path | None, held_out: Path | None) -> None:
    if (dataset is None) == (calibration is None):
        raise InputError("give either --data NAME or --calibration FILE.safetensors")
    if held_out and dataset:
        raise InputError("--held-out goes with --calibration; a data set has its own split")


def _runtimes() -> tuple[Runtime, ...]:
    from minaction.compaction.onnx import missing_packages

    missing = missing_packages()
    if not missing:
        return ("pytorch", "onnxruntime")
    typer.echo(
        f"note: no latency in onnxruntime, since {' and '.join(missing)} is not installed; "
        "install with: pip install 'minaction[onnx]'",
        err=True,
    )
    return ("pytorch",)
