"""Trains small transformers with an energy and takes their silent feed-forward units out.

MINACTION_DATA=... python results/transformer.py

A BERT-style model (which newsgroup a message is from) and a GPT-2-style model (the next word), made
from a configuration, on 20 Newsgroups; ReLU and GELU; lambda 0 and a budget; five seeds: 40 runs,
one after the other on one thread, each a line of results/transformer/runs.jsonl once it is done.
Ctrl-C stops, and the same command goes on. At the end, or at once where all runs are there, writes
transformer.json and transformer.md beside it.

E is the unit energy of the feed-forward units. A budget lowers it as far as the validation score
stays within `aim` x `margin` of the run at lambda 0 of the first seed; what is left of the margin
may be spent on taking out near-silent units. The same rule takes units out of the networks at
lambda 0. A run takes one to two minutes on a quiet core.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Self

import torch
from transformer_settings import Settings
from transformer_tables import as_markdown, summary

from minaction.data.dataset import Dataset
from minaction.data.load import load_dataset
from minaction.errors import INTERRUPTED, JournalError, MinActionError
from minaction.measure.clock import one_thread
from minaction.measure.conditions import ConditionsWatch
from minaction.measure.environment import code_version, cpu_name, versions
from minaction.study.canonical import canonical_json
from minaction.study.directory import write_text_atomically
from minaction.study.journal_files import lock_directory, repair_last_line, storage_error
from minaction.study.study_file import BUDGET
from minaction.study.worker import Setup

RESULTS = Path(__file__).parent / "transformer"
RUNS_NAME = "runs.jsonl"
DATASET = "20newsgroups"
LIBRARIES = ("transformers", "accelerate")

Line = dict[str, Any]
"""A finished run: `settings`, `status`, what was found, `conditions` and `provenance`."""


MODELS: Mapping[str, Mapping[str, Any]] = {
    "bert": {"words": 4096, "margin": 0.01},
    "gpt2": {"words": 1024, "margin": 0.02},  # nats: 2 % of the perplexity
}
ACTIVATIONS = ("relu", "gelu")
LAMBDAS = (0, BUDGET)


def planned(models: Sequence[str], seeds: int, **changed: Any) -> list[Settings]:
    """Return the runs in their order: a budget's baseline, of the first seed, is before it."""
    crossed = itertools.product(range(seeds), models, ACTIVATIONS, LAMBDAS)
    return [
        Settings(
            model=model, activation=activation, lam=lam, seed=seed, **{**MODELS[model], **changed}
        )
        for seed, model, activation, lam in crossed
    ]


class Runs:
    """The finished runs, a context manager and their one writer.

    Args:
        directory: Where `runs.jsonl` is; made where it is not there.

    Raises:
        StudyDirectoryError: On entering, if another process writes there.
        JournalError: On entering, if a line cannot be read; the message names it.
        StorageError: If the disk refuses.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / RUNS_NAME
        self.lines: list[Line] = []
        self._held = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as held:  # closed again where anything fails
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                held.enter_context(lock_directory(self.path.parent))
                self._file = held.enter_context(self.path.open("ab", buffering=0))
                repair_last_line(self.path)
            except OSError as error:
                raise storage_error(self.path, error) from error
            self.lines = list(self._read())
            self._held = held.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def find(self, settings: Settings) -> Line | None:
        """Return the line of a run, None where it is not done."""
        wanted = settings.to_dict()
        return next((line for line in self.lines if line["settings"] == wanted), None)

    def append(self, line: Line) -> None:
        """Write a run; when this returns it is on the disk."""
        try:
            self._file.write(canonical_json(line).encode("ascii") + b"\n")
            os.fsync(self._file.fileno())
        except OSError as error:
            raise storage_error(self.path, error) from error
        self.lines.append(line)

    def _read(self) -> Iterator[Line]:
        for number, text in enumerate(self.path.read_bytes().splitlines(), start=1):
            try:
                line = json.loads(text)
            except ValueError:
                line = None
            if not isinstance(line, dict) or not {"settings", "status"} <= line.keys():
                raise JournalError(
                    f"{self.path}:{number}: not a run; restore the file from a copy, or delete "
                    "the line and run again"
                )
            yield line


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the runs that are missing and write the tables, or exit with one line."""
    given = parse_arguments(arguments)
    changed = {} if given.steps is None else lengths(given.steps)
    settings = planned(given.models, given.seeds, **changed)
    try:
        with Runs(given.out) as runs:
            complete(runs, settings, given.data_dir)
            write_tables(given.out, runs, settings)
    except MinActionError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("stopped; the same command goes on with the run it was at", file=sys.stderr)
        sys.exit(INTERRUPTED)


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the command line's values."""
    parser = argparse.ArgumentParser(description="Train small transformers with an energy.")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of runs and tables")
    parser.add_argument("--data-dir", type=Path, help="folder that has 20newsgroups")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, help="fewer make a quick look, of runs of its own")
    given = parser.parse_args(arguments)
    if given.seeds < 1 or (given.steps is not None and given.steps < 40):
        parser.error("expected --seeds from 1 and --steps from 40")
    return given


