"""`minaction compact`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from minaction.commands.model_inputs import StudyOrTarget, Weights, is_study
from minaction.commands.options import AsJson, DataDir, print_json, text_of
from minaction.errors import CompactionError, InputError

if TYPE_CHECKING:
    from minaction.compaction.latency import Runtime
    from minaction.compaction.user_model import CompactedModel
    from minaction.study.compact_runs import CompactedRun


Runs = Annotated[
    list[str] | None, typer.Option(metavar="ID", help="Only this run of the study; repeatable.")
]
CalibrationData = Annotated[
    str | None, typer.Option("--data", help="Calibrate on this data set's training split.")
]
Calibration = Annotated[
    Path | None, typer.Option(help="Calibrate on the inputs in this safetensors file instead.")
]
HeldOut = Annotated[
    Path | None, typer.Option(help="Other inputs to compare outputs on, a safetensors file.")
]
Tolerance = Annotated[
    float,
    typer.Option(min=0, help="Remove units below this share of their layer's largest effect too."),
]
ShareOfMacs = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="Remove units too, those first that the outputs depend on least for their MACs, "
        "until at most this share of the MACs is left, e.g. 0.25.",
    ),
]
FineTune = Annotated[
    float, typer.Option(min=0, help="Epochs of fine-tuning after the removal (a study's runs).")
]
Out = Annotated[
    Path | None,
    typer.Option(help="Folder for the smaller networks: weights, exported program, report."),
]
Onnx = Annotated[bool, typer.Option("--onnx", help="Write ONNX files to --out too.")]
MeasureLatency = Annotated[bool, typer.Option(help="Measure latency before and after.")]


def compact(
    target: StudyOrTarget,
    run: Runs = None,
    weights: Weights = None,
    dataset: CalibrationData = None,
    calibration: Calibration = None,
    held_out: HeldOut = None,
    data_dir: DataDir = None,
    tolerance: Tolerance = 0.0,
    macs: ShareOfMacs = None,
    fine_tune: FineTune = 0.0,
    out: Out = None,
    onnx: Onnx = False,
    latency: MeasureLatency = True,
    as_json: AsJson = False,
) -> None:
    """Remove the units that do nothing, and time it."""
    failed: list[CompactionError] = []
    _check_place(out, onnx=onnx)
    if is_study(target):
        if weights or dataset or calibration or held_out:
            raise InputError(
                "--weights, --data, --calibration and --held-out are for a model of yours; a "
                "study's runs bring their own"
            )
        from minaction.study.compact_runs import CompactionPlan, compact_runs

        plan = CompactionPlan(
            tolerance=tolerance,
            macs=macs,
            fine_tune_epochs=fine_tune,
            runtimes=_runtimes(latency),
        )
        compacted = compact_runs(
            target, run or (), plan, data_dir=text_of(data_dir), skipped=_noting_in(failed)
        )
    else:
        if run or fine_tune:
            raise InputError(f"--run and --fine-tune are for a study's directory, {target} is none")
        _check_inputs(dataset, calibration, held_out)
        from minaction.compaction.user_model import compact_user_model
        from minaction.data.load import load_dataset

        data = calibration or load_dataset(dataset or "", text_of(data_dir))
        compacted = [
            compact_user_model(
                target, data, weights=weights, held_out=held_out, tolerance=tolerance,
                macs=macs, runtimes=_runtimes(latency),
            )
        ]  # fmt: skip
    _show(compacted, out, onnx=onnx, as_json=as_json)
    if failed:
        some = f"{len(failed)} network{'s' * (len(failed) > 1)}"
        raise CompactionError(f"{target}: {some} could not be compacted, for the reasons above")


def _noting_in(failed: list[CompactionError]) -> Callable[[CompactionError], None]:
    def note(error: CompactionError) -> None:
        failed.append(error)
        typer.echo(f"note: {error}", err=True)

    return note


def _show(
    compacted: Iterable[CompactedRun | CompactedModel],
    out: Path | None,
    *,
    onnx: bool,
    as_json: bool,
) -> None:
    """Save and print each network as soon as it is there; as JSON all at the end."""
    from minaction.compaction.saving import save_compaction
    from minaction.compaction.table import compaction_table

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


def _runtimes(latency: bool) -> tuple[Runtime, ...]:
    """Return where latency is measured; a note says what keeps it from being measured in both."""
    if not latency:
        return ()
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
