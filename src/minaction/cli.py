"""The command line: thin, and quick to start, so heavy imports wait until a command needs them.

Exit codes: 0 done; 1 the work failed or a check did not hold; 2 unusable input; 130 interrupted.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from minaction.errors import InputError, MinActionError, StudyFailedError, VerificationError

if TYPE_CHECKING:
    from minaction.compaction.latency import Runtime
    from minaction.study.study_file import Study

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""
SHOWN = 60
"""Characters of a value that a message quotes."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # importing rich doubles the time that help takes
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
data = typer.Typer(help="Data sets: list, fetch, check.", no_args_is_help=True)
study = typer.Typer(help="Studies: run, status, verify, export.", no_args_is_help=True)
app.add_typer(data, name="data")
app.add_typer(study, name="study")


class StoppedError(MinActionError):
    """The user stopped the work."""

    exit_code = INTERRUPTED


DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Where data sets are looked for first, then $MINACTION_DATA and the user cache.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a machine to read.")]
StudyDir = Annotated[Path, typer.Argument(metavar="DIR", help="A study's directory.")]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Worker processes; default: one per CPU.", show_default=False),
]
DatasetName = Annotated[str, typer.Argument(metavar="NAME", help="A data set's name.")]


class ExportFormat(StrEnum):
    """What a journal can be exported to."""

    JSON = "json"
    CSV = "csv"


class RandomType(StrEnum):
    """What random inputs can be made of."""

    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    INT32 = "int32"
    INT64 = "int64"


