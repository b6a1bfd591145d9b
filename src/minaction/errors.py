"""Errors a user can act on: one subclass per cause, each message says what to do.

`exit_code` is what the command line returns: 2 for input the user can mend, 1 for work that failed,
130 after Ctrl-C.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


class MinActionError(Exception):
    """Base of every error this package raises on purpose."""

    exit_code = 1


class InputError(MinActionError, ValueError):
    """An argument, file or option the user gave cannot be used."""

    exit_code = 2


class UnknownNameError(InputError):
    """A name that is in no catalogue; the message names the nearest known one."""

    def __init__(self, kind: str, name: object, known: Iterable[str]) -> None:
        self.kind, self.name, self.known = kind, name, tuple(known)
        super().__init__(f"unknown {kind} {name!r}{suggest(str(name), self.known)}")

    def __reduce__(self) -> tuple[type[UnknownNameError], tuple[str, object, tuple[str, ...]]]:
        return UnknownNameError, (self.kind, self.name, self.known)


class LambdaError(InputError):
    """A lambda that is negative, NaN or infinite, or a schedule that cannot be followed."""


class TapeError(InputError):
    """A model or layer selection the tape cannot observe."""


class GaugeError(InputError):
    """A model that cannot be brought to its canonical gauge."""


class CompactionError(InputError):
    """A model or calibration set from which no smaller network can be made."""


class ModelError(InputError):
    """A model that cannot be built as asked."""


class DeviceError(InputError):
    """A model and inputs that are not on one device, or do not stay there."""


class DeviceMemoryError(MinActionError):
    """Work that needs more memory than there is."""


class StudyFileError(InputError):
    """A study file that cannot be read or does not describe a study."""


class InfeasibleStudyError(InputError):
    """A study whose runs cannot be made: a budget no model meets, a batch larger than the data."""


class StudyDirectoryError(InputError):
    """A study directory that is missing, belongs to another study or is in use."""


class JournalError(InputError):
    """A journal with an unreadable line; the message names file and line."""


class DataFileError(InputError):
    """A data file that is missing, damaged or not what its name says."""

    def __init__(self, path: str | Path, problem: str) -> None:
        self.path, self.problem = Path(path), problem
        super().__init__(f"{path}: {problem}")

    def __reduce__(self) -> tuple[type[DataFileError], tuple[Path, str]]:
        return DataFileError, (self.path, self.problem)


class ClusterError(InputError):
    """A Ray cluster that cannot be joined, or cannot do the runs of a study."""


class MeterError(MinActionError):
    """A physical quantity that cannot be read here; the message says why and what to do."""


class MeterDeniedError(MeterError):
    """A meter that this user may not read."""


class MeterLostError(MeterError):
    """A meter that answered before and does no longer, or not in a way that can be believed."""


class StorageError(MinActionError):
    """The disk refused a write (full, read-only); what was written before is intact."""


class StudyFailedError(MinActionError):
    """Runs of a study failed; the journal holds each one's error."""


class StoppedError(MinActionError):
    """The user stopped the work."""

    exit_code = INTERRUPTED


class VerificationError(MinActionError):
    """A stored number differs from the one recomputed from the journal."""


def suggest(name: str, known: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` for a near miss, else the list of what is known."""
    known = sorted(known)
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if nearest:
        return f"; did you mean {nearest[0]!r}?"
    return f"; known: {', '.join(known)}"