def lengths(steps: int) -> dict[str, int]:
    """Return the settings of another number of steps, validated as often."""
    return {"steps": steps, "validate_every": steps // 20}


def complete(runs: Runs, settings: Sequence[Settings], data_dir: Path | None) -> None:
    """Make the runs that are not there.

    Raises:
        InputError: transformers is not installed.
        MinActionError: The data set is not there, or a run failed.
    """
    missing = [one for one in settings if runs.find(one) is None]
    if not missing:
        return
    import minaction.integrations.transformers  # noqa: F401 (says what to install)

    dataset = load_dataset(DATASET, data_dir)
    with one_thread():
        for number, one in enumerate(missing, start=1 + len(settings) - len(missing)):
            made = make(one, runs, dataset)
            if made is not None:
                runs.append(made)
            print(f"{number} of {len(settings)}: {one.label}: {told(made)}", flush=True)


def make(settings: Settings, runs: Runs, dataset: Dataset) -> Line | None:
    """Make one run; None where its baseline did not end well."""
    from transformer_run import run  # whoever only wants the tables needs no transformers

    baseline = None
    if settings.lam == BUDGET:
        baseline = runs.find(replace(settings, lam=0, seed=0))
        if baseline is None or baseline["status"] != "ok":
            return None
    watch, started = ConditionsWatch(torch.device("cpu")), datetime.now(UTC)
    began = time.perf_counter()
    found = run(settings, dataset, baseline)
    seconds = time.perf_counter() - began
    return {
        "schema": 1,
        "settings": settings.to_dict(),
        **found,
        "seconds": seconds,
        "conditions": watch.close(seconds).to_dict(),
        "provenance": {
            "started": started.isoformat(timespec="seconds"),
            "cpu": cpu_name(),
            "versions": versions() | {name: metadata.version(name) for name in LIBRARIES},
            "code_version": code_version(),
            "data_sha256": dataset.fingerprint,
        },
    }


def told(line: Line | None) -> str:
    """Say in short what a run came to."""
    if line is None:
        return "left out, its baseline did not end well"
    if line["status"] != "ok":
        return f"{line['status']} after {line['seconds']:.0f} s"
    test, removal = line["quality"]["test"], line["compaction"]
    name = "accuracy" if "accuracy" in test else "perplexity"
    gone = removal.get("error") or f"{removal['exact']} + {removal['approximate']} units taken out"
    return f"{name} {test[name]:.4g}, {gone}, {line['seconds']:.0f} s"


def write_tables(directory: Path, runs: Runs, settings: Sequence[Settings]) -> None:
    """Write what the runs that are there came to."""
    lines = [line for line in map(runs.find, settings) if line is not None]
    found = summary(lines, planned=len(settings))
    text = json.dumps(found, indent=1, allow_nan=False)
    write_text_atomically(directory / "transformer.json", f"{text}\n")
    write_text_atomically(directory / "transformer.md", as_markdown(found))


def as_worker() -> None:
    """Start this program again with the environment of a study's workers, unless it has that.

    One thread, and freed memory kept: without that PyTorch spends a part of its time on page
    faults, which would count as the time of networks.
    """
    wanted = Setup(data_dir=None, shared="").environment()
    if wanted.items() <= os.environ.items():
        return
    os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | wanted)


if __name__ == "__main__":
    as_worker()
    main()