def _show_version(wanted: bool) -> None:
    from minaction import __version__

    if wanted:
        typer.echo(f"minaction {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Train networks under an explicit internal energy and measure what that really saves."""


@app.command()
def env(as_json: AsJson = False) -> None:
    """Say what this machine is and what can be measured on it."""
    from minaction.measure.environment import describe

    facts = describe()
    if as_json:
        _print_json(facts)
        return
    for name, version in facts["versions"].items():
        typer.echo(f"{name:<22} {version}")
    for name in ("platform", "cpu", "cpus"):
        typer.echo(f"{name:<22} {facts[name]}")
    for ability in facts["abilities"]:
        typer.echo(
            f"{ability['name']:<22} {'yes' if ability['available'] else 'no '}  {ability['detail']}"
        )


@data.command("list")
def data_list(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List the data sets, and which of them are on this machine."""
    from minaction.data.fetch import status
    from minaction.data.sources import SOURCES

    rows = []
    for name, source in SOURCES.items():
        found = status(name, _text(data_dir))
        where = "built in" if found.offline else str(found.folder) if found.available else None
        rows.append(
            {"name": name, "modality": source.modality, "classes": len(source.class_names),
             "shape": list(source.shape), "licence": source.licence,
             "simulated": source.simulated, "found": where}
        )  # fmt: skip
    if as_json:
        _print_json(rows)
        return
    for row in rows:
        where = row["found"] or f"not here; `minaction data fetch {row['name']}`"
        where += ", simulated" * row["simulated"]
        shape, classes = "x".join(map(str, row["shape"])), f"{row['classes']} classes"
        typer.echo(f"{row['name']:<18} {row['modality']:<14} {shape:<12} {classes:<12} {where}")


@data.command("fetch")
def data_fetch(name: DatasetName, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Download a data set if it is not here, and check it."""
    from minaction.data.fetch import fetch

    folder = fetch(name, _text(data_dir), announce=_announce)
    if as_json:
        _print_json({"name": name, "folder": None if folder is None else str(folder)})
    else:
        typer.echo(f"{name}: {folder}" if folder else f"{name}: comes with installed packages")


@data.command("check")
def data_check(name: DatasetName, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Check a data set's files against their checksums.

    Exits with 1 if a file is missing or not what it should be.
    """
    from minaction.data.fetch import check

    files = check(name, _text(data_dir))
    rows = [{"path": str(f.path), "ok": f.ok, "problem": f.problem} for f in files]
    if as_json:
        _print_json(rows)
    elif not rows:
        typer.echo(f"{name}: comes with installed packages; nothing to check")
    else:
        # Some data sets have a thousand files; what is wrong must not drown among them.
        for row in (row for row in rows if len(rows) <= 8 or not row["ok"]):
            typer.echo(f"{row['path']}: {'ok' if row['ok'] else row['problem']}")
        right = sum(row["ok"] for row in rows)
        typer.echo(f"{name}: {right} of {len(rows)} files ok")
    if not all(row["ok"] for row in rows):
        raise typer.Exit(1)


@app.command()
def quickstart(
    out: Annotated[Path, typer.Option(help="Where the study goes.")] = Path("minaction-quickstart"),
) -> None:
    """Run a small offline study and write its report, in a minute."""
    from minaction.study.study_file import load_study

    spec = Path(__file__).parent / "study" / "quickstart.toml"
    _run_study(load_study(spec), out, workers=None, data_dir=None)
    page = _write_report(out, None)
    _print_summary(out)
    typer.echo(f"report: {page.resolve()}")


@study.command("run")
def study_run(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="A study file (TOML).")],
    out: Annotated[Path, typer.Option(help="The study's directory; an existing one is resumed.")],
    workers: Workers = None,
    data_dir: DataDir = None,
) -> None:
    """Run a study, or what is left of it, and write its report."""
    from minaction.study.study_file import load_study

    _run_study(load_study(spec), out, workers, data_dir)
    typer.echo(f"report: {_write_report(out, None)}")


@study.command("status")
def study_status(directory: StudyDir, as_json: AsJson = False) -> None:
    """Say how far a study is."""
    from minaction.study.status import study_status as status

    found = status(directory)
    if as_json:
        _print_json(found.to_dict())
        return
    typer.echo(f"{found.name}: {found.done} of {found.total} runs done")
    for name, count in found.by_status.items():
        typer.echo(f"  {name:<10} {count}")
    for message, count in found.errors.items():
        typer.echo(f"  failed {count}x: {message}")
    if found.done < found.total:
        typer.echo("the same `minaction study run` command does the rest")


@study.command("verify")
def study_verify(directory: StudyDir, as_json: AsJson = False) -> None:
    """Recompute every number of the report from the journal.

    Exits with 1 if one differs.
    """
    from minaction.report.verify import verify_report

    found = verify_report(directory)
    if as_json:
        _print_json(
            {
                "checked": found.checked,
                "differences": [vars(d) for d in found.differences],
                "warnings": list(found.warnings),
            }
        )
    for warning in found.warnings:
        typer.echo(f"warning: {warning}", err=True)
    if found.differences:
        first = found.differences[0]
        raise VerificationError(
            f"{directory}: {len(found.differences)} of {found.checked} numbers differ; first: "
            f"{first.path} is {_short(first.stored)}, recomputed {_short(first.recomputed)}"
        )
    if not as_json:
        typer.echo(f"{directory}: {found.checked} numbers recomputed from the journal, all equal")


@study.command("export")
def study_export(
    directory: StudyDir,
    to: Annotated[ExportFormat, typer.Option(help="Format.")] = ExportFormat.CSV,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File; default: standard output.")
    ] = None,
) -> None:
    """Export the runs: one row or record per run."""
    from minaction.study.directory import load_study_directory, write_text_atomically
    from minaction.study.export import as_csv, as_json

    if output is not None:
        _require_file_place(output)
    load_study_directory(directory)
    text = as_csv(directory) if to is ExportFormat.CSV else as_json(directory)
    if output is None:
        typer.echo(text, nl=False)
    else:
        write_text_atomically(output, text)


@app.command()
def report(
    directory: StudyDir,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Page; default: DIR/report.html.")
    ] = None,
) -> None:
    """Write a study's report: one self-contained HTML page."""
    typer.echo(str(_write_report(directory, output)))


@app.command("audit")
def audit_command(
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
    from minaction.measure.audit import audit
    from minaction.measure.audit_inputs import random_batches
    from minaction.models.external import load_model

    inputs = (
        load_dataset(dataset or "", _text(data_dir)).validation.x.split(batch)
        if sizes is None
        else random_batches(sizes, batch=batch, batches=batches or 1, dtype=dtype.value, high=high)
    )
    found = audit(load_model(target, weights), iter(inputs), layers=layers, batches=batches)
    if as_json:
        _print_json(found.to_dict())
        return
    typer.echo(str(found))
    if sizes is not None:
        typer.echo("note: measured on random inputs; energies and zeros depend on them", err=True)


@app.command("compact")
def compact_command(
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
    if onnx and out is None:
        raise InputError("--onnx: say where the files go with --out FOLDER")
    if out is not None and out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: is a file; give a folder, which need not exist")
    if Path(target).is_dir():
        if weights or dataset or calibration or held_out:
            raise InputError(
                "--weights, --data, --calibration and --held-out are for a model of yours; a "
                "study's runs bring their own"
            )
    elif run or fine_tune:
        raise InputError(f"--run and --fine-tune are for a study's directory, {target} is none")
    elif (dataset is None) == (calibration is None):
        raise InputError("give either --data NAME or --calibration FILE.safetensors")
    elif held_out and dataset:
        raise InputError("--held-out goes with --calibration; a data set has its own split")

    from minaction.compaction.saving import save_compaction
    from minaction.compaction.table import compaction_table

    runtimes = _runtimes() if latency else ()
    if Path(target).is_dir():
        from minaction.study.compact_runs import CompactionPlan, compact_runs

        plan = CompactionPlan(tolerance=tolerance, fine_tune_epochs=fine_tune, runtimes=runtimes)
        compacted = compact_runs(target, run or (), plan, data_dir=_text(data_dir))
    else:
        from minaction.compaction.user_model import compact_user_model
        from minaction.data.load import load_dataset

        data = calibration or load_dataset(dataset or "", _text(data_dir))
        compacted = [
            compact_user_model(
                target, data, weights=weights, held_out=held_out, tolerance=tolerance,
                runtimes=runtimes,
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
        _print_json(found)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # a closed terminal; nohup ignores it
        signal.signal(signal.SIGHUP, _interrupt)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # any file name can be printed anywhere
    sys.exit(_exit_code(arguments))


def _exit_code(arguments: Sequence[str] | None) -> int:
    try:
        code = app(args=arguments, standalone_mode=False, prog_name="minaction")
        sys.stdout.flush()
    except MinActionError as error:
        return _complain(error, error.exit_code)
    except KeyboardInterrupt:
        return _complain("stopped", INTERRUPTED)
    except OSError as error:
        _discard_output()
        # a broken pipe is a reader who has seen enough, e.g. `| head`
        return 1 if isinstance(error, BrokenPipeError) else _complain(error, 1)
    except Exception as error:
        message = getattr(error, "format_message", None)
        if message is None:
            raise
        return _misused(message(), getattr(error, "ctx", None))  # typer's own: wrong use
    if code == INTERRUPTED:
        return _complain("stopped", INTERRUPTED)
    return code if isinstance(code, int) else 0


def _run_study(spec: Study, out: Path, workers: int | None, data_dir: Path | None) -> None:
    from minaction.measure.environment import cpu_count
    from minaction.progress import progress_listener
    from minaction.study.driver import run_study

    with progress_listener() as listener:
        try:
            outcome = run_study(
                spec, out, listener, workers=workers or cpu_count(), data_dir=_text(data_dir)
            )
        except KeyboardInterrupt:
            raise StoppedError(
                f"stopped; finished runs are kept in {out}: the same command does the rest"
            ) from None
    if outcome.failed:
        _write_report(out, None)
        raise StudyFailedError(
            f"{out}: {outcome.failed} of {outcome.ran} runs failed; `minaction study status {out}` "
            "says why, and the same command tries them again"
        )


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


def _write_report(directory: Path, output: Path | None) -> Path:
    from minaction.report.build import write_report

    return write_report(directory, output)


def _print_summary(directory: Path) -> None:
    from minaction.report.summary import lambda_summary

    for line in lambda_summary(directory):
        typer.echo(line)


def _require_file_place(path: Path) -> None:
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the path of a file")
    if not path.parent.is_dir():
        raise InputError(f"{path.parent}: no such folder; make it first")


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _misused(message: str, context: typer.Context | None) -> int:
    if "\n" in message:  # no command was given: the message is the help
        typer.echo(message, err=True)
        return 2
    help_command = f"{context.command_path if context else 'minaction'} --help"
    return _complain(f"{message.rstrip('.')} (see `{help_command}`)", 2)


def _complain(problem: object, code: int) -> int:
    from minaction.study.toml_text import one_line

    with contextlib.suppress(OSError):
        sys.stdout.flush()
    print(f"minaction: {one_line(' '.join(str(problem).split()))}", file=sys.stderr)
    return code


def _discard_output() -> None:
    """Send what is still to be written nowhere, so that Python's exit does not fail on it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _announce(line: str) -> None:
    typer.echo(line, err=True)


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2))


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _sizes(shape: str) -> list[int]:
    try:
        return [int(size) for size in shape.split(",")]
    except ValueError:
        raise InputError(
            f"--shape {shape}: expected whole numbers with commas, e.g. 3,224,224"
        ) from None


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
