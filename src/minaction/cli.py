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
             "shape": list(source.shape), "licence": source.licence, "found": where}
        )  # fmt: skip
    if as_json:
        _print_json(rows)
        return
    for row in rows:
        where = row["found"] or f"not here; `minaction data fetch {row['name']}`"
        shape, classes = "x".join(map(str, row["shape"])), f"{row['classes']} classes"
        typer.echo(f"{row['name']:<16} {row['modality']:<14} {shape:<12} {classes:<12} {where}")


@data.command("fetch")
def data_fetch(name: DatasetName, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Download a data set if it is not here, and check it."""
    from minaction.data.fetch import fetch

    folder = fetch(name, _text(data_dir), announce=_announce)
    if as_json:
        _print_json({"name": name, "folder": None if folder is None else str(folder)})
    else:
        typer.echo(f"{name}: {folder}" if folder else f"{name}: comes with scikit-learn")


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
        typer.echo(f"{name}: comes with scikit-learn; nothing to check")
    else:
        for row in rows:
            typer.echo(f"{row['path']}: {'ok' if row['ok'] else row['problem']}")
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


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
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


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
