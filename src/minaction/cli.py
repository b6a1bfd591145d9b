"""The command line: thin, and quick to start, so heavy imports wait until a command needs them.

The commands are in `minaction.commands`; here they become one program, and what goes wrong in them
one line. Exit codes: 0 done; 1 the work failed or a check did not hold; 2 unusable input; 130
interrupted.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

from minaction.commands import (
    analyse,
    audit,
    compact,
    data,
    machine,
    measure,
    report,
    run,
    search,
    studies,
)
from minaction.errors import INTERRUPTED, MinActionError

TRACEBACK_VARIABLE = "MINACTION_TRACEBACK"
"""Environment variable that has an error nobody foresaw shown in full."""

app = typer.Typer(
    epilog="Begin with `minaction quickstart`. `minaction COMMAND --help` says more.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # importing rich doubles the time that help takes
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command()(machine.env)
app.command()(run.quickstart)
app.command()(analyse.analyse)
app.command()(report.report)
app.command()(audit.audit)
app.command()(compact.compact)
app.command()(measure.measure)
app.command(help=search.HELP)(search.search)
app.add_typer(data.app, name="data")
app.add_typer(studies.app, name="study")


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
        if isinstance(error, BrokenPipeError):
            return 1
        what = error.filename or "standard output"
        return _complain(f"{what}: {error.strerror or error}", 1)
    except Exception as error:
        message = getattr(error, "format_message", None)
        if message is None:
            if os.environ.get(TRACEBACK_VARIABLE):
                raise
            return _complain(_unexpected(error), 1)
        return _misused(message(), getattr(error, "ctx", None))  # typer's own: wrong use
    if code == INTERRUPTED:
        return _complain("stopped", INTERRUPTED)
    return code if isinstance(code, int) else 0


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _unexpected(error: Exception) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"unexpected {type(error).__name__}: {error} ({Path(where.filename).name}, line "
        f"{where.lineno}); please report it with what {TRACEBACK_VARIABLE}=1 shows"
    )


def _misused(message: str, context: typer.Context | None) -> int:
    if "\n" in message:  # no command was given: the message is the help
        typer.echo(message, err=True)
        return 2
    message = message.replace("Value error, ", "")
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
